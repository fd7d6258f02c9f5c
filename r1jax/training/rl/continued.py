"""A run that goes on from a checkpoint of another one, optimizer and all, with other flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1jax.checkpoint import read_meta
from r1jax.errors import UserError
from r1jax.run import names
from r1jax.run.digests import find_step
from r1jax.run.directory import differences, flatten, read_json, to_json
from r1jax.training.rl.config import RLConfig

OWN = (
    "run", "overwrite", "take_over", "continue_from", "continue_step", "parent", "parent_step",
    "process", "mesh", "log", "profile", "look", "checkpoint",
)  # fmt: skip
"""Flags that say nothing of how the policy changes."""


@dataclass(frozen=True)
class SourceCheckpoint:
    """The checkpoint of another run; `changed` are the flags that are others now."""

    run: Path
    step: int
    meta: dict[str, Any]
    changed: tuple[str, ...]

    @property
    def checkpoints(self) -> Path:
        """The folder that holds it."""
        return self.run / names.SAVED

    @property
    def rollout(self) -> int:
        """The first rollout that is drawn anew: what was left of one is not learnt from."""
        return self.meta["rollout"] + (self.meta["done"] > 0)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others."""
        return {"run": str(self.run), "step": self.step}

    @property
    def name(self) -> str:
        """Its entry in lineage.json."""
        return f"{self.run}@{self.step}"

    def __str__(self) -> str:
        """A line for who starts the run."""
        changed = f"with {'; '.join(self.changed)}" if self.changed else "with the same flags"
        return f"goes on from update {self.step} of {self.run}, {changed}"


def find_source(config: RLConfig) -> SourceCheckpoint | None:
    """The checkpoint that --continue-from names; None where none is.

    Raises UserError where it is no run of reinforcement learning, or cannot go on with `config`.
    """
    flag, run = f"--continue-from {config.continue_from}", Path(config.continue_from).absolute()
    if not config.continue_from:
        return None
    if not (run / names.CONFIG).exists():
        raise UserError(f"{flag}: holds no {names.CONFIG}; name the directory of a run")
    step = find_step(run / names.SAVED, config.continue_step, config.checkpoint.unverified)
    meta = read_meta(run / names.SAVED, step)
    if "taken" not in meta or "reward_model" in meta:
        raise UserError(
            f"{flag}: is no run of reinforcement learning; --parent {run / names.SAVED} takes the "
            "weights of any policy, with a new optimizer"
        )
    before = read_json(run / names.CONFIG)
    if not isinstance(kind := flatten(before).get("optimizer.kind"), str):
        raise UserError(f"{flag}: its {names.CONFIG} holds no flags of a run; put that back")
    if kind != config.optimizer.kind:
        raise UserError(
            f"--optimizer.kind {config.optimizer.kind}: the optimizer of {run} is {kind}, whose "
            f"state goes on; use {kind}, or --parent {run / names.SAVED}, which takes the weights "
            "alone"
        )
    if config.updates <= step:
        raise UserError(
            f"--updates {config.updates}: counts from the start of {run}, which has made {step}; "
            f"take more than {step}"
        )
    changed = differences(before, to_json(config), OWN)
    return SourceCheckpoint(run, step, meta, tuple(changed))
