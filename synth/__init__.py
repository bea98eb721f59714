"""Rows made with a teacher model: tasks say what to ask, the engine does the asking."""
