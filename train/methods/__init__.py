"""Training methods, one a file, each readable by itself."""
