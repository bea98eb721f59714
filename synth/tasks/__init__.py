"""Ways of making rows: one a file, and the file's name is its name in recipes."""
