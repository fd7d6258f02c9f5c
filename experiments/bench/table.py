"""What a bench leaves: a Markdown table headed by what it ran on, and the same as JSON."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from r1jax.report.markdown import markdown_table
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
    """The rows as a table."""
    plain = [{k: v for k, v in row.items() if not isinstance(v, list | dict)} for row in rows]
    names = list(dict.fromkeys(name for row in plain for name in row))
    return markdown_table(names, [[row.get(name) for name in names] for row in plain])


def peak_gb() -> float | None:
    """Most GB a local device has held since the process began; None where it does not say."""
    peak = memory.measured()
    return None if peak is None else peak / 1e9
