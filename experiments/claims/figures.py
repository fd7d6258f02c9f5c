"""The line of a finished run: held-out numbers with every problem's, its course, what it writes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.claims.bases import CARD
from experiments.claims.modes import profile
from experiments.gates import figures
from experiments.gates.study import rounded
from experiments.pretraining import config as pretraining
from experiments.process_reward import best, labels
from experiments.smollm2 import thinking
from r1jax.commands import evaluate
from r1jax.data import load_eval_sets
from r1jax.data.tinyzero.corpus import count_tries
from r1jax.problem import Completion, Problem
from r1jax.rewards import tinyzero
from r1jax.run import names
from r1jax.run.directory import read_json, read_jsonl
from r1jax.stages.rejection import RejectionSettings
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.search.config import SearchRunConfig
from r1jax.training.rl.config import RLConfig

MORE = ("language_consistency", "thought_words_mean", "pass_at_1_greedy")
"""What an evaluation says beside what every study keeps of it."""
GREEDY = 3
"""Greedy texts that are kept."""
TEXTS = 64
"""Samples of a problem up to which an evaluation's texts are read."""
JUDGING = ("accuracy", "auc", "f1", "share_right")
"""What is kept of a reward model on rows apart."""
SEARCHED = (
    "search/best", "search/vote", "search/any", "sample/best", "sample/vote", "sample/any",
    "search/tokens", "sample/tokens", "found/solved", "value/auc",
)  # fmt: skip
"""What is kept of a round of search."""
WATCHED = {"clipped": "policy/clip_frac", "cut": "completion/truncated_frac"}
"""What rollouts and updates say beside what every study keeps of it."""


def figure(name: str, job: Any, out: Path) -> dict[str, Any]:
    """The line of a run that has ended."""
    if isinstance(job, pretraining.Config):
        card = read_json(Path(job.out) / CARD)
        keys = ("parameters", "nats_per_token", "seed", "updates")
        return {"name": name} | rounded({key: card[key] for key in keys})
    where, found = out / name, figures.figure(name, job, out)
    if (where / names.EVALUATIONS).exists():
        records = read_json(where / names.EVALUATIONS)
        updates = [record.get("update", 0) for record in records]
        for side, update in (("before", 0), ("after", max(updates))):
            if side in found:
                found[side] |= more(records[updates.index(update)])
    if isinstance(job, evaluate.Config) and job.eval.samples <= TEXTS:
        found |= texts(job, where)
    if job is None:  # a pipeline
        stages = read_json(where / names.SUMMARY)["stages"]
        found["stages"] = {name: stage(record) for name, record in stages.items() if record}
    for kind, read in READ.items():
        if isinstance(job, kind):
            found |= rounded(read(where))
    if isinstance(job, RLConfig):
        found["course"] |= watched(read_jsonl(where / names.METRICS))
    return found


def summary_of(*keys: str) -> Callable[[Path], dict[str, Any]]:
    """Numbers of a run's summary."""

    def read(where: Path) -> dict[str, Any]:
        summary = read_json(where / names.SUMMARY)
        return {key: summary[key] for key in keys}

    return read


def reward_model(where: Path) -> dict[str, Any]:
    """What a reward model is worth on rows apart; nothing where it has none."""
    after = read_json(where / names.SUMMARY)["after"]
    return {"after": {key: after[key] for key in JUDGING if key in after}} if after else {}


def choices(where: Path) -> dict[str, Any]:
    """Ways of choosing among samples: whether the chosen one is right, problem by problem."""
    measures = read_json(where / names.SUMMARY)["measures"]
    said = {name: " ".join(f"{v:.3g}" for v in m["per_problem"]) for name, m in measures.items()}
    return {"choices": said}


def budgets(where: Path) -> dict[str, Any]:
    """The evaluation of every budget of thought."""
    records = read_json(where / names.SUMMARY)["budgets"]
    return {"budgets": {str(r["budget"]): figures.side(r) | more(r) for r in records}}


