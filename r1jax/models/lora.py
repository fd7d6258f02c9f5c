"""LoRA: low-rank factors beside frozen matrices, as a tree of their own (Hu et al., 2021)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from r1jax.errors import UserError, check_ranges
from r1jax.models.config import ModelConfig
from r1jax.models.kinds import targets
from r1jax.models.row import Row
from r1jax.models.table import table
from r1jax.models.tensors import save_tensors
from r1jax.types import Params

TARGETS = targets()


@dataclass(frozen=True)
class LoraConfig:
    """Which matrices get low-rank factors; rank 0 trains all weights instead."""

    rank: int = 0
    """Rank of the factors; 0: no LoRA."""
    alpha: float = 32.0
    """The factors' product is scaled by alpha / rank."""
    targets: tuple[str, ...] = TARGETS
    """Matrices of a layer, by the names of the weight table; a layer has those of its kinds."""

    def __post_init__(self) -> None:
        """Raises UserError on an unknown target or a rank below 0."""
        check_ranges(self, "--lora.", rank="[0,]", alpha="(0,]")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or not self.targets:
            raise UserError(f"--lora.targets {unknown}: choose from {', '.join(TARGETS)}")

    @property
    def on(self) -> bool:
        """Whether low-rank factors are trained at all."""
        return self.rank > 0

    @property
    def idle(self) -> dict[str, str]:
        """Fields that nothing reads, and when they would be."""
        return {} if self.on else dict.fromkeys(("alpha", "targets"), "with a rank above 0")

    @property
    def scale(self) -> float:
        """α / r."""
        return self.alpha / self.rank


@struct.dataclass
class Lora:
    """A frozen matrix with its factors: W + s·A·B. `models.layers.linear` takes it as a leaf."""

    base: jax.Array  # [in, out], or [layers, in, out] in a stack
    a: jax.Array  # [in, r]
    b: jax.Array  # [r, out]
    scale: float = struct.field(pytree_node=False)

    def apply(self, x: jax.Array) -> jax.Array:
        """x·W + s·(x·A)·B."""
        low = (x @ self.a.astype(x.dtype)) @ self.b.astype(x.dtype)
        return x @ self.base.astype(x.dtype) + self.scale * low

    def merged(self) -> jax.Array:
        """The plain matrix, fp32 sum in the base's type."""
        low = jnp.matmul(self.a.astype(jnp.float32), self.b.astype(jnp.float32))
        return (self.base.astype(jnp.float32) + self.scale * low).astype(self.base.dtype)


def rows(c: ModelConfig, config: LoraConfig) -> Params:
    """Weight table of the factors: the tree that is trained."""

    def factors(row: Row) -> dict[str, Row]:
        layers, n_in, n_out = row.shape
        stack, axis_in, axis_out = row.axes
        std = 1.0 / math.sqrt(3 * n_in)  # as PEFT's Kaiming-uniform start: U(±1/√in)
        return {
            "a": Row((layers, n_in, config.rank), (stack, axis_in, None), "A", std, stacked=True),
            "b": Row((layers, config.rank, n_out), (stack, None, axis_out), "B", 0.0, stacked=True),
        }

    return {
        "stacks": tuple(
            {name: factors(stack[name]) for name in config.targets if name in stack}
            for stack in table(c)["stacks"]
        )
    }


def attach(base: Params, factors: Params, config: LoraConfig) -> Params:
    """The base with its matrices joined to their factors: parameters any model function takes."""
    stacks = tuple(
        stack | {n: Lora(stack[n], f["a"], f["b"], config.scale) for n, f in stack_factors.items()}
        for stack, stack_factors in zip(base["stacks"], factors["stacks"], strict=True)
    )
    return {**base, "stacks": stacks}


def merge(params: Params) -> Params:
    """Every joined leaf as the plain matrix it stands for."""
    is_lora = lambda x: isinstance(x, Lora)  # noqa: E731
    return jax.tree.map(lambda x: x.merged() if is_lora(x) else x, params, is_leaf=is_lora)


def save_peft(
    directory: str | Path, factors: Params, c: ModelConfig, config: LoraConfig, base: str
) -> None:
    """Writes the factors as a PEFT adapter: adapter_config.json and adapter_model.safetensors.

    Names are those of the base's own tensors; `base` is where PEFT finds the base.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    modules: dict[str, None] = {}
    for stack, plain in zip(factors["stacks"], table(c)["stacks"], strict=True):
        for name in filter(stack.__contains__, config.targets):
            for at, tensor in plain[name].names():
                module = tensor.removesuffix(".weight")
                modules[module.rpartition(".")[2]] = None
                for side, letter in (("a", "A"), ("b", "B")):
                    value = np.ascontiguousarray(np.asarray(stack[name][side][at]).T)
                    tensors[f"base_model.model.{module}.lora_{letter}.weight"] = value
    settings: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(modules),
    }
    (directory / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    save_tensors(tensors, directory / "adapter_model.safetensors")
