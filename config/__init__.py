"""Configuration: one typed tree, read once at the start from a TOML file and the environment."""
