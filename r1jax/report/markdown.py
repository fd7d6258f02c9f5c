"""Markdown: the one table that every page and bench writes, and the sheet beside kept samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.run.directory import write_json, write_text
from r1jax.run.names import DATASHEET

_NUMBER = re.compile(r"[-+−]?(\d[\d,]*)?(\.\d+)?(e[-+]?\d+)?( ?%)?|–")


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose columns of numbers stand right; no line feed at its end.

    Strings are written as they are, so that they may hold Markdown, but for `|` and line feeds;
    everything else is written by `readable`.
    """
    written = [[_cell(value) for value in row] for row in rows]
    columns = [[row[i] for row in written] for i in range(len(heads))]
    right = [any(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]
    marks = ["---:" if number else "---" for number in right]
    lines = [[_cell(head) for head in heads], marks, *written]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def readable(value: Any) -> str:
    """Whole numbers in thousands, others with three digits that count; None is empty."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write_datasheet(path: Path, sheet: Mapping[str, Any]) -> None:
    """Leaves a sheet of data.curation as datasheet.json and datasheet.md in `path`."""
    write_json(path / "datasheet.json", sheet)
    write_text(path / DATASHEET, datasheet_page(sheet))


def datasheet_page(sheet: Mapping[str, Any]) -> str:
    """The sheet for a reader."""
    kept, samples = sheet["kept"], sheet["samples"]
    share = f" ({kept / samples:.1%})" if samples else ""
    parts = [
        f"# {sheet['title']}",
        f"{kept:,} of {samples:,} samples kept{share}, of {sheet['prompts_kept']:,} of "
        f"{sheet['prompts']:,} prompts. `kept.jsonl` has SHA-256 `{sheet['sha256']}`.",
    ]
    for key, title, *heads in (
        ("origin", "Where they come from", "", ""),
        ("dropped_by_reason", "Left out", "reason", "samples"),
        ("pass_rates", "Prompts by pass rate", "pass rate", "prompts"),
        ("tokens", "Tokens of a kept sample", "", ""),
        ("words", "Words of its thought", "", ""),
        ("languages", "Languages of the kept thoughts", "", "samples"),
    ):
        if sheet[key]:
            parts += [f"## {title}", markdown_table(heads, sheet[key].items())]
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", readable(value)).replace("\n", " ")
