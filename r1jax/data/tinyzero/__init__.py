"""TinyZero's tasks, and the corpus that a base for them has read."""
