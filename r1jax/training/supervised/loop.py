"""The supervised loop: shuffled passes over examples, their held-out loss; resumed exactly."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.sharding import Mesh

from r1jax.data.packing import ONE_BY_ONE, Denominators, Packing, pack
from r1jax.errors import UserError
from r1jax.models.config import ModelConfig
from r1jax.run.saved import Saved
from r1jax.run.signals import boundary
from r1jax.training.batches import ComputeConfig
from r1jax.training.flops import train_flops
from r1jax.training.rl.state import Files, Loop, is_due, spent
from r1jax.training.supervised.config import CourseConfig
from r1jax.training.supervised.examine import Examine, Pool
from r1jax.training.update import Functions, update
from r1jax.types import Batch, Params, TrainState

MAX_SKIPPED = 5  # non-finite updates in a row after which the loop gives up


def updates_per_epoch(count: int, batch: int) -> int:
    """Whole batches in one pass over `count` examples; fewer than a batch are one."""
    return count // min(batch, count)


def updates_of(examples: Pool, batch: int, epochs: int) -> int:
    """Optimizer updates that `epochs` passes take."""
    return epochs * updates_per_epoch(len(examples.lengths), batch)


def chosen(count: int, batch: int, seed: int, step: int) -> np.ndarray:
    """Numbers of the examples of update `step` (from 0): a function of these arguments alone.

    Every epoch deals all examples out in an order of its own; a rest that fills no batch waits,
    and is most likely dealt in the next epoch.
    """
    size = min(batch, count)
    epoch, place = divmod(step, updates_per_epoch(count, batch))
    return _order(count, seed, epoch)[place * size : (place + 1) * size]


@functools.lru_cache(maxsize=1)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def fit(
    functions: Functions,
    state: TrainState,
    examples: Pool,
    compute: ComputeConfig,
    mesh: Mesh,
    *,
    updates: int,
    batch: int,
    seed: int = 0,
    base: Params | None = None,
    each: Callable[[int, dict[str, float]], Any] = lambda step, metrics: None,
) -> tuple[TrainState, dict[str, float]]:
    """Makes the optimizer updates that `state` lacks to `updates`, and nothing else.

    `functions` are those of `make_functions` with `r1jax.losses.sft.sft` (or any loss that needs no
    advantages) and `compute`. `each` receives every update's number (from 1) and metrics. For a run
    that is recorded, judged and resumed there is `train`.

    Returns:
      The state and the metrics of the last update.

    Raises:
      UserError: there is nothing to learn, an example is wider than a row, or loss or gradient was
        not finite `MAX_SKIPPED` times in a row.
    """
    count = len(examples.lengths)
    if not count or updates < 1:
        raise UserError(f"supervised training: {count} sequences, {updates} updates; there must "
                        "be at least one of each")  # fmt: skip
    metrics: dict[str, float] = {}
    for step in range(int(state.update), updates):
        part = examples.take(chosen(count, batch, seed, step))
        batches = pack(part, *compute.shape, Denominators.of(part, max_tokens=1))
        state, metrics = update(functions, state, batches, mesh, base)
        each(step + 1, metrics)
        if int(state.skipped) >= MAX_SKIPPED:
            raise UserError(
                f"update {step + 1}: loss or gradient was not finite {MAX_SKIPPED} times in a row; "
                "lower the learning rate"
            )
    return state, metrics


@dataclass(frozen=True)
class Course:
    """What is learnt, from what, and how it is judged; the flags say for how long and how often."""

    config: CourseConfig  # complete: the number of updates is worked out
    model: ModelConfig
    mesh: Mesh
    examples: Pool
    held_out: Mapping[str, Pool]  # by name; the first decides which checkpoint is the best
    identity: Mapping[str, Any]  # what a checkpoint must agree with
    functions: Functions
    examine: Examine
    base: Params | None = None  # the frozen weights under LoRA's factors
    teacher: Params | None = None  # weights whose distributions are learnt
    packing: Packing = ONE_BY_ONE  # of the sequences of an update

    @property
    def frozen(self) -> Params | None:
        """What the update takes beside the weights it changes."""
        return self.base if self.teacher is None else {"base": self.base, "teacher": self.teacher}


def begin(course: Course, state: TrainState, files: Files) -> Loop:
    """A fresh loop around `state`, or the one the newest checkpoint holds; run files are cut."""
    step = files.checkpoints.latest()
    if step is None:
        files.cut(-1, 0)
        return Loop(state, None, rollout=0)
    restored = files.checkpoints.restore(step, state, course.identity)
    loop = Loop(restored.state, None, rollout=0)
    loop.count_on(restored.meta)
    loop.unjudged = restored.meta.get("unjudged", False)
    files.cut(loop.update, 0)
    files.progress.note(f"resumed after update {loop.update}")
    return loop


def train(course: Course, loop: Loop, files: Files) -> Loop:
    """Runs until the last update; evaluates before the first, every so often and at the end."""
    config = course.config
    with files.saving(loop, functools.partial(saved, course)):
        if loop.update == 0:
            judge(course, loop, files)
        if loop.unjudged:  # it was stopped as it was judged
            conclude(course, loop, files)
        while loop.update < config.updates and not spent(loop, config.until_operations):
            files.profiler.before(loop.update + 1)
            metrics, batches = advance(course, loop, files)
            files.row(loop, config, metrics)
            files.profiler.after(loop.update)
            if int(loop.state.skipped) >= MAX_SKIPPED:
                files.stop(loop.update, MAX_SKIPPED, batches, "lower --optimizer.lr")
            conclude(course, loop, files)
            boundary()
    files.checkpoints.wait()
    return loop


def conclude(course: Course, loop: Loop, files: Files) -> None:
    """What is due after an update: an evaluation, a checkpoint."""
    config, score = course.config, None
    last = loop.update if spent(loop, config.until_operations) else config.updates
    loop.unjudged = is_due(loop.update, config.eval_every, last)
    if loop.unjudged:
        score, loop.unjudged = judge(course, loop, files), False
    if score is not None or is_due(loop.update, config.checkpoint.every, last):
        with loop.clock("checkpoint"):
            files.checkpoints.save(saved(course, loop), score)


def advance(course: Course, loop: Loop, files: Files) -> tuple[dict[str, float], list[Batch]]:
    """One optimizer update: its metrics and micro-batches."""
    config, count = course.config, len(course.examples.lengths)
    files.progress.phase("update")
    with loop.clock("update"):
        part = course.examples.take(chosen(count, config.batch, config.seed, loop.update))
        totals = Denominators.of(part, max_tokens=1)
        batches = course.packing.pack(part, *config.train.shape, totals)
        loop.state, metrics = update(
            course.functions, loop.state, batches, course.mesh, course.frozen
        )
    lora = config.lora if config.lora.on else None
    metrics |= loop.learnt(part, {"update": train_flops(course.model, part.totals, lora)})
    loop.spend(metrics)
    metrics["data/epoch"] = loop.update / updates_per_epoch(count, config.batch)
    return metrics, batches


def judge(course: Course, loop: Loop, files: Files) -> float | None:
    """Records what every held-out set says; returns the score of the first, None without one."""
    files.progress.phase("evaluation")
    with loop.clock("eval"):  # all before any is written: a signal may come between them
        found = {
            name: course.examine(loop.state.params, examples, course.base)
            for name, examples in course.held_out.items()
        }
    scores: list[float] = []
    for name, examined in found.items():
        files.run.evaluation(loop.update, {"set": name, **examined.record})
        files.progress.note(f"update {loop.update}: {name}: {examined.line}")
        scores.append(examined.score)
    return scores[0] if scores and math.isfinite(scores[0]) else None


def saved(course: Course, loop: Loop) -> Saved:
    """What a checkpoint of this moment holds."""
    meta = {**course.identity, **loop.counts, "unjudged": loop.unjudged}
    return Saved(loop.state, None, {}, meta)
