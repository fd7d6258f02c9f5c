"""Out of memory in one line: the flag that makes room, and a value that fits by the memory plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax

from r1jax.errors import UserError
from r1jax.mesh import make_mesh, row_devices, slot_devices
from r1jax.training.rl.memory import capacity, held_bytes

SPARE = 0.95
"""Share of a device that a plan may fill: allocators lose the rest to gaps."""
SAMPLING = ("rollout", "rewards", "evaluation")
_AMOUNT = re.compile(r"allocat\w*\s+(?:of\s+)?(\d[\d.,]*\s*(?:[KMGT]i?B|bytes))")

Plan = Mapping[str, int]


class OutOfMemory(UserError):
    """What ran out with the flag that makes room (`said`), and how the run goes on with it."""

    def __init__(self, said: str, then: str) -> None:
        super().__init__(f"{said}; {then}")
        self.said = said


def is_exhausted(error: BaseException) -> bool:
    """Whether a device has run out of memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def said(error: BaseException, config: Any, phase: str, planned: Plan | None) -> str:
    """What ran out, in which phase of the run of `config`, and the flag that makes room."""
    amount = _AMOUNT.search(str(error))
    asked = f", asked for {amount[1]}" if amount else ""
    remedy = make_room(config, phase, planned or {}, capacity())
    return f"out of memory in the {phase or 'loading of weights'}{asked}: {remedy}"


def make_room(config: Any, phase: str, planned: Plan, limit: int) -> str:
    """The flag and value that fit into `limit` bytes a device; halves where there is no plan.

    What ran out although the plan has room for it is halved at least.
    """
    held = held_bytes(planned)
    room = SPARE * limit - held
    sampling = phase in SAMPLING and hasattr(config, "rollout")
    room -= planned.get("rollout weights" if sampling else "gradients", 0)
    if not phase or (planned and room <= 0):
        return _other_optimizer(config, planned)
    mesh = make_mesh(config.mesh)
    unit = slot_devices(mesh) if sampling else row_devices(mesh)
    if sampling:
        taken = planned.get("cache", 0) + planned.get("rollout logits", 0)
        slots = _fits(config.rollout.slots, room, taken, unit)
        fewer = max(config.rollout.max_tokens // 2, 1)
        return f"--rollout.slots {slots}" if slots else f"--rollout.max-tokens {fewer}"
    rows = _fits(config.train.rows, room, planned.get("update", 0), unit)
    if rows:
        return f"--train.rows {rows}"
    if config.train.remat != "full":
        return "--train.remat full"
    if config.train.chunk > 16:
        return f"--train.chunk {config.train.chunk // 2}"
    return _other_optimizer(config, planned)


def _fits(now: int, room: float, taken: int, unit: int) -> int:
    """How many of `now` fit into `room` where all take `taken` bytes of a device: at most half.

    A multiple of `unit`; 0 where there is nothing to halve.
    """
    fit = int(room * now / taken) if taken else now
    return min(fit, now // 2) // unit * unit


def _other_optimizer(config: Any, planned: Plan) -> str:
    kept = sum(planned.get(name, 0) for name in ("weights", "optimizer", "gradients", "reference"))
    alone = f"weights and what belongs to them take {kept / 2**30:.1f} GiB: " if kept else ""
    adafactor = getattr(getattr(config, "optimizer", None), "kind", "adafactor") == "adafactor"
    saved = planned.get("optimizer", 0) / 2**30
    less = f" (less by up to {saved:.1f} GiB)" if saved else ""
    first = "" if adafactor else f"--optimizer.kind adafactor{less}, "
    return f"{alone}{first}--lora.rank 16, or more devices (--mesh.fsdp)"
