"""Passes over examples: supervised, from a teacher, from judged responses."""
