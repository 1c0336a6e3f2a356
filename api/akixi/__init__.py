"""Akixi recording integration entries."""
