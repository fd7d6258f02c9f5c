"""What a bench leaves: a Markdown table headed by what it ran on, and the same as JSON."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from r1jax.run.environment import environment
from r1jax.training.rl import memory


def emit(title: str, rows: list[dict[str, Any]], out: str) -> None:
    """Prints the rows as a Markdown table; where `out` names a file, writes all as JSON to it.

    Columns are the keys of all rows in order of first appearance. A value that is a list or an
    object goes to the file alone.
    """
    where, date = environment(), datetime.date.today().isoformat()
    versions = f"jax {where['packages']['jax']}, Python {where['python']}"
    print(f"{where['device_count']} x {where['device_kind']}, {versions}, {date}: {title}\n")
    print(markdown(rows) + "\n", flush=True)
    if out:
        record = {"title": title, "date": date, "environment": where, "rows": rows}
        path = Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")


def markdown(rows: list[dict[str, Any]]) -> str:
    """A Markdown table; numbers stand right."""
    shown = [{k: v for k, v in row.items() if not isinstance(v, list | dict)} for row in rows]
    names = list(dict.fromkeys(name for row in shown for name in row))
    number = {n: all(isinstance(row.get(n), int | float | None) for row in shown) for n in names}
    lines = [names, ["--:" if number[name] else "---" for name in names]]
    lines += [[readable(row.get(name)) for name in names] for row in shown]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def readable(value: Any) -> str:
    """A cell: whole numbers in thousands, others with three digits that count; None is empty."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def peak_bytes() -> int | None:
    """Most bytes a local device has held since the process began; None where it does not say."""
    return memory.measured()
