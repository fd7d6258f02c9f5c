"""Processes that judge hostile text: the pool, its schedule, its workers."""
