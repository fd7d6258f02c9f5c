"""What a round is worth: the policy alone, with a search, with as many tokens of plain samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from r1jax.evaluate.calibration import auc
from r1jax.evaluate.reading import Grader, Judged, judge
from r1jax.evaluate.statistics import bootstrap_interval, vote
from r1jax.evaluate.steps import best_of
from r1jax.run.directory import RunDirectory
from r1jax.search.methods import Method
from r1jax.search.side_by_side import search
from r1jax.search.tree import Tree
from r1jax.stages.search.parts import SearchParts
from r1jax.training.rl import held_out
from r1jax.types import Params

DEPTHS = 4
"""Steps behind which prefixes are told apart; the last counts for all that are longer."""


def policy_alone(parts: SearchParts, weights: Params, run: RunDirectory, number: int) -> float:
    """pass@1 without a search, of the first evaluation set; all sets are recorded."""
    found = held_out.judged(parts, weights)
    held_out.written(run, number, found)
    return float(found[0].record["pass_at_1"])


def with_search(parts: SearchParts, weights: Params, value: Params, number: int) -> dict[str, Any]:
    """The first evaluation set at --search.tokens a problem, by the search and by sampling.

    Nobody knows the answers here: the value model judges ends. Each problem is sampled with as
    many tokens as its search has spent.
    """
    config, method = parts.config, parts.config.method
    problems = next(iter(parts.eval_sets.values()))
    oracles = parts.oracles(weights, value, number, knows=False)
    trees: dict[Method, list[Tree]] = {}
    if method != "sample":
        trees[method] = [parts.tree(problem) for problem in problems]
        search(trees[method], method, config.search, oracles)
    budgets = [replace(config.search, tokens=t.spent) for t in trees.get(method, [])] or None
    trees["sample"] = [parts.tree(problem) for problem in problems]
    search(trees["sample"], "sample", config.search, oracles, budgets)
    found: dict[str, Any] = {}
    for name, some in trees.items():
        judged = _judged(parts, some)
        found |= chosen("sample" if name == "sample" else "search", some, judged)
        if name == "sample":
            found |= prefixes(parts, some, judged, value)
    return found


def _judged(parts: SearchParts, trees: Sequence[Tree]) -> list[list[Judged]]:
    """Every end of every tree, read and graded."""
    completions = [[parts.completion(tree, end) for end in tree.ends] for tree in trees]
    grader = Grader(parts.pool, sandbox=parts.config.sandbox)
    return judge([tree.problem for tree in trees], completions, grader)


def chosen(name: str, trees: Sequence[Tree], judged: Sequence[Sequence[Judged]]) -> dict[str, Any]:
    """Accuracy of the end that the value model likes best, of the vote, of any end at all."""
    values: dict[str, list[float]] = {"best": [], "vote": [], "any": []}
    for tree, ends in zip(trees, judged, strict=True):
        right = [j.lenient for j in ends]
        scores = [end.value or 0.0 for end in tree.ends]
        values["best"].append(best_of(scores, right) if ends else 0.0)
        values["vote"].append(vote([j.vote for j in ends], right))
        values["any"].append(float(any(right)))
    found: dict[str, Any] = {f"{name}/{how}": float(np.mean(v)) for how, v in values.items()}
    found |= {f"{name}/{how}_ci": list(bootstrap_interval(v)) for how, v in values.items()}
    return found | {
        f"{name}/tokens": float(np.mean([tree.spent for tree in trees])),
        f"{name}/ends": float(np.mean([len(tree.ends) for tree in trees])),
    }


def prefixes(
    parts: SearchParts, trees: Sequence[Tree], judged: Sequence[Sequence[Judged]], value: Params
) -> dict[str, Any]:
    """How well the value model tells, behind each step of plain samples, how they ended.

    AUC, and Brier's score of (V + 1) / 2 beside that of the share of right ones alone, over all
    steps and by how many a prefix has.
    """
    values = parts.step_values(value, [(tree, end) for tree in trees for end in tree.ends])
    right = [float(j.lenient) for ends in judged for j in ends]
    ended = np.concatenate([np.full(len(v), r) for v, r in zip(values, right, strict=True)])
    stated = (np.concatenate(values).astype(np.float64) + 1) / 2
    depth = np.concatenate([np.minimum(np.arange(len(v)) + 1, DEPTHS) for v in values])
    found = _told(stated, ended, "")
    for steps in range(1, DEPTHS + 1):
        if (here := depth == steps).any():
            found |= _told(stated[here], ended[here], f"_{steps}")
    return found


def _told(stated: np.ndarray, ended: np.ndarray, behind: str) -> dict[str, Any]:
    ranked = auc(stated, ended)
    return {
        f"value/auc{behind}": ranked if np.isfinite(ranked) else None,
        f"value/brier{behind}": float(np.mean((stated - ended) ** 2)),
        f"value/brier_of_share{behind}": float(np.mean((ended.mean() - ended) ** 2)),
        f"value/prefixes{behind}": float(len(ended)),
    }
