"""Rules that stretch rotary positions beyond the length a model was first trained at.

Each is what a config.json says under a `rope_type`, in the arithmetic of transformers.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

ORIGINAL = "original_max_position_embeddings"


@dataclass(frozen=True)
class Linear:
    """Every position divided by `factor`."""

    rope_type: ClassVar[str] = "linear"
    factor: float

    def stretched(self, frequency: np.ndarray, theta: float) -> np.ndarray:
        """ω / s."""
        return frequency / self.factor


@dataclass(frozen=True)
class Dynamic:
    """A base θ that grows with a sequence once it is longer than `max_position` ("NTK").

    A sequence scored whole has the base of its whole length at every position; a token that is
    decoded has that of the length so far, and keys stay in the cache as they were rotated. The two
    differ beyond `max_position`, here as in transformers.
    """

    rope_type: ClassVar[str] = "dynamic"
    factor: float

    def stretched(self, frequency: np.ndarray, theta: float) -> np.ndarray:
        """ω: up to `max_position` nothing is stretched; `layers.rope_tables` has the rest."""
        return frequency


@dataclass(frozen=True)
class Llama3:
    """Llama 3's: low frequencies divided by `factor`, high ones kept, those between mixed."""

    rope_type: ClassVar[str] = "llama3"
    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int

    def stretched(self, frequency: np.ndarray, theta: float) -> np.ndarray:
        """(1 - m)·ω / s + m·ω, m by the turns within the original length."""
        turns = self.original_max_position * frequency / (2 * math.pi)
        smooth = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        smooth = np.clip(smooth, 0.0, 1.0)
        return (1 - smooth) * frequency / self.factor + smooth * frequency


@dataclass(frozen=True)
class Yarn:
    """YaRN (Peng et al., 2023): mixed by the index of a frequency, cosines and sines scaled."""

    rope_type: ClassVar[str] = "yarn"
    factor: float
    original_max_position: int
    beta_fast: float | None = None  # None: 32
    beta_slow: float | None = None  # None: 1
    mscale: float | None = None
    mscale_all_dim: float | None = None
    attention_factor: float | None = None
    truncate: bool = True

    def stretched(self, frequency: np.ndarray, theta: float) -> np.ndarray:
        """ω / s·m + ω·(1 - m), m rising from the index of `beta_fast` turns to `beta_slow`'s."""
        width = 2 * len(frequency)
        low, high = (
            width * math.log(self.original_max_position / (turns * 2 * math.pi))
            / (2 * math.log(theta))
            for turns in (self.beta_fast or 32.0, self.beta_slow or 1.0)
        )  # fmt: skip
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        ramp = (np.arange(len(frequency)) - low) / ((high - low) or 0.001)
        mixed = np.clip(ramp, 0.0, 1.0)
        return frequency / self.factor * mixed + frequency * (1 - mixed)

    @property
    def amplitude(self) -> float:
        """By what cosines and sines are multiplied."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self.correction(self.mscale) / self.correction(self.mscale_all_dim)
        return self.correction(1.0)

    def correction(self, mscale: float) -> float:
        """0.1·mscale·ln s + 1."""
        return 0.1 * mscale * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0


RopeScaling = Linear | Dynamic | Llama3 | Yarn


def to_hf(scaling: RopeScaling | None) -> dict[str, Any]:
    """The keys of config.json's `rope_parameters` that say it."""
    if scaling is None:
        return {"rope_type": "default"}
    said = {k: v for k, v in dataclasses.asdict(scaling).items() if v is not None}
    if "original_max_position" in said:
        said[ORIGINAL] = said.pop("original_max_position")
    if said.get("truncate"):
        del said["truncate"]  # the default, which older readers do not know
    return {"rope_type": scaling.rope_type, **said}
