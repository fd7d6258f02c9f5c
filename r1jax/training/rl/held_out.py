"""Evaluation of a policy in training, by the engine and the reward workers it is trained with."""

from __future__ import annotations

from r1jax.evaluate.measures import Evaluation, evaluate, transcripts
from r1jax.rollout.policy import make_sampler
from r1jax.run.directory import RunDirectory
from r1jax.training.rl.setup import Parts
from r1jax.types import Params


def recorded(parts: Parts, params: Params, run: RunDirectory, update: int) -> list[Evaluation]:
    """Samples and judges the evaluation sets with the weights after `update`, in their order.

    What is found is written down, with texts of the first set.
    """
    config = parts.config
    weights = parts.engine.prepare(params)
    sampler = make_sampler(parts.engine, parts.policy, weights, config.eval.max_tokens or None)
    how, seed, sandbox = config.eval, config.seed, config.sandbox
    evaluations = [
        evaluate(problems, sampler, how, parts.pool, name, seed, sandbox=sandbox)
        for name, problems in parts.eval_sets.items()
    ]
    for evaluation in evaluations:
        texts = transcripts(evaluation) if evaluation is evaluations[0] else ()
        run.evaluation(update, evaluation.record, texts)
    return evaluations
