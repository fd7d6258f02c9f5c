"""Which lines of figures are evidence: those of runs with the very flags that a study plans.

A run's name says its arm, base and seed, and no more. So its line keeps a digest of its flags and
of those of the runs it waits for (its base, its parent, its data), and a line with another digest
is no line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from r1jax.commands import cli
from r1jax.run.directory import flatten, to_json
from r1jax.stages.opening import FREE

if TYPE_CHECKING:
    from experiments.gates.study import Figures, PlannedJob, StudySetting

DIGEST = "asked"
"""Where it stands in a line."""
SHAPES = ("rollout.slots", "rollout.prefill", "rollout.refill", "rollout.steps", "rollout.tail",
          "train.rows", "train.remat", "train.unroll", "train.chunk", "train.kernel")  # fmt: skip
"""How a device goes about it: a text depends on (seed, rollout, problem, sample) alone, a gradient
on its batch, but for rounding."""
NEUTRAL = (*(name for name in FREE if name != "run"), "jobs", *SHAPES)
NOTHING = (None, False, 0, "", "none", [], {})
"""Values that are left out, so that a flag which comes later, and is off, changes no digest."""


def flags_of(job: Any, places: tuple[str, ...]) -> str:
    """The flags that make a job's result, as JSON; paths as seen from `places`."""
    flat = flatten(to_json(getattr(job, "arguments", ()) if job.config is None else job.config))
    unread = () if job.config is None else cli.idle_flags(job.config)
    idle = {flag.lstrip("-").replace("-", "_") for flag in unread}
    kept = {k: v for k, v in flat.items() if v not in NOTHING and not neutral(k)}
    kept = {k: v for k, v in kept.items() if k.rstrip("_") not in idle}
    told = json.dumps([type(job.config).__name__, kept], sort_keys=True)
    for place in places:
        told = told.replace(f'"{place}/', '"')
    return told


def neutral(name: str) -> bool:
    """Whether a flag changes no result: `checkpoint.every` does not, `checkpoint`, a path, does."""
    return ".checkpoint." in f".{name}" or any(f".{free}." in f".{name}." for free in NEUTRAL)


def digest(
    name: str, every: Mapping[str, PlannedJob], places: tuple[str, ...], known: dict[str, str]
) -> str:
    """Of the flags of a run and of those it waits for; `known` remembers."""
    if name not in known:
        job, after = every[name]
        told = [flags_of(job, places)]
        told += [digest(n, every, places, known) for n in sorted(after) if n in every]
        known[name] = hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
    return known[name]


def agrees(config: StudySetting, row: Mapping[str, Any] | None, asked: str) -> bool:
    """Whether a line is one of a run with these flags."""
    return row is not None and row.get(DIGEST, asked if config.undigested else "") == asked


def agreeing(
    config: StudySetting, plan: Callable[[Figures], Mapping[str, PlannedJob]], found: Figures
) -> Figures:
    """The lines that were made with the flags of the plan, which may follow from other lines."""
    known: Figures = {}
    while True:
        every = plan(known)
        marks: dict[str, str] = {}
        new = {
            name: row for name, row in found.items()
            if name in every and name not in known
            and agrees(config, row, digest(name, every, config.places, marks))
        }  # fmt: skip
        if not new:
            return known
        known |= new
