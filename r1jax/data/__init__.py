"""From a source's name to problems, prompts and packed rows."""

from r1jax.data.config import DataConfig, EvalDataConfig, TrainDataConfig
from r1jax.data.curation.decontaminate import Match, ngrams, overlaps
from r1jax.data.problems.files import DataReport, load_file
from r1jax.data.problems.layouts import LAYOUTS
from r1jax.data.problems.mixture import ProblemStream, load_eval_sets
from r1jax.data.problems.sources import FileSource, Source, WorldSource, open_source, set_name
from r1jax.data.templates import TEMPLATES, Template, render

__all__ = [
    "LAYOUTS",
    "TEMPLATES",
    "DataConfig",
    "DataReport",
    "EvalDataConfig",
    "FileSource",
    "Match",
    "ProblemStream",
    "Source",
    "Template",
    "TrainDataConfig",
    "WorldSource",
    "load_eval_sets",
    "load_file",
    "ngrams",
    "open_source",
    "overlaps",
    "render",
    "set_name",
]
