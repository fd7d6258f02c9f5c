"""What summary.json says of a pipeline: every checkpoint by the paper's name, students, time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1jax.evaluate.measures import paired_gain
from r1jax.models import table
from r1jax.rollout.policy import load_policy
from r1jax.run.directory import read_json
from r1jax.run.environment import environment
from r1jax.run.names import BASE_JUDGED, BEFORE, CHECKPOINTS, JUDGED, SECONDS
from r1jax.stages.pipeline.assess import short
from r1jax.stages.pipeline.config import R1Config
from r1jax.stages.pipeline.plan import Stage


def summary(config: R1Config, stages: Sequence[Stage], seconds: float) -> dict[str, Any]:
    """The digest of finished `stages`; `seconds` is what this process took."""
    path = Path(config.run)
    judged = {stage.name: read_json(stage.path / JUDGED) for stage in stages if stage.judged}
    spent = read_json(path / SECONDS)
    return {
        "base": short(read_json(path / BASE_JUDGED)),
        "stages": {name: short(judged[stage]) for stage, name in CHECKPOINTS.items()},
        "students": {
            stage.name.removeprefix("student-"): student(stage, judged[stage.name])
            for stage in stages
            if stage.kind == "distill"
        },
        "seconds": spent,
        "budget_seconds": 60 * config.budget_minutes or None,
        "wall_seconds": max(seconds, sum(spent.values())),
        "environment": environment(),
    }


def student(stage: Stage, after: dict[str, Any]) -> dict[str, Any]:
    """A student before and after."""
    before = read_json(stage.path / BEFORE)
    gain = paired_gain(before["record"], after["record"])
    model, family = stage.config.model, stage.config.family
    return {
        "before": short(before),
        "after": short(after),
        "gain": {"pass_at_1": gain["gain"], "ci": gain["ci"]},
        "model": model,
        "parameters": table.count(load_policy(model, "plain", family=family).config),
    }
