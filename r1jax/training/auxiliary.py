"""Losses and rules that a model brings along beside the one it is trained by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from r1jax.errors import UserError, check_ranges
from r1jax.models.config import Ahead, ModelConfig
from r1jax.types import Max, Mean, Metrics, Params

LOAD, LOAD_AHEAD = "experts/load_max", "ahead/load_max"  # as models name these metrics


@dataclass(frozen=True)
class AuxiliaryConfig:
    """What models with experts, or a module that predicts further, learn beside; 0: nothing."""

    balance: float = 0.0
    """Weight of the loss that spreads each sequence over the experts (DeepSeek-V3: 1e-4)."""
    router_step: float = 0.0
    """By how much an update moves the router's bias of experts with too much or too little to do
    (DeepSeek-V3's pre-training: 0.001)."""
    ahead: float = 0.0
    """Weight of the loss of the module that predicts one token further (DeepSeek-V3: 0.3, 0.1)."""
    ahead_alone: bool = True
    """Whether only that module learns from its loss; no: the model below as well."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(
            self, "--train.auxiliary.", balance="[0,]", router_step="[0,]", ahead="[0,]"
        )  # fmt: skip

    def applied(self, c: ModelConfig, lora: bool) -> ModelConfig:
        """The config with these weights; UserError where the model has no use for one."""
        absent = {"balance": c.experts is None, "router_step": c.experts is None,
                  "ahead": c.ahead is None}  # fmt: skip
        frozen = {"router_step": lora, "ahead": lora and self.ahead_alone}
        for name, none in absent.items():
            value = getattr(self, name)
            if value and (none or frozen.get(name)):
                what = {"ahead": "module that predicts ahead"}.get(name, "experts")
                why = f"the model has no {what}" if none else "what it moves is frozen under LoRA"
                raise UserError(f"--train.auxiliary.{name.replace('_', '-')} {value}: {why}")
        if c.experts is not None:
            c = replace(c, experts=replace(c.experts, balance=self.balance))
        if c.ahead is not None:
            c = replace(c, ahead=Ahead(self.ahead, self.ahead_alone))
        return c


def of_room(metrics: Metrics) -> Metrics:
    """Those that say how much room tokens needed at the devices of their experts."""
    return {n: m for n, m in metrics.items() if n.endswith(("/lost", "/fullest"))}


def check_room(metrics: Metrics) -> None:
    """Waits for what `of_room` says, if anything; UserError where there was too little."""
    found = jax.device_get(of_room(metrics))
    lost = sum(int(m.sum) for m in found.values() if isinstance(m, Mean))
    if not lost:
        return
    most = max(float(m.value) for m in found.values() if isinstance(m, Max))
    raise UserError(
        f"--train.room: {lost} choices of tokens found no room at the devices of their experts, "
        f"which were sent up to {most:.2f} times an even share; use --train.room "
        f"{math.ceil(10 * most + 0.5) / 10:g}, which takes more memory"
    )


def balanced(params: Params, metrics: Metrics, step: float) -> Params:
    """The parameters with each router's bias b + γ·sign(mean(load) - load) after an update.

    The load is that of the whole update; the bias never has a gradient (DeepSeek-V3, section
    2.1.2). The module ahead has a load where it learns.
    """
    if not step or LOAD not in metrics:
        return params

    def moved(layers: Params, load: jax.Array) -> Params:
        change = jnp.sign(jnp.mean(load, axis=-1, keepdims=True) - load)
        return layers | {"router_bias": layers["router_bias"] + step * change}

    first, stacks = 0, []
    for stack in params["stacks"]:
        if "router_bias" in stack:
            end = first + len(stack["router_bias"])
            stack, first = moved(stack, metrics[LOAD].counts[first:end]), end
        stacks.append(stack)
    params = {**params, "stacks": tuple(stacks)}
    if LOAD_AHEAD in metrics:
        params["ahead"] = moved(params["ahead"], metrics[LOAD_AHEAD].counts)
    return params
