"""What must survive a restart: the catalogue of recordings, keys, and finished files."""
