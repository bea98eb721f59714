"""Ways to adapt a model, one a file; the file's name is the name in recipes."""
