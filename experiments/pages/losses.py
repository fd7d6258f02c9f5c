"""Writes docs/losses.md: what each dialect of GRPO makes of one and the same small batch, and why.

Six completions of two prompts, with ratios on both sides of every bound. For each dialect: the
loss, the norm of its gradient by the log-probabilities, and that gradient at one token. Seconds on
a CPU:

    python -m experiments.pages.losses --out docs/losses.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments.pages.losses_prose import CLOSING, INTRODUCTION
from experiments.pages.losses_text import BASE, CHOICES, PROJECTS, TAUGHT, Dialect
from r1jax.advantages import (
    entropy_weight,
    rollout_advantages,
    token_marks,
    with_teacher,
    without_truncated,
)
from r1jax.commands import cli
from r1jax.losses import GRPO, grpo
from r1jax.models.divergence import divergence
from r1jax.report.markdown import markdown_table
from r1jax.types import Batch, Stats

MAX_TOKENS = 4
LENGTHS = np.array([2, 4, 3, 1, 3, 4])
GROUPS = np.array([0, 0, 0, 1, 1, 1])
REWARDS = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
STYLE = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])  # a second reward, where each is compared alone
TRUNCATED = np.array([False, True, False, False, False, True])
SPOTLIGHTS = ((4, 0), (1, 3))  # completion, token

# Per token: probability under the old policy, then policy / old, policy / reference, old / sampler.
OLD = [[0.5, 0.4], [0.6, 0.2, 0.3, 0.1], [0.2, 0.5, 0.25], [0.7], [0.3, 0.5, 0.4],
       [0.5, 0.02, 0.6, 0.3]]  # fmt: skip
RATIO = [[1.5, 1.0], [0.5, 1.1, 0.9, 4.0], [1.15, 0.9, 1.0], [0.85], [1.25, 0.7, 1.0],
         [1.0, 2.0, 0.3, 0.5]]  # fmt: skip
REFERENCE = [[1.25, 0.8], [2.0, 1.0, 0.5, 4.0], [1.0, 0.9, 1.1], [1.0], [1.5, 0.7, 1.0],
             [1.2, 0.05, 0.4, 1.0]]  # fmt: skip
SAMPLER = [[1.1, 0.9], [1.0, 2.5, 1.0, 0.8], [1.6, 1.5, 1.4], [1.0], [1.1, 1.2, 0.9],
           [0.7, 1.0, 1.0, 1.0]]  # fmt: skip


# Of a single position: what a teacher and the policy say of five tokens.
TEACHER, POLICY = (0.5, 0.25, 0.15, 0.07, 0.03), (0.2, 0.4, 0.1, 0.2, 0.1)


def padded(rows: list[list[float]]) -> np.ndarray:
    """f64[N, MAX_TOKENS], 1 beyond the end of a row."""
    return np.array([row + [1.0] * (MAX_TOKENS - len(row)) for row in rows])


def logps() -> dict[str, np.ndarray]:
    """f64[N, MAX_TOKENS] log-probabilities by policy: logp, old_logp, ref_logp, sampler_logp."""
    old, new = np.log(padded(OLD)), np.log(padded(OLD) * padded(RATIO))
    return {
        "logp": new,
        "old_logp": old,
        "ref_logp": new - np.log(padded(REFERENCE)),
        "sampler_logp": old - np.log(padded(SAMPLER)),
    }


def advantages(config: GRPO, teacher: float = 0.0, rewards: bool = True) -> np.ndarray:
    """f32[N] or f32[N, MAX_TOKENS], as a rollout with these settings would compute them.

    `teacher` is the weight of a teacher, for which the reference stands. What a token's probability
    leaves is taken to be two other tokens, alike: Σ π² is π² + (1 − π)² / 2.
    """
    old, other = (logps()[name] for name in ("old_logp", "ref_logp"))
    earned = REWARDS if rewards else np.zeros(len(REWARDS))
    terms, p = ((1.0, earned), (1.0, STYLE)), np.exp(old)
    sharp = 2 * old - np.log(p**2 + (1 - p) ** 2 / 2)
    known = config, earned, GROUPS, LENGTHS, old, other
    found = rollout_advantages(*known, terms=terms, sharp_logp=sharp)
    return with_teacher(found, LENGTHS, old, other, teacher) if teacher else found


def marks(config: GRPO, given: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of tokens that are chosen over the whole rollout, and of the bonus that adapts.

    As no model is here a token's entropy is taken to be -log π_old; the rollout before had 1 nat.
    """
    old = logps()["old_logp"]
    columns = token_marks(config, LENGTHS, given, old, -old, (0,))
    if config.entropy_target is not None:
        weight = entropy_weight(config, config.entropy_bonus, 1.0)[1]
        columns["entropy_weight"] = np.full((len(LENGTHS), MAX_TOKENS), weight)
    return columns


