"""What the files of a run and the parts of a pipeline are called, for who writes or reads them."""

from __future__ import annotations

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
EVALUATIONS = "eval.json"
TRANSCRIPTS = "transcripts.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
LINEAGE = "lineage.json"
WANDB = "wandb.json"
OWNER = "owner.json"
PART = "samples.part.jsonl"
NONFINITE = "nonfinite_batch.npz"
FILES = (CONFIG, ENVIRONMENT, METRICS, SAMPLES, EVALUATIONS, TRANSCRIPTS, SUMMARY, REPORT, LINEAGE,
         WANDB, NONFINITE, OWNER, PART)  # fmt: skip

SAVED = "checkpoints"
PLOTS = "plots"
STAGES = "stages"
ROUNDS = "rounds"
EXPORT = "hf"
ADAPTER = "adapter"
EXPORTS = "exports"
GGUF = "gguf"
PROFILE = "profile"
FOLDERS = (SAVED, PLOTS, STAGES, ROUNDS, EXPORT, ADAPTER, EXPORTS, GGUF, PROFILE, "tensorboard",
           "wandb")  # fmt: skip

DATASHEET = "datasheet.md"
"""The page of a run that makes data."""

JUDGED, BEFORE, BASE_JUDGED, SECONDS = "judged.json", "before.json", "base.json", "seconds.json"
"""Of a pipeline: a stage's checkpoint, the model a student starts from, the base; the seconds of
each stage."""
BASE = "base"
"""The model that a pipeline starts from; a student's is `base:<student>`."""
CHECKPOINTS = {
    "zero": "Zero", "cold_start": "Dev1", "reasoning_rl": "Dev2", "general_sft": "Dev3",
    "general_rl": "R1",
}  # fmt: skip
"""What the paper calls the checkpoints of these stages."""
