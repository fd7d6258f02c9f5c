"""Drops training problems that evaluation problems repeat, by common 10-grams.

    r1jax decontaminate --train FILE --eval FILE [FILE ...] --out CLEAN.jsonl

Writes the training rows that overlap no evaluation row, unchanged, and beside them a report
(CLEAN.report.json: which training row matches which evaluation row, and by what share). A row is
dropped where it holds at least half of an evaluation question's 10-grams of lower-cased words;
`--share 0` drops it at one common 10-gram, as DeepSeek-R1 did (paper, supplement). Seconds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r1jax.commands import Command
from r1jax.data.curation.decontaminate import Match, overlaps
from r1jax.data.problems.layouts import Columns
from r1jax.data.rows import open_rows
from r1jax.errors import UserError

RULE = (
    "words are runs of a-z and 0-9 of the lower-cased question; share = common n-grams / n-grams "
    "of the evaluation question (sets)"
)


@dataclass(frozen=True)
class Config:
    """What is compared and where the rest goes."""

    train: str = ""
    """Training problems: FILE.jsonl, FILE.parquet or hf:OWNER/NAME?split=train."""
    eval: tuple[str, ...] = ()
    """Evaluation problems, any number of such files."""
    out: str = ""
    """JSONL of the training rows that remain."""
    n: int = 10
    """Words of an n-gram."""
    share: float = 0.5
    """Smallest share of an evaluation question's n-grams that drops a row; 0: a single one."""
    column: str | None = None
    """Column of the question; None takes the first of question, problem, prompt."""


def main(config: Config) -> None:
    """Compares, writes the clean file and the report, prints a summary."""
    if not (config.train and config.eval and config.out):
        raise UserError("--train, --eval and --out: name a training file, evaluation files, output")
    evaluation = {
        f"{Path(path).name}#{name}": text
        for path in config.eval
        for name, text, _ in questions(path, config.column)
    }
    rows = list(questions(config.train, config.column))
    matches = overlaps(((name, text) for name, text, _ in rows), evaluation, config.n, config.share)
    dropped = {match.train for match in matches}
    kept = [row for name, _, row in rows if name not in dropped]
    out = Path(config.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in kept)
    report = out.with_suffix(".report.json")
    report.write_text(json.dumps(digest(config, len(rows), len(kept), matches), indent=2) + "\n")
    print(
        f"{config.train}: {len(rows) - len(kept)} of {len(rows)} rows overlap "
        f"{len({m.eval for m in matches})} of {len(evaluation)} evaluation rows; {len(kept)} kept "
        f"in {out}\n{report}"
    )


def questions(path: str, column: str | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(id, question, row) of every row; the id is the row's number where it has none."""
    unit, rows = open_rows(path)
    for number, row in rows:
        columns = Columns(row, f"{path}, {unit} {number}", question=column)
        asked = ("question", "problem", "prompt", "text")
        yield str(row.get("id") or f"{unit}-{number}"), columns.asked(asked)[1], dict(row)


def digest(config: Config, rows: int, kept: int, found: list[Match]) -> dict[str, Any]:
    """What the report says."""
    files = Counter(match.eval.partition("#")[0] for match in found)
    return {
        "train": config.train,
        "n": config.n,
        "share": config.share,
        "rule": RULE,
        "rows": rows,
        "kept": kept,
        "pairs_by_file": dict(files),
        "matches": [asdict(match) for match in found],
    }


COMMAND = Command(main, Config())
