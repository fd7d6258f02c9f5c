"""Pages under docs/ that are written by code."""
