"""People look, label and decide."""
