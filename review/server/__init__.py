"""What runs inside the review server's own environment, which holds Argilla and not assay."""
