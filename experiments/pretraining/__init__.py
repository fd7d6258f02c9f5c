"""Bases, trained from scratch."""
