"""Draws solutions, cuts them into steps and labels each: what a process reward model learns from.

    python -m experiments.process_reward.labels --run runs/steps --labels hard

`hard` and `soft` go on from the end of every step `--rollouts` times (Math-Shepherd, 2312.08935):
hard asks whether any continuation ends right, soft which share does. `truth` asks the embedded
world, which knows what every step claims; where it is known, the others say how far they are off.
Leaves rows.jsonl in TRL's layout (prompt, completions, labels) and summary.json; a run that was
stopped goes on behind the problems that are written. Minutes on a laptop CPU for a few hundred.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from r1jax.commands import cli
from r1jax.data import ProblemStream, TrainDataConfig
from r1jax.data.examples.steps import Cut, step_ends, steps_of
from r1jax.data.problems.known import digest_of, refuse_other_problems
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.world.truth import true_labels
from r1jax.errors import UserError, check_ranges
from r1jax.mesh import make_mesh
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, accuracy
from r1jax.rewards.answers.graders import UNRULED
from r1jax.rewards.tokens import tokens_to
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.policy import Policy, load_policy, make_engine
from r1jax.rollout.requests import Generated
from r1jax.rollout.sampling import Sampling
from r1jax.run.directory import read_jsonl, write_jsonl
from r1jax.run.flags import ModelFlags, PlaceFlags, TrustConfig
from r1jax.run.names import SUMMARY
from r1jax.run.signals import boundary
from r1jax.stages.opening import opened
from r1jax.training.weights import trained_weights
from r1jax.types import Params

ROWS = "rows.jsonl"
LabelKind = Literal["hard", "soft", "truth"]


@dataclass(frozen=True)
class Config(ModelFlags, PlaceFlags):
    """Whose solutions are labelled, and how."""

    run: str = "runs/step_labels"
    checkpoints: str = ""
    """Directory of a run's checkpoints, whose newest weights replace the model's."""
    checkpoint: TrustConfig = field(default_factory=TrustConfig)
    """Which of them count, and how this ends when it is asked to."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the model."""
    labels: LabelKind = "hard"
    """Who labels: continuations (hard: any ends right; soft: the share that does), or truth."""
    steps: Cut = "sentence"
    """Where a solution is cut into steps: line, paragraph (an empty line), sentence."""
    prompts: int = 256
    """Problems, in the stream's order."""
    samples: int = 4
    """Solutions of each."""
    rollouts: int = 8
    """Continuations from the end of each step; truth needs none."""
    batch: int = 64
    """Problems drawn, labelled and written at a time."""
    temperature: float = 1.0
    """Sampling temperature, of solutions and continuations."""
    workers: int = 2
    """Processes that grade answers; 0 grades in this process, without limits."""
    data: TrainDataConfig = field(default_factory=lambda: TrainDataConfig(template="mini"))
    """The problems, under --data.train."""
    rollout: EngineConfig = field(
        default_factory=lambda: EngineConfig(slots=256, max_prompt=128, max_tokens=128)
    )
    """Shapes of the generation engine; a continuation has the same limit of tokens."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(
            self, "--", prompts="[1,]", samples="[1,]", rollouts="[1,]", batch="[1,]",
            temperature="[0,]", workers="[0,]",
        )  # fmt: skip


@dataclass(frozen=True)
class DrawnSolution:
    """A solution with where its steps end in the text, and what is known of them."""

    problem: Problem
    number: int  # of the problem in its batch
    completion: Completion
    prompt: tuple[int, ...]
    ends: list[int]
    right: bool  # its answer

    @property
    def steps(self) -> list[str]:
        """The texts of the steps."""
        return steps_of(self.completion.text, self.ends)


@dataclass(frozen=True)
class Labeller:
    """The policy with one engine for solutions and one that goes on from their steps."""

    config: Config
    policy: Policy
    first: Engine
    then: Engine
    weights: Params
    pool: RewardPool

    @classmethod
    def of(cls, config: Config, policy: Policy, pool: RewardPool) -> Labeller:
        """Loads the weights."""
        mesh, usual = make_mesh(config.mesh), config.rollout
        behind = replace(usual, max_prompt=usual.max_prompt + usual.max_tokens)
        first, then = (make_engine(policy, mesh, s, dtype=config.dtype) for s in (usual, behind))
        trusted = config.checkpoint.unverified
        params = trained_weights(policy, mesh, config.checkpoints, unverified=trusted)
        return cls(config, policy, first, then, first.prepare(params), pool)

    def solutions(self, problems: Sequence[Problem]) -> list[DrawnSolution]:
        """Solutions of the problems that have a step at all."""
        c = self.config
        prompts = [Prompt(self.policy.prompt(p), p.number, c.samples) for p in problems]
        found = sorted(
            self.first.generate(self.weights, prompts, self.sampling, seed=c.seed, rollout=0),
            key=lambda g: (g.prompt, g.sample),
        )
        completions = [self.policy.completion(g) for g in found]
        right = self.graded([problems[g.prompt] for g in found], completions)
        drawn = [
            DrawnSolution(problems[g.prompt], g.prompt, completion, tuple(prompts[g.prompt].tokens),
                  step_ends(completion.text, c.steps), good)
            for g, completion, good in zip(found, completions, right, strict=True)
        ]  # fmt: skip
        return [solution for solution in drawn if solution.ends]

    @property
    def sampling(self) -> Sampling:
        """How all of it is drawn."""
        return Sampling(self.config.temperature, 1.0)

    def graded(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[bool]:
        """Whether each completion's answer is right."""
        scores, _ = self.pool.map(accuracy(), problems, completions, RewardContext())
        return [score == 1 for score in scores]

    def continued(self, drawn: Sequence[DrawnSolution]) -> tuple[list[list[float]], int]:
        """The share of right continuations from every step of each solution; their tokens.

        Behind the last step stands the answer: its share is the solution's own verdict.
        """
        c, asked, places = self.config, [], []
        drawn_of: Counter[int] = Counter()  # continuations by problem: each has draws of its own
        for i, solution in enumerate(drawn):
            ids = tuple(solution.completion.token_ids)
            ends = tokens_to(solution.completion, self.policy.tokenizer, solution.ends[:-1])
            for k, end in enumerate(ends):
                kept, n = ids[:end], solution.problem.number
                asked.append(Prompt((*solution.prompt, *kept), n, c.rollouts, drawn_of[n]))
                drawn_of[n] += c.rollouts
                places.append((i, k, kept))
        shares = [[float(solution.right)] * len(solution.ends) for solution in drawn]
        found: list[Generated] = list(
            self.then.generate(
                self.weights, asked, self.sampling, seed=c.seed, rollout=1,
                max_tokens=c.rollout.max_tokens,
            )
        )  # fmt: skip
        whole = [self._whole(g, places[g.prompt][2]) for g in found]
        of = [drawn[places[g.prompt][0]].problem for g in found]
        ended = np.zeros(len(asked))
        np.add.at(ended, [g.prompt for g in found], self.graded(of, whole))
        for (i, k, _), count in zip(places, ended, strict=True):
            shares[i][k] = count / c.rollouts
        return shares, sum(len(g.tokens) for g in found)

    def _whole(self, generated: Generated, before: Sequence[int]) -> Completion:
        tokens = np.asarray([*before, *generated.tokens], generated.tokens.dtype)
        return self.policy.completion(replace(generated, tokens=tokens))


