"""A run directory becomes pictures and one self-contained page."""

from r1jax.report.page import write_report

__all__ = ["write_report"]
