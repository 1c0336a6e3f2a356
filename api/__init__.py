"""HTTP over the core: one server, vendor dialects side by side."""
