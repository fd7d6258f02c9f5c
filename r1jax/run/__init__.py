"""A run directory: what is written there, how it is shown, and how it is resumed."""

from r1jax.run.directory import RunDirectory, inspect, read_json, read_jsonl

__all__ = ["RunDirectory", "inspect", "read_json", "read_jsonl"]
