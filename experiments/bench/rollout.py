"""Runs the generation engine on a load and says how fast, how well filled, how near the limit."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh

from experiments.bench.ceilings import Ceilings
from experiments.bench.clock import Compiled, timed
from experiments.bench.kernels import Kernel, kernels
from experiments.bench.loads import Workload
from experiments.bench.roofline import step_seconds
from experiments.bench.table import peak_gb
from r1jax.mesh import devices_of, slot_devices
from r1jax.models import expert_parallel
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.quantized import WeightFormat
from r1jax.rollout.engine import Engine, EngineConfig
from r1jax.rollout.programs import programs
from r1jax.rollout.sampling import Sampling
from r1jax.types import Params


@dataclass(frozen=True)
class Setup:
    """A model on its devices, and how it is run; `rollout` lacks only what a load decides."""

    c: ModelConfig
    mesh: Mesh
    params: Params
    rollout: EngineConfig
    dtype: str
    seed: int
    repeats: int
    weights: WeightFormat = "same"

    def engine(self, load: Workload) -> Engine:
        """An engine just large enough for a load, which compiles anew: that is measured too."""
        programs.cache_clear()
        prompts, completions = zip(*load.lengths, strict=True)
        config = dataclasses.replace(
            self.rollout, slots=load.slots, max_prompt=max(prompts), max_tokens=max(completions)
        )
        return Engine(self.c, self.mesh, config, stop_ids=self.c.eos_ids, dtype=self.dtype)


@dataclass(frozen=True)
class MeasuredRollout:
    """What one rollout came to."""

    completions: int
    stopped: int  # completions that a stop token ended
    tokens: int
    steps: int  # decode steps
    filled: float  # share of the slots at work, averaged over the decode steps


@dataclass(frozen=True)
class Measured:
    """A load's timed rollouts, and what was compiled before and during them."""

    runs: list[MeasuredRollout]
    seconds: list[float]
    handover: list[float]  # seconds of engine.prepare
    warm: Compiled
    later: Compiled
    peak: float | None  # GB
    shapes: list[tuple[int, int]]  # (slots, cache length) pairs the engine is compiled for
    kernels: list[Kernel]

    @property
    def rate(self) -> float:
        """Tokens per second, the median rollout's."""
        return median([r.tokens / s for r, s in zip(self.runs, self.seconds, strict=True)])


def measure(setup: Setup, load: Workload, trace: bool = False) -> Measured:
    """Times the hand-over of weights and, after one rollout as warm-up, whole rollouts.

    A rollout ends when tokens and log-probabilities of every completion are on the host. With
    `trace`, one more runs under the profiler.
    """
    engine = setup.engine(load)
    runs: list[MeasuredRollout] = []

    def rollout() -> None:
        completions = list(
            engine.generate(weights, load.prompts, Sampling(), seed=setup.seed, rollout=len(runs))
        )
        stopped = sum(g.finish_reason == "stop" for g in completions)
        tokens = sum(len(g.tokens) for g in completions)
        # Entering a slot draws a token too, by prefill.
        decoded = tokens - len(completions) - engine.evictions
        filled = decoded / max(engine.slot_steps, 1)
        runs.append(MeasuredRollout(len(completions), stopped, tokens, engine.steps_taken, filled))

    with Compiled() as warm:
        prepare = functools.partial(engine.prepare, setup.params, weights=setup.weights)
        handover = timed(prepare, setup.repeats)
        weights = prepare()
        rollout()
    with Compiled() as later:
        seconds = timed(rollout, setup.repeats, warmup=0)
    timed_runs, peak = runs[1:], peak_gb()
    traced = kernels(rollout) if trace else []
    shapes = list(map(tuple, engine.shapes))
    return Measured(timed_runs, seconds, handover, warm, later, peak, shapes, traced)


def roofline(setup: Setup, load: Workload, ceilings: Ceilings) -> float:
    """Seconds of a decode step of a load at best, with every slot at work at its mean cache."""
    return step_seconds(
        setup.c,
        load.slots / slot_devices(setup.mesh),
        load.mean_cache,
        ceilings,
        itemsize=jnp.dtype(setup.dtype).itemsize,
        tensor=setup.mesh.shape["tensor"],
        spread=devices_of(setup.mesh, expert_parallel.axes(setup.c, setup.mesh)),
        eight_bits=setup.weights != "same",
    )


def row(load: Workload, measured: Measured, bound: float) -> dict[str, Any]:
    """A load's figures as a row of a table; `bound` is its `roofline`."""
    steps = [s / max(r.steps, 1) for r, s in zip(measured.runs, measured.seconds, strict=True)]
    return {
        "case": load.name,
        "group": load.group,
        "tok/s": measured.rate,
        "ms/step": median(steps) * 1e3,
        "roofline ms": bound * 1e3,
        "reached": measured.rate * bound / load.slots,
        "slots filled": median([run.filled for run in measured.runs]),
        "stopped": measured.runs[-1].stopped,
        "peak GB": measured.peak,
        "compile s": measured.warm.seconds,
        "compiled later": measured.later.count,
        "hand-over ms": median(measured.handover) * 1e3,
        "mean cache": load.mean_cache,
        "shapes": measured.shapes,
        "seconds": measured.seconds,
        "runs": [dataclasses.asdict(run) for run in measured.runs],
    }
