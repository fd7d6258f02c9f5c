"""A whole pipeline as one `report.html` that opens offline and reads like the paper."""

from r1jax.report.pipeline.page import write_pipeline_report

__all__ = ["write_pipeline_report"]
