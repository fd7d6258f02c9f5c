"""What a process reward model is worth at choosing: the best of N and weighted votes.

    python -m experiments.evaluate --model M --out runs/judged --eval.samples 16
    python -m experiments.process_reward.best --completions runs/judged/completions.jsonl \\
        --reward runs/reward_model

Every sample of an evaluation is scored step by step; a solution counts as its worst step, the
product of all, or the last. Beside the best of N and the vote weighted by scores stand what needs
no model: one sample, the plain vote, and whether any sample is right (pass@N), the ceiling. A model
that judges whole responses (pairwise, pointwise) has one score. Leaves summary.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from scipy.special import expit

from r1jax.commands import cli
from r1jax.data.rows import open_rows
from r1jax.errors import UserError
from r1jax.evaluate.statistics import bootstrap_interval, vote
from r1jax.evaluate.steps import Reduction, best_of, reduced
from r1jax.run.flags import PlaceFlags, TrustConfig
from r1jax.run.names import SUMMARY
from r1jax.stages.opening import opened
from r1jax.training.rl.reward_model import RewardModel, load_reward_model

COLUMNS: dict[str, tuple[type, ...]] = {
    "id": (str, int), "question": (str,), "sample": (int, str), "text": (str,),
    "extracted": (str, type(None)), "lenient": (bool,), "finish_reason": (str,),
}  # fmt: skip


@dataclass(frozen=True)
class Config(PlaceFlags):
    """Whose samples are chosen among, by which model."""

    run: str = "runs/best_of_n"
    completions: str = ""
    """completions.jsonl of an evaluation (experiments.evaluate --out)."""
    reward: str = ""
    """Run directory of a reward model."""
    checkpoint: TrustConfig = field(default_factory=TrustConfig)
    """Which checkpoint of it counts, and how this ends when it is asked to."""


def main(config: Config) -> None:
    """Scores every sample, then chooses."""
    for name in ("completions", "reward"):
        if not getattr(config, name):
            raise UserError(f"--{name}: names nothing; see --help")
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        problems = read_samples(config.completions)
        trusted = config.checkpoint.unverified
        model = load_reward_model(config.reward, unverified=trusted, use="--checkpoint.unverified")
        flat = [row for rows in problems for row in rows]
        scores = iter(scored(model, flat))
        grouped = [[next(scores) for _ in rows] for rows in problems]
        found = {"kind": model.about.kind, "problems": len(problems)} | measured(problems, grouped)
        for name, value in found["measures"].items():
            low, high = value["ci"]
            print(f"{name:24} {100 * value['mean']:5.1f}  ({100 * low:.1f} to {100 * high:.1f})")
        run.finish(found, f"{len(flat):,} samples of {len(problems):,} problems")


def read_samples(source: str) -> list[list[dict[str, Any]]]:
    """The drawn samples of each problem; the greedy one is none. UserError for other files."""
    unit, rows = open_rows(source)
    by_id: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for number, row in rows:
        if missing := [name for name in COLUMNS if name not in row]:
            raise UserError(
                f"{source}, {unit} {number}: no column {missing[0]}; expected completions.jsonl of "
                "an evaluation"
            )
        if odd := [name for name, kinds in COLUMNS.items() if not isinstance(row[name], kinds)]:
            raise UserError(
                f"{source}, {unit} {number}, column {odd[0]}: is {row[odd[0]]!r:.40}; expected "
                "completions.jsonl of an evaluation"
            )
        if row["sample"] != "greedy":
            by_id.setdefault((str(row.get("set")), row["id"]), []).append(row)
    if not by_id:
        raise UserError(f"{source}: holds no samples; evaluate with --eval.samples 2 or more")
    return list(by_id.values())


def scored(model: RewardModel, rows: Sequence[dict[str, Any]]) -> list[list[float]]:
    """Of every sample the probabilities of its steps, or of the whole as a single one."""
    prompts, texts = [row["question"] for row in rows], [row["text"] for row in rows]
    if model.per_token:
        return [[p for _, p in steps] for steps in model.step_scores(prompts, texts)]
    return [[float(expit(score))] for score in model.scores(prompts, texts)]


def measured(
    problems: Sequence[Sequence[dict[str, Any]]], scores: Sequence[Sequence[Sequence[float]]]
) -> dict[str, Any]:
    """Each way of choosing: its mean over problems, with a bootstrap interval, and each of them."""
    values: dict[str, list[float]] = {}
    for rows, steps in zip(problems, scores, strict=True):
        right = [bool(row["lenient"]) for row in rows]
        classes = [class_of(row) for row in rows]
        add = lambda name, value: values.setdefault(name, []).append(float(value))  # noqa: E731
        add("one sample", np.mean(right))
        add("vote", vote(classes, right))
        add("any (pass@N)", any(right))
        for how in get_args(Reduction):
            whole = [reduced(each, how) for each in steps]
            add(f"best of N, {how}", best_of(whole, right))
            add(f"weighted vote, {how}", vote(classes, right, whole))
    return {
        "samples": len(problems[0]),
        "measures": {
            name: {
                "mean": float(np.mean(each)),
                "ci": list(bootstrap_interval(each)),
                "per_problem": each,
            }
            for name, each in values.items()
        },
    }


def class_of(row: dict[str, Any]) -> str | None:
    """What a sample votes for: all right answers are one class; one that was cut has no vote."""
    if row["finish_reason"] == "length" or row["extracted"] is None:
        return None
    return "right" if row["lenient"] else str(row["extracted"]).strip()


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), description=__doc__))
