"""The nouns of assay: rows, datasets, recipes, reports and errors, in memory, on disk and on screen."""
