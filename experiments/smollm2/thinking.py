"""What a thought of so many tokens is worth: accuracy, tokens and seconds by its budget.

    python -m experiments.smollm2.thinking --model smollm2 --checkpoints runs/.../checkpoints

A completion that has not ended within its budget is cut there, its thought is closed (</think>,
<answer>) and the answer is drawn: the paper's inference-time scaling, turned down. Budget 0 lets
a completion end by itself. A few problems are answered one at a time as well, which is what a
single user waits for. Minutes on an accelerator. Leaves summary.json, a record for each budget.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

import numpy as np

from r1jax.commands import cli
from r1jax.commands import evaluate as evaluate_command
from r1jax.data import EvalDataConfig, load_eval_sets
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.measures import EvalConfig, evaluate
from r1jax.mesh import make_mesh
from r1jax.problem import Completion, Problem
from r1jax.rewards import RewardPool
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.policy import Policy, load_policy, make_engine
from r1jax.rollout.requests import Generated
from r1jax.rollout.sampling import Sampling
from r1jax.run.flags import ModelFlags, PlaceFlags, TrustConfig
from r1jax.run.names import SUMMARY
from r1jax.stages.opening import opened
from r1jax.training.weights import trained_weights
from r1jax.types import Params

OPEN = "<answer>"
"""What asks for the answer."""
ANSWER = 24
"""Most tokens of an answer behind a closed thought."""

BySample = dict[tuple[int, int], Generated]
"""What was drawn, by problem and sample."""


@dataclass(frozen=True)
class Config(ModelFlags, PlaceFlags):
    """Which thoughts are cut where, on what."""

    run: str = "runs/smollm2-thinking"
    checkpoints: str = ""
    """Directory of a run's checkpoints, whose newest weights replace the model's."""
    checkpoint: TrustConfig = field(default_factory=TrustConfig)
    """Which of them count, and how this ends when it is asked to."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the model."""
    budgets: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Tokens after which a completion that has not ended is asked for its answer; 0: never."""
    end: str = "\n</think>\n"
    """What closes a thought that is cut, with the spaces that the model writes around it."""
    alone: int = 16
    """Problems of each set that are answered one at a time, with a clock; 0: none."""
    workers: int = 1
    """Processes that grade answers; 0 grades in this process, without limits."""
    data: EvalDataConfig = field(default_factory=lambda: EvalDataConfig(template="chat"))
    """The sets, under --data.eval."""
    eval: EvalConfig = field(default_factory=lambda: EvalConfig(samples=8, greedy=False))
    """How many samples, drawn how."""
    rollout: EngineConfig = field(
        default_factory=lambda: EngineConfig(slots=512, max_prompt=160, max_tokens=512)
    )
    """Shapes of the generation engine; what has budget 0 ends at --eval.max-tokens."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", alone="[0,]", workers="[0,]")
        if not self.budgets or not 0 <= min(self.budgets) <= max(self.budgets) <= self.longest:
            raise UserError(
                f"--budgets {self.budgets}: expected tokens, none above --rollout.max-tokens "
                f"{self.longest}"
            )

    @property
    def longest(self) -> int:
        """Most tokens of a completion."""
        return self.rollout.max_tokens


def after_evaluation(
    judged: evaluate_command.Config, run: str, budgets: tuple[int, ...], **changes: Any
) -> Config:
    """What an evaluation judges, by budgets, with `changes` to the flags."""
    shapes = replace(judged.rollout, max_tokens=max(*budgets, judged.rollout.max_tokens))
    common = Config(
        run=run, model=judged.model, family=judged.family, checkpoints=judged.checkpoint,
        dtype=judged.dtype, seed=judged.seed, budgets=budgets, workers=judged.workers,
        data=judged.data, eval=judged.eval, rollout=shapes,
    )  # fmt: skip
    return replace(common, **changes)