def rounds(where: Path) -> dict[str, Any]:
    """The policy before a search and after each round, with what the search is worth then."""
    records = {r["update"]: figures.side(r) | more(r) for r in read_json(where / names.EVALUATIONS)}
    rows = read_jsonl(where / names.METRICS)
    worth = [{key: row[key] for key in SEARCHED if key in row} for row in rows]
    judged = [records[number] | found for number, found in enumerate(worth, start=1)]
    return {"before": records[0], "after": records[len(rows)], "rounds": judged}


READ: dict[type, Callable[[Path], dict[str, Any]]] = {
    RejectionSettings: summary_of("samples", "kept"),
    labels.Config: summary_of(
        "solutions", "steps", "right", "wrong_called_right", "right_called_wrong",
        "drawn_tokens", "continued_tokens",
    ),
    RewardModelConfig: reward_model,
    best.Config: choices,
    thinking.Config: budgets,
    SearchRunConfig: rounds,
}  # fmt: skip
"""What is read of a run beside what every study keeps of it, by its flags."""


def stage(record: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline's checkpoint: its held-out numbers, and what the gold says of general prompts."""
    general = record.get("general") or {}
    keys = ("pass_at_1", "format", "length_mean", "language_consistency")
    return rounded({key: record[key] for key in keys if key in record} | general)


def more(record: Mapping[str, Any]) -> dict[str, Any]:
    """Further numbers of an evaluation, and how often each problem was solved, in their order."""
    samples = record["samples"]
    counts = (round(row["correct"] * samples) for row in record["per_problem"])
    known = {key: record[key] for key in MORE if record.get(key) is not None}
    return rounded(known) | {"right": " ".join(map(str, counts))}


def watched(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Numbers of each rollout: parts of the reward, what was cut, what its updates clipped."""
    groups = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row["rollout"])]
    told = [key for key in groups[0][0] if key.startswith("reward/")] if groups else []
    means = {key: key for key in told if key != "reward/accuracy"} | WATCHED
    return {
        name: rounded([fmean(row[key] for row in group if key in row) for group in groups])
        for name, key in means.items()
        if all(isinstance(group[0].get(key), float) for group in groups)
    }


def texts(job: evaluate.Config, where: Path) -> dict[str, Any]:
    """What an evaluation's completions are like: modes of the world, or tries at a countdown."""
    problems = {p.id: p for p in next(iter(load_eval_sets(job.data).values()))}
    every = read_jsonl(where / "completions.jsonl")
    rows = [row for row in every if row["sample"] != "greedy"]
    greedy = [row for row in every if row["sample"] == "greedy"]
    if any(p.grader == "countdown" and "family" not in p.metadata for p in problems.values()):
        found = tries(rows, problems) | {"greedy_tries": fmean(map(tried, greedy or rows))}
    else:
        families = {p.id: p.metadata.get("family", "") for p in problems.values()}
        found = {"modes": {mode: list(both) for mode, both in profile(rows, families).items()}}
    said = [{key: row[key] for key in ("text", "lenient")} for row in greedy[:GREEDY]]
    return rounded(found) | ({"greedy": said} if said else {})


def tries(rows: Sequence[Mapping[str, Any]], problems: Mapping[str, Problem]) -> dict[str, float]:
    """TinyZero's reward, the share of answer tags it sees, and tries, over completions."""
    rewards = [
        tinyzero.countdown.function(
            problems[row["id"]], Completion.parse(row["text"], (), row["finish_reason"])
        )
        for row in rows
    ]
    tagged = fmean(reward > 0 for reward in rewards)
    return {"reward": fmean(rewards), "tagged": tagged, "tries": fmean(map(tried, rows))}


def tried(row: Mapping[str, Any]) -> int:
    """Tries of a completion."""
    return count_tries(row["text"])