def batch_of(config: GRPO, given: np.ndarray) -> Batch:
    """The update as the loss sees it with these advantages, a completion per row, in float64."""
    by_policy = logps()
    kept = LENGTHS if config.truncated == "keep" else without_truncated(LENGTHS, TRUNCATED)
    counted = kept if config.truncated == "drop" else LENGTHS
    # An advantage of each completion, [N, 1], or of each token, [N, MAX_TOKENS].
    shape, by_row = by_policy["logp"].shape, given.reshape(len(kept), -1)
    return Batch(
        tokens=np.zeros(shape, np.int32),
        positions=np.zeros(shape, np.int32),
        segment_ids=np.ones(shape, np.int32),
        mask=(np.arange(MAX_TOKENS) < kept[:, None]).astype(float),
        columns=by_policy
        | {"advantages": np.broadcast_to(by_row, shape).astype(float)}
        | {name: marked.astype(float) for name, marked in marks(config, given).items()},
        lengths=kept[:, None].astype(float),
        n_tokens=float(counted.sum()),
        n_sequences=float(np.count_nonzero(counted)),
        max_tokens=float(MAX_TOKENS),
    )


def evaluate(config: GRPO, teacher: float = 0.0, rewards: bool = True) -> tuple[float, np.ndarray]:
    """The loss of the batch and its gradient by the log-probabilities, f64[N, MAX_TOKENS]."""
    logp, entropy = logps()["logp"], np.ones((len(LENGTHS), MAX_TOKENS))
    with jax.enable_x64(True):
        batch = batch_of(config, advantages(config, teacher, rewards))
        share = lambda x: grpo(config)(Stats(x, entropy), batch)[0]  # noqa: E731
        loss, slope = jax.value_and_grad(share)(logp)
    return float(loss), np.asarray(slope)


def table(rows: Iterable[Dialect]) -> list[str]:
    """The dialects as a table, then why each is what it is."""
    spots = (f"at ρ = {RATIO[i][t]:g}" for i, t in SPOTLIGHTS)
    heads = ["dialect", "loss", "gradient norm", *spots]
    lines, notes = [], []
    for row in rows:
        loss, slope = evaluate(row.config, row.teacher, row.rewards)
        numbers = (loss, float(np.linalg.norm(slope)), *(float(slope[at]) for at in SPOTLIGHTS))
        lines.append([row.name, *(f"{round(x, 4) + 0.0:.4f}" for x in numbers)])  # no minus zero
        notes.append(f"- **{row.name}**: {row.why}")
    return [markdown_table(heads, lines), "", *notes, ""]


def batch_table() -> list[str]:
    """The batch itself."""
    heads = ["prompt", "reward", "cut off", "π_old", "π / π_old", "π / π_ref", "π_old / π_sampler"]
    lines = [
        [GROUPS[i], REWARDS[i], "yes" if TRUNCATED[i] else "",
         *(" ".join(f"{x:g}" for x in rows[i]) for rows in (OLD, RATIO, REFERENCE, SAMPLER))]
        for i in range(len(LENGTHS))
    ]  # fmt: skip
    return [markdown_table(heads, lines), ""]


def divergences() -> str:
    """A policy's distance from a teacher in nats, from forward to reverse KL, as a table."""
    eye = np.eye(len(TEACHER), dtype=np.float32)
    own, other = (np.log(np.float32(p))[None, None] for p in (POLICY, TEACHER))
    lines = []
    for name, how in {
        "forward": {"kind": "forward"},
        **{f"jsd, β = {beta}": {"kind": "jsd", "beta": beta} for beta in (0.1, 0.5, 0.9)},
        "reverse": {"kind": "reverse"},
    }.items():
        found = [float(divergence(own, eye, other, eye, top_k=k, **how)[0, 0]) for k in (0, 2)]
        lines.append([name, *(f"{x:.4f}" for x in found)])
    return markdown_table(["kind", "all tokens", "top 2, others as one"], lines)


def page() -> str:
    """The whole of docs/losses.md."""
    lines = [INTRODUCTION, *batch_table()]
    lines += [
        f"`max_tokens` is {MAX_TOKENS}. *Gradient norm* is that of ∂loss/∂log π over all tokens; "
        "the last two columns are its entries for the first token of completion 5 (ratio 1.25, a "
        "right answer) and for the last of completion 2 (ratio 4, a wrong one).",
        "",
        "## The presets",
        "",
        *table(PROJECTS),
        "## One choice at a time",
        "",
        "From here on only the named fields differ from `base`: `"
        + ", ".join(f"{k}={v!r}" for k, v in BASE.items())
        + "`, everything else as in `research`.",
        "",
    ]
    for title, rows in CHOICES.items():
        lines += [f"### {title}", "", *table(rows)]
    lines += ["### A teacher, for which the reference stands", "", *table(TAUGHT)]
    closing = CLOSING.replace("DIVERGENCES", divergences())
    return "\n".join([*lines, closing]).rstrip() + "\n"


@dataclass(frozen=True)
class Config:
    """Where the page goes."""

    out: str = "docs/losses.md"
    """File to write."""


def main(config: Config) -> None:
    """Writes the page."""
    Path(config.out).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
