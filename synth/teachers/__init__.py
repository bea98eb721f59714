"""Where answers come from: one kind of teacher per file."""
