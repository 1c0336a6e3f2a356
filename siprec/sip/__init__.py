"""SIP core without I/O (RFC 3261): bytes and a clock reading in, events and bytes out."""
