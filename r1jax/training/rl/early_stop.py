"""Why a run ends before its last update: the policy has collapsed, or gains nothing more.

Both are told from numbers that every process has and that checkpoints hold, so that a run that was
resumed ends where it would have ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WINDOW = 5
"""Rollouts over which signs are averaged; nothing has collapsed before twice as many."""
POINT = 0.01

SIGNS = {
    "entropy": "policy/entropy",
    "length": "completion/length_mean",
    "truncated": "completion/truncated_frac",
    "format": "reward/format",
}
"""Signs of a collapse, by the metric that shows them."""

Signs = dict[str, float]


def noted(history: Sequence[Signs], metrics: Mapping[str, float]) -> list[Signs]:
    """The history with the signs of one more rollout; of a long one the first and last `WINDOW`."""
    row = {s: metrics[m] for s, m in SIGNS.items() if math.isfinite(metrics.get(m, math.nan))}
    rows = [*history, row]
    formats = _mean(rows[-WINDOW:], "format")
    if formats is not None:
        row["best format"] = max(formats, rows[-2].get("best format", 0.0) if rows[1:] else 0.0)
    return rows[:WINDOW] + rows[WINDOW:][-WINDOW:]


def collapse(history: Sequence[Signs]) -> str | None:
    """What has collapsed, with the numbers that say so; None where nothing has.

    The last `WINDOW` rollouts are compared with the first: entropy below a fiftieth or above four
    times and 2 nats; lengths below a tenth; more than nine in ten cut where at first fewer than
    half were. Rewarded formats are compared with the best `WINDOW`: below half of that.
    """
    if len(history) < 2 * WINDOW:
        return None
    early, late = history[:WINDOW], history[-WINDOW:]
    at = lambda sign: (_mean(early, sign), _mean(late, sign))  # noqa: E731
    was, now = at("entropy")
    if was and now is not None and (now < was / 50 or now > max(4 * was, 2.0)):
        return f"entropy {was:.3g} -> {now:.3g} nats per token"
    was, now = at("length")
    if was and now is not None and now < was / 10:
        return f"length {was:.0f} -> {now:.0f} tokens"
    was, now = at("truncated")
    if was is not None and now is not None and was < 0.5 and now > 0.9:
        return f"length: {was:.0%} -> {now:.0%} of completions cut by --rollout.max-tokens"
    best, now = late[-1].get("best format", 0.0), _mean(late, "format")
    if best > 0.2 and now is not None and now < best / 2:
        return f"format {best:.2f} at its best -> {now:.2f}"
    return None


def plateaued(scores: Sequence[float], evaluations: int) -> bool:
    """Whether the best of the last `evaluations` is less than a point above all before; 0: never.

    `scores` are held-out pass@1, that of the start first.
    """
    if not evaluations or len(scores) <= evaluations:
        return False
    return max(scores[-evaluations:]) < max(scores[:-evaluations]) + POINT


def _mean(rows: Sequence[Signs], sign: str) -> float | None:
    found = [row[sign] for row in rows if sign in row]
    return sum(found) / len(found) if found else None
