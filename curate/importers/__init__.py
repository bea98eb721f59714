"""One file format or place to read rows from per file."""
