"""Ways of carrying out a recipe: each gives the same rows."""
