"""A policy on held-out problems, by an engine and by reward workers that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from r1jax.evaluate.measures import Evaluation, evaluate, transcripts
from r1jax.problem import Problem
from r1jax.rewards import RewardPool
from r1jax.rollout.engine import Engine
from r1jax.rollout.policy import Policy, make_sampler
from r1jax.run.directory import RunDirectory
from r1jax.types import Params


class JudgingParts(Protocol):
    """What a policy is judged with; the `config` has --eval, --seed and --sandbox."""

    @property
    def config(self) -> Any: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def pool(self) -> RewardPool: ...
    @property
    def eval_sets(self) -> Mapping[str, Sequence[Problem]]: ...


def judged(parts: JudgingParts, weights: Params) -> list[Evaluation]:
    """Samples and judges the evaluation sets, in their order; `weights` are of `Engine.prepare`."""
    config = parts.config
    how, seed, sandbox = config.eval, config.seed, config.sandbox
    sampler = make_sampler(parts.engine, parts.policy, weights, config.eval.max_tokens or None)
    return [
        evaluate(problems, sampler, how, parts.pool, name, seed, sandbox=sandbox)
        for name, problems in parts.eval_sets.items()
    ]


def written(run: RunDirectory, update: int, evaluations: Sequence[Evaluation]) -> None:
    """Writes down what was judged after `update`, with texts of the first set."""
    for evaluation in evaluations:
        texts = transcripts(evaluation) if evaluation is evaluations[0] else ()
        run.evaluation(update, evaluation.record, texts)


def recorded(
    parts: JudgingParts, params: Params, run: RunDirectory, update: int
) -> list[Evaluation]:
    """The sets judged with the weights after `update`, and written down."""
    evaluations = judged(parts, parts.engine.prepare(params))
    written(run, update, evaluations)
    return evaluations