@dataclass(frozen=True)
class Budgeted:
    """A sampler as `r1jax.evaluate.measures` wants it, whose completions think within a budget.

    `first` writes the thought, `then` the answer behind one that was closed.
    """

    policy: Policy
    first: Engine
    then: Engine
    weights: Params
    limit: int | None
    end: str = Config.end
    budget: int = 0

    @classmethod
    def of(cls, policy: Policy, config: Config, params: Params, slots: int) -> Budgeted:
        """With engines of so many slots, and no budget yet."""
        mesh, usual = make_mesh(config.mesh), config.rollout
        shapes = replace(usual, slots=slots, prefill=min(slots, usual.prefill))
        prompts = shapes.max_prompt + config.longest + len(closing(policy, "", config.end))
        behind = replace(shapes, max_prompt=prompts, max_tokens=ANSWER)
        first, then = (make_engine(policy, mesh, s, dtype=config.dtype) for s in (shapes, behind))
        limit = config.eval.max_tokens or None
        return cls(policy, first, then, first.prepare(params), limit, config.end)

    def __call__(
        self, problems: Sequence[Problem], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """The completions of each problem; the tokens that close a thought count as its own."""
        prompts = [Prompt(self.policy.prompt(p), p.number, samples) for p in problems]
        found: BySample = {}
        most = self.budget or self.limit
        drawn = self.first.generate(
            self.weights, prompts, sampling, seed=seed, rollout=0, max_tokens=most
        )
        for g in drawn:
            found[g.prompt, g.sample] = g
        if self.budget:
            self._answer(prompts, found, sampling, seed)
        read = self.policy.completion
        return [[read(found[i, j]) for j in range(samples)] for i in range(len(problems))]

    def _answer(
        self, prompts: Sequence[Prompt], found: BySample, sampling: Sampling, seed: int
    ) -> None:
        """Goes on with what was cut, its thought closed."""
        keys, asked = [], []
        for (i, j), g in found.items():
            ids = g.tokens.tolist()
            added = closing(self.policy, self.policy.tokenizer.decode(ids), self.end)
            if g.finish_reason == "length" and added is not None:
                keys.append((i, j, [*ids, *added]))
                tokens = (*prompts[i].tokens, *ids, *added)
                asked.append(Prompt(tokens, prompts[i].problem, 1, first_sample=j))
        for g in self.then.generate(self.weights, asked, sampling, seed=seed, rollout=1):
            i, j, before = keys[g.prompt]
            found[i, j] = replace(g, tokens=np.array([*before, *g.tokens], g.tokens.dtype))


def closing(policy: Policy, text: str, end: str) -> list[int] | None:
    """Tokens that ask for the answer behind a thought that was cut; None where it is there."""
    if "</answer>" in text:
        return None
    thought = "" if "</think>" in text else end
    asked = "" if "<answer>" in text.partition("</think>")[2] else OPEN
    return policy.tokenizer(thought + asked, add_special_tokens=False).input_ids


def main(config: Config) -> None:
    """Judges every budget, then answers a few problems alone."""
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        d = config.data
        policy = load_policy(config.model, d.template, d.system, d.prefill, config.family)
        sets = load_eval_sets(d, print)
        mesh = make_mesh(config.mesh)
        trusted = config.checkpoint.unverified
        params = trained_weights(policy, mesh, config.checkpoints, unverified=trusted)
        many = Budgeted.of(policy, config, params, config.rollout.slots)
        alone = Budgeted.of(policy, config, params, 1) if config.alone else None
        rows = []
        with RewardPool(workers=config.workers) as pool:
            for budget in config.budgets:
                for name, problems in sets.items():
                    sampler = replace(many, budget=budget)
                    judged = evaluate(problems, sampler, config.eval, pool, name, config.seed)
                    row = {"budget": budget} | judged.record
                    if alone is not None:
                        one = replace(alone, budget=budget)
                        row["seconds"] = seconds(one, problems[: config.alone], config)
                    rows.append(row)
                    print(f"budget {budget}, {name}: {row['pass_at_1']:.3f}", flush=True)
        run.finish({"budgets": rows}, f"{len(rows)} records")


def seconds(sampler: Budgeted, problems: Sequence[Problem], config: Config) -> float:
    """The median time of an answer to one problem at a time, without the first's compilation."""
    taken = []
    for problem in [problems[0], *problems]:
        started = time.perf_counter()
        sampler([problem], 1, config.eval.sampling, config.seed)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
