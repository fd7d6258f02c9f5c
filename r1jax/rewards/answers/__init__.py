"""The final answer of a completion: found, read and compared, kind by kind."""
