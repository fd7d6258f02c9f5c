"""How a checkpoint of the pipeline is judged: the same problems and samples at every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from r1jax.data import load_eval_sets
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.world.gold import judge_general
from r1jax.evaluate.measures import transcript, transcripts
from r1jax.problem import Problem
from r1jax.rewards import RewardPool
from r1jax.rollout.engine import Engine
from r1jax.rollout.policy import Policy, load_policy, make_engine, make_sampler
from r1jax.run.directory import to_json
from r1jax.stages.pipeline.config import R1Config
from r1jax.stages.summary import short as without_problems
from r1jax.training.rl import held_out
from r1jax.training.weights import trained_weights
from r1jax.types import Params

WORLD = "general:"
"""Sources whose replies have a gold score that no reward ever sees."""
GENERAL_PROBLEMS, GENERAL_SAMPLES = 48, 4
TRANSCRIPTS = 24  # problems whose first sample is kept


@dataclass(frozen=True)
class Assessor:
    """A model's shape with the engine, compiled once, that draws from any weights of that shape."""

    policy: Policy
    mesh: Mesh
    engine: Engine
    pool: RewardPool
    eval_sets: Mapping[str, tuple[Problem, ...]]
    general: tuple[Problem, ...]
    config: R1Config

    def weights(self, checkpoints: str | Path = "") -> Params:
        """Those of a run's newest checkpoint, or the model's own."""
        return trained_weights(self.policy, self.mesh, str(checkpoints))

    def judge(self, weights: Params) -> dict[str, Any]:
        """What judged.json holds: the record of the first set and those of the others by name,
        general scores, and transcripts of the first set.
        """
        prepared = self.engine.prepare(weights)
        evaluation, *others = held_out.judged(self, prepared)
        general, replies = None, []
        if self.general:
            how, seed = self.config.eval, self.config.seed
            sampler = make_sampler(self.engine, self.policy, prepared, how.max_tokens or None)
            drawn = sampler(self.general, GENERAL_SAMPLES, how.sampling, seed)
            asked = [problem for problem in self.general for _ in range(GENERAL_SAMPLES)]
            general = judge_general(asked, [c.text for group in drawn for c in group])
            replies = [
                transcript(problem, group[0].text, None)
                for problem, group in zip(self.general, drawn, strict=True)
            ]
        return to_json(
            {
                "record": evaluation.record,
                "sets": {other.record["set"]: other.record for other in others},
                "general": general,
                "transcripts": transcripts(evaluation, TRANSCRIPTS) + replies[:TRANSCRIPTS],
            }
        )


def make_assessor(
    config: R1Config, model: str, family: str, mesh: Mesh, pool: RewardPool
) -> Assessor:
    """The assessor of one model, on every set under --data.eval."""
    d = config.data
    policy = load_policy(model, d.template, d.system, d.prefill, family)
    # One limit for every stage, that of the one that may write the most.
    shapes = max(
        (config.zero.rollout, config.reasoning_rl.rollout, config.general_rl.rollout),
        key=lambda rollout: rollout.max_tokens,
    )
    room = PromptRoom(shapes.max_prompt, policy.prompts)
    sets = {name: tuple(found) for name, found in load_eval_sets(d, room=room).items()}
    sources = tuple(name for name in config.general.prompts if name.startswith(WORLD))
    general: list[Problem] = []
    if sources:
        asked = replace(d, eval=sources, eval_count=GENERAL_PROBLEMS)
        judged = load_eval_sets(asked, room=room).values()
        general = [problem for eval_set in judged for problem in eval_set]
    engine = make_engine(policy, mesh, shapes, stop_strings=shapes.stop, dtype=shapes.dtype)
    return Assessor(policy, mesh, engine, pool, sets, tuple(general), config)


def headline(judged: dict[str, Any]) -> str:
    """The result of a stage in a few words."""
    record: dict[str, Any] = judged["record"]
    said = f"pass@1 {record['pass_at_1']:.3f}, language {record['language_consistency']:.2f}"
    general = judged["general"]
    helpful = (general or {}).get("helpfulness")
    return said if helpful is None else f"{said}, helpfulness {helpful:.2f}"


def short(judged: dict[str, Any]) -> dict[str, Any]:
    """A judgement as summary.json holds it: records without their problems, general scores."""
    sets = {name: without_problems(record) for name, record in judged["sets"].items()}
    return without_problems(judged["record"]) | {"sets": sets, "general": judged["general"]}
