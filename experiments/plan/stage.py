"""An update of R1-Zero from its parts: sampling, scoring, learning; and what hours cost."""

from __future__ import annotations

from dataclasses import dataclass

from jax.sharding import Mesh

from experiments.plan import counts, work
from experiments.plan.chips import Chip
from experiments.plan.counts import NOTHING, Assumed
from r1jax.errors import check_ranges
from r1jax.models.config import ModelConfig
from r1jax.rollout.ladder import EngineConfig
from r1jax.training.batches import ComputeConfig

PACKED = 0.95
"""Share of a row that sequences fill (docs/results.md: 94.6 to 99.3 %)."""
MIXED = 0.66
"""Rate of completions of mixed lengths over that of equal ones, measured there on a list."""


@dataclass(frozen=True)
class RunConfig:
    """What a run asks for; the paper's numbers where it gives them."""

    updates: int = 10_400
    """Optimizer updates (paper, 2.1)."""
    completions: int = 512
    """Completions of an update (paper, 2.1)."""
    of_a_rollout: int = 16
    """Updates that one rollout is split into (paper, 2.1): all of it is sampled at once."""
    prompt: int = 256
    """Tokens of a prompt; assumed."""
    tokens: int = 6000
    """Tokens of a completion in the mean over the run; assumed: the paper's plot rises from
    hundreds to well over 10,000."""
    longest: int = 32_768
    """Longest completion, which a rollout waits for (paper, 2.1: before step 8,200)."""
    group: int = 16
    """Completions of a prompt, which is read once for all of them (paper, 2.1)."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        ones = ("updates", "completions", "of_a_rollout", "prompt", "tokens", "longest", "group")
        check_ranges(self, "--run.", **dict.fromkeys(ones, "[1,]"))


@dataclass(frozen=True)
class UpdateSeconds:
    """Seconds of an update by phase, over all devices; an update's share of its rollout."""

    rollout: float
    scoring: float
    learning: float
    bound: str  # what the rollout waits for: its tokens, or the longest completion

    @property
    def whole(self) -> float:
        """All phases, one after the other."""
        return self.rollout + self.scoring + self.learning


def update_of(
    c: ModelConfig,
    mesh: Mesh,
    chip: Chip,
    run: RunConfig,
    compute: ComputeConfig,
    rollout: EngineConfig,
    passes: int,
    how: Assumed = NOTHING,
) -> UpdateSeconds:
    """An update with so many `passes` that only score (the old policy's, the reference's)."""
    n = run.prompt + run.tokens
    batches = run.completions * n / (compute.rows * compute.width * PACKED)
    totals = [float(min(n, compute.width))] * max(1, round(compute.rows * compute.width / n))
    time = lambda program: work.seconds(program, mesh, chip)  # noqa: E731
    learning = batches * time(work.update(c, mesh, compute, totals, how=how)) + time(
        work.apply(c, mesh)
    )
    scoring = passes * batches * time(work.forward(c, mesh, compute, totals, how))
    completions = run.completions * run.of_a_rollout
    busy = completions * run.tokens / tokens_per_second(c, mesh, chip, run, rollout, how)
    few = float(counts.copies(mesh))
    alone = run.longest * time(work.decode(c, mesh, few, run.prompt + run.longest / 2, how))
    drawn = max(busy, alone) / run.of_a_rollout
    return UpdateSeconds(drawn, scoring, learning, "longest" if alone > busy else "tokens")


def tokens_per_second(
    c: ModelConfig,
    mesh: Mesh,
    chip: Chip,
    run: RunConfig,
    rollout: EngineConfig,
    how: Assumed = NOTHING,
) -> float:
    """Completion tokens of all devices, prefill inside the time, at mixed lengths."""
    cache = run.tokens / 2 + run.prompt / run.group
    step = work.seconds(work.decode(c, mesh, rollout.slots, cache, how), mesh, chip)
    prompts = -(-rollout.slots // run.group)
    before = work.seconds(work.prefill(c, mesh, prompts, run.prompt), mesh, chip)
    return MIXED * rollout.slots * run.tokens / (run.tokens * step + before)


def dollars(seconds: float, devices: int, price: float) -> float:
    """What so many devices cost for that long."""
    return seconds / 3600 * devices * price
