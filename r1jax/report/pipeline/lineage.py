"""Who descends from whom, and who learnt from what: the lineage as a picture and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.run.directory import Record
from r1jax.run.names import BASE

SHORT = 8  # digits of a hash that are shown
ROW = 30
"""Height of a stage in the picture, in its own units."""


def lineage(entries: Mapping[str, Record], stages: Sequence[str]) -> dict[str, Any]:
    """Picture and table of lineage.json, in the order of `stages`, each base where it is needed.

    What the template `lineage.html` is filled with; empty where there are no entries.
    """
    places = {name: float(i) for i, name in enumerate(stages)}
    places |= {
        name: places.get(name.replace(f"{BASE}:", "student-"), 0.0) - 0.5
        for name in entries
        if name.partition(":")[0] == BASE
    }
    ordered = {n: entries[n] for n in sorted(entries, key=lambda n: places.get(n, len(places)))}
    return picture(ordered) | {"lines": details(ordered)} if ordered else {}


def details(entries: Mapping[str, Record]) -> list[dict[str, Any]]:
    """A line for every entry: weights, parent, what it worked with, files read and written."""
    made = makers(entries)

    def files(found: Mapping[str, str], says: Mapping[str, str]) -> list[tuple[str, str, str]]:
        return [(name.rpartition("/")[2], digest[:SHORT], says.get(digest, ""))
                for name, digest in found.items()]  # fmt: skip

    return [
        {
            "name": name,
            "weights": (entry.get("weights") or "")[:SHORT],
            "parent": entry.get("parent"),
            "used": [other for other in entry.get("used", {}) if other != entry.get("parent")],
            "data": files(entry.get("data", {}), made),
            "made": files(entry.get("made", {}), {}),
        }
        for name, entry in entries.items()
    ]


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
    stages = {made[digest] for digest in entry.get("data", {}).values() if digest in made}
    return (stages | set(entry.get("used", {}))) - {entry.get("parent")}


def picture(entries: Mapping[str, Record]) -> dict[str, Any]:
    """The entries from top to bottom; arcs at the left lead weights on, dashed ones all else.

    Places are in the picture's units: `nodes` are (name, y), `arcs` (kind, y of the source, y of
    the end, x of the swing), `x` that of every node, `beside` that of the names.
    """
    at = {name: ROW * place + ROW // 2 for place, name in enumerate(entries)}
    weights, data = set(), set()
    for name, y in at.items():
        if entries[name].get("parent") in at:
            weights.add((at[entries[name]["parent"]], y))
        data |= {(at[source], y) for source in sources(entries, name) if source in at}
    widest = [max((_reach(*arc) for arc in arcs), default=0) for arcs in (weights, data)]
    x, beside = widest[0] + 12, sum(widest) + 40
    arcs = [("weights", *arc, x - _reach(*arc)) for arc in sorted(weights)]
    arcs += [("data", *arc, x + _reach(*arc)) for arc in sorted(data)]
    return {"nodes": list(at.items()), "arcs": arcs, "x": x, "beside": beside,
            "width": beside + 300, "height": ROW * len(at)}  # fmt: skip


def _reach(first: int, last: int) -> int:
    """How far an arc swings out."""
    return min(14 + 12 * abs(last - first) // ROW, 120)
