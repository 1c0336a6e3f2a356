"""The Session Recording Server role (RFC 7866): SIP dialogs in, recordings under control."""

__version__ = "0.1.0"
