"""One cleaning stage per file; the file's name is the stage's name in recipes."""
