"""Evaluation of a policy in training, by the engine and the reward workers it is trained with."""

from __future__ import annotations

from r1jax.evaluate.measures import Evaluation, evaluate, transcripts
from r1jax.rollout.policy import make_sampler
from r1jax.run.directory import RunDirectory
from r1jax.training.rl.setup import Parts
from r1jax.types import Params


def held_out(parts: Parts, params: Params) -> list[Evaluation]:
    """Samples and judges the evaluation sets, in their order."""
    config = parts.config
    weights = parts.engine.prepare(params)
    sampler = make_sampler(parts.engine, parts.policy, weights, config.eval.max_tokens or None)
    return [
        evaluate(
            problems,
            sampler,
            config.eval,
            pool=parts.pool,
            set_name=name,
            seed=config.seed,
            sandbox=config.sandbox,
        )
        for name, problems in parts.eval_sets.items()
    ]


def recorded(parts: Parts, params: Params, run: RunDirectory, update: int) -> list[Evaluation]:
    """What is found of the weights after `update`, written down, with texts of the first set."""
    found = held_out(parts, params)
    for evaluation in found:
        texts = transcripts(evaluation) if evaluation is found[0] else ()
        run.evaluation(update, evaluation.record, texts)
    return found
