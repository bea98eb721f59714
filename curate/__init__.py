"""Import, collect, profile, clean, deduplicate and mix rows."""
