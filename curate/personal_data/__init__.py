"""Personal data in texts: where it is, what kind it is, and how it is replaced."""