def main(config: Config) -> None:
    """Draws, labels and writes batch by batch."""
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        path = run.directory.path / ROWS
        known = read_jsonl(path) if path.exists() else []
        policy = load_policy(config.model, config.data.template, config.data.system,
                             config.data.prefill, config.family)  # fmt: skip
        stream = ProblemStream(config.data, PromptRoom(config.rollout.max_prompt, policy.prompts))
        problems = stream.take(0, config.prompts)
        if config.labels == "truth" and any("target" not in p.metadata for p in problems):
            raise UserError("--labels truth: is known of the embedded world's sums, countdowns and "
                            "worded problems alone; use hard or soft")  # fmt: skip
        if unruled := next((p.id for p in problems if p.grader == UNRULED), None):
            raise UserError(f"--data.train: no rule judges problem {unruled} (grader {UNRULED}), "
                            "and labels are told from answers; leave such sources out")  # fmt: skip
        accuracy().check(problems)
        for line, row in enumerate(known, start=1):
            if row.get("number") not in range(len(problems)):
                raise UserError(f"{path}, line {line}: has no number of one of {len(problems)} "
                                "problems; remove it, or --overwrite")  # fmt: skip
        refuse_other_problems(path, known, [problems[row["number"]] for row in known])
        done = 1 + max((row["number"] for row in known), default=-1)
        with RewardPool(workers=config.workers) as pool:
            labeller = Labeller.of(config, policy, pool)
            for start in range(done, len(problems), config.batch):
                part = problems[start : start + config.batch]
                known += labelled(labeller, part, start)
                if run.directory.write:
                    write_jsonl(path, known)  # anew, in one step: a kill leaves whole batches
                print(f"{start + len(part):,} of {len(problems):,} problems, {len(known):,} "
                      "solutions", flush=True)  # fmt: skip
                boundary()
        found = summary(config, known)
        run.finish(found, f"{found['solutions']:,} solutions, {found['steps']:,} labelled steps")


def labelled(labeller: Labeller, problems: Sequence[Problem], start: int) -> list[dict[str, Any]]:
    """Rows of a batch, whose first problem is number `start` of all."""
    config = labeller.config
    drawn, tokens = labeller.solutions(problems), 0
    if config.labels == "truth":
        labels: list[list[Any]] = [true_labels(d.problem, d.steps) for d in drawn]
    else:
        labels, tokens = labeller.continued(drawn)
        if config.labels == "hard":
            labels = [[share > 0 for share in shares] for shares in labels]
    each = tokens / max(1, len(drawn))
    return [
        {
            "prompt": d.problem.question, "completions": d.steps, "labels": own,
            "right": d.right, "number": start + d.number, "id": d.problem.id,
            "problem": digest_of(d.problem),
            "drawn_tokens": len(d.completion.token_ids), "continued_tokens": round(each, 1),
        } | ({"truth": true_labels(d.problem, d.steps)} if "target" in d.problem.metadata else {})
        for d, own in zip(drawn, labels, strict=True)
    ]  # fmt: skip


def summary(config: Config, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was labelled, what it cost in tokens, and how far labels are from the truth.

    Among steps up to a solution's first wrong one: `wrong_called_right` and `right_called_wrong`
    are shares of the wrong and of the right ones.
    """
    pairs = [(label >= 0.5, true) for row in rows if "truth" in row
             for label, true in zip(row["labels"], row["truth"], strict=False)]  # fmt: skip
    found: dict[str, Any] = {
        "labels": config.labels,
        "solutions": len(rows),
        "steps": sum(len(row["labels"]) for row in rows),
        "right": float(np.mean([row["right"] for row in rows])) if rows else None,
        "drawn_tokens": sum(row["drawn_tokens"] for row in rows),
        "continued_tokens": round(sum(row["continued_tokens"] for row in rows)),
    }
    for name, true in (("wrong_called_right", False), ("right_called_wrong", True)):
        some = [label != true for label, is_true in pairs if is_true == true]
        found[name] = float(np.mean(some)) if some else None
    return found


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), description=__doc__))
