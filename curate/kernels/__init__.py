"""Numeric inner loops over Arrow buffers: pure functions of arrays, compiled by numba, called from plain threads."""
