"""PRIME's reward tower: its settings, and the loss by which outcomes teach it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from r1jax.errors import check_ranges
from r1jax.losses.reduce import masked, sequence_mean
from r1jax.losses.segments import segment_sum
from r1jax.types import Batch, Loss, Mean, Metrics, Stats


@dataclass(frozen=True)
class PrimeConfig:
    """A second model φ that rewards every token and learns from outcomes alone (PRIME).

    What a token earns is q = log φ − log π_ref, the reference being the policy's start.
    """

    weight: float = 0.0
    """Weight of its advantage beside the outcome's (RLOO of each token, and the sum of those to
    come); 0: there is no such model. Needs --reward.accuracy, the outcome."""
    parent: str = ""
    """Directory of a run's checkpoints whose weights φ begins with; empty: the policy's own, under
    which nothing is earned before the first outcomes."""
    beta: float = 0.05
    """Times the sum of q over a completion: the log-odds of its being right."""
    lr: float = 1e-6
    """Its learning rate; the rest of its optimizer is as --optimizer says, without weight decay."""
    clip: float = 10.0
    """Largest norm of its gradient."""
    parts: int = 1
    """Equal parts its completions of each rollout are split into, a step on each."""
    update: Literal["after", "before"] = "after"
    """When it learns: from each part after that was rewarded, or from all before, and is then asked
    what it makes of them now."""
    norm: Literal["batch", "none"] = "batch"
    """batch: what tokens earn is divided by the largest sum of any of them and those to come."""
    times_beta: bool = False
    """What a token earns is beta q (verl), and not q (PRIME): without norm another number."""
    last_token: bool = True
    """Whether the last token earns anything (PRIME; in verl it does not)."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(
            self, "--prime.", weight="[0,]", beta="(0,]", lr="(0,]", clip="(0,]", parts="[1,]"
        )

    @property
    def on(self) -> bool:
        """Whether there is a reward tower."""
        return self.weight > 0


@functools.lru_cache(maxsize=16)
def implicit_loss(beta: float) -> Loss:
    """Cross-entropy of σ(β Σ q) and the outcome, a sequence weighing as any other (PRIME).

    Its gradient by log φ is β (σ − outcome) at each token of a completion, over their number. Reads
    the columns `ref_logp` and `outcome`, of which all tokens of a completion have the same.
    """

    def loss(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
        log_odds = beta * segment_sum(masked(stats.logp - batch.ref_logp, batch), batch)
        right = masked(batch.column("outcome"), batch)
        entropy = jax.nn.softplus(log_odds) - right * log_odds
        told = ((log_odds > 0) == (right > 0.5)).astype(entropy.dtype)
        sequences = jnp.sum(batch.lengths > 0)
        count = sequence_mean(told, batch) * batch.n_sequences
        return sequence_mean(entropy, batch), {"prime/accuracy": Mean(count, sequences)}

    return loss
