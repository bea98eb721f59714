"""The measures that ship: one number, or one yes or no, about each row. One file each; the file's name is its name."""
