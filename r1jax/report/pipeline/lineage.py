"""Who descends from whom, and who learnt from what: the lineage as a picture and a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from r1jax.report.html import line, table

Record = Mapping[str, Any]

BASE = "base"  # the model a pipeline starts from; a student's is base:<student>
SHORT = 8  # digits of a hash that are shown
ROW = 30
"""Height of a stage in the picture, in its own units."""


def lineage(entries: Mapping[str, Record], stages: Sequence[str]) -> str:
    """Picture and table of lineage.json, in the order of `stages`, each base where it is needed.

    Empty where there are no entries.
    """
    places = {name: float(i) for i, name in enumerate(stages)}
    places |= {
        name: places.get(name.replace(f"{BASE}:", "student-"), 0.0) - 0.5
        for name in entries
        if name.partition(":")[0] == BASE
    }
    ordered = {n: entries[n] for n in sorted(entries, key=lambda n: places.get(n, len(places)))}
    if not ordered:
        return ""
    return (
        "<p>Solid lines lead from a checkpoint to the stage that started from its weights, dashed "
        "ones from data, samplers and reward models to the stage that used them. Hashes are the "
        f"first {SHORT} digits of a SHA-256 of all weights, or of a file.</p>"
        f"{picture(ordered)}{details(ordered)}"
    )


def details(entries: Mapping[str, Record]) -> str:
    """A line for every entry: weights, parent, what it worked with, files read and written."""
    made = makers(entries)

    def files(found: Mapping[str, str], says: Mapping[str, str]) -> str:
        return "<br>".join(
            f"{escape(name.rpartition('/')[2])} {_hash(digest)}"
            + (f" of {escape(says[digest])}" if digest in says else "")
            for name, digest in found.items()
        )

    lines = []
    for name, entry in entries.items():
        parent = entry.get("parent")
        used = [other for other in entry.get("used", {}) if other != parent]
        cells = [
            _hash(entry.get("weights")),
            escape(parent or "–"),
            escape(", ".join(used) or "–"),
            files(entry.get("data", {}), made) or "–",
            files(entry.get("made", {}), {}) or "–",
        ]
        lines.append(line(name, cells))
    heads = ["", "weights", "starts from", "works with", "learns from", "leaves"]
    return table(heads, lines, prose=True)


def _hash(digest: str | None) -> str:
    return f'<span class="hash">{escape(digest[:SHORT])}</span>' if digest else "–"


def makers(entries: Mapping[str, Record]) -> dict[str, str]:
    """Digest of a file -> the stage that made it."""
    return {
        digest: name for name, entry in entries.items() for digest in entry.get("made", {}).values()
    }


def sources(entries: Mapping[str, Record], name: str) -> set[str]:
    """Stages whose data or checkpoint `name` worked with; its parent, which it starts from, apart.

    Files that no stage made have none.
    """
    entry, made = entries.get(name, {}), makers(entries)
    found = {made[digest] for digest in entry.get("data", {}).values() if digest in made}
    return (found | set(entry.get("used", {}))) - {entry.get("parent")}


def picture(entries: Mapping[str, Record]) -> str:
    """The entries from top to bottom; arcs at the left lead weights on, dashed ones all else.

    Circles are checkpoints, squares data.
    """
    places = {name: i for i, name in enumerate(entries)}
    left, right, nodes = [], [], []
    for name, place in places.items():
        if entries[name].get("parent") in places:
            left.append((places[entries[name]["parent"]], place))
        right += [(places[source], place) for source in sources(entries, name) if source in places]
    widest = [max((_reach(b - a) for a, b in arcs), default=0) for arcs in (left, right)]
    x, beside = widest[0] + 12, widest[0] + widest[1] + 40
    for name, place in places.items():
        y, weights = ROW * place + ROW // 2, entries[name].get("weights")
        mark = f'<circle cx="{x}" cy="{y}" r="5"/>'
        if not weights:
            mark = f'<rect x="{x - 4}" y="{y - 4}" width="8" height="8"/>'
        digest = f' <tspan class="hash">{escape(weights[:SHORT])}</tspan>' if weights else ""
        nodes.append(f'{mark}<text x="{beside}" y="{y + 5}">{escape(name)}{digest}</text>')
    arcs = _arcs("weights", left, x, -1) + _arcs("data", right, x, 1)
    height, width = ROW * len(places), beside + 300
    return (
        f'<svg class="lineage" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Lineage of the checkpoints">{arcs}{"".join(nodes)}</svg>'
    )


def _reach(rows: int) -> int:
    """How far an arc over so many rows swings out."""
    return min(14 + 12 * abs(rows), 120)


def _arcs(kind: str, ends: Sequence[tuple[int, int]], x: int, side: int) -> str:
    at: Callable[[int], int] = lambda place: ROW * place + ROW // 2  # noqa: E731
    paths = []
    for first, last in sorted(set(ends)):
        out = x + side * _reach(last - first)
        paths.append(
            f'<path class="{kind}" d="M{x} {at(first)} C{out} {at(first)} {out} {at(last)} '
            f'{x} {at(last)}"/>'
        )
    return "".join(paths)
