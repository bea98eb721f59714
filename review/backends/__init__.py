"""Places where people answer, one per file."""
