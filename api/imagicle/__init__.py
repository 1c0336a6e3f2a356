"""Imagicle product integration."""
