"""What summary.json says of a run, put together from what its evaluations have left on disk."""

from __future__ import annotations

from typing import Any

from r1jax.evaluate.measures import paired_gain
from r1jax.run.directory import Record, RunDirectory


def digest(directory: RunDirectory, updates: int, start: int = 0) -> dict[str, Any]:
    """The first held-out set after the updates `start` and `updates`, then the others by name.

    Where a set knows its problems one by one, the gain is their paired difference. What was not
    judged before has an empty record there, and no gain. Without a set
    both sides are empty, as they are in every process but the first, which alone has the files.
    """
    records = directory.evaluations() if directory.write else []
    before, after = ({e["set"]: e for e in records if e["update"] == at} for at in (start, updates))
    sets = {name: _sides(before.get(name, {}), after[name]) for name in after}
    first = sets.pop(next(iter(sets))) if sets else _sides({}, {})
    return {**first, "sets": sets, "updates": updates}


def _sides(before: Record, after: Record) -> dict[str, Any]:
    sides: dict[str, Any] = {"before": short(before), "after": short(after)}
    if "per_problem" in before and "per_problem" in after:
        gain = paired_gain(before, after)
        sides["gain"] = {"pass_at_1": gain["gain"], "ci": gain["ci"]}
    return sides


def short(record: Record) -> dict[str, Any]:
    """A record without its problems."""
    return {k: v for k, v in record.items() if k != "per_problem"}


def gained(summary: Record) -> str:
    """The result of a run whose answers were judged; empty where it has none."""
    if not summary["after"]:
        return ""
    before, after = summary["before"], summary["after"]
    if not before:
        return f"held-out pass@1 {after['pass_at_1']:.3f}"
    gain = summary["gain"]
    low, high = gain["ci"]
    return (
        f"held-out pass@1 {before['pass_at_1']:.3f} -> {after['pass_at_1']:.3f} "
        f"(gain {gain['pass_at_1']:+.3f}, 95 % {low:+.3f} to {high:+.3f})"
    )


def transcripts(directory: RunDirectory, updates: int, start: int = 0) -> list[dict[str, Any]]:
    """Samples of the same problems after the updates `start` and `updates`, side by side.

    Those before are missing where nothing was judged before, or rows of them are lost.
    """
    rows = directory.transcripts() if directory.write else []
    before, after = ([row for row in rows if row["update"] == at] for at in (start, updates))
    asked, said = ("question", "answer", "family", "language"), ("text", "correct")
    told = [
        {name: new[name] for name in asked} | {"after": {name: new[name] for name in said}}
        for new in after
    ]
    for item, old in zip(told, before, strict=False) if len(before) == len(told) else ():
        item["before"] = {name: old[name] for name in said}
    return told
