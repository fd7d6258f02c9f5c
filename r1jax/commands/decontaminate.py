"""Drops training problems that evaluation problems repeat, by common 10-grams.

    r1jax decontaminate --train FILE --eval FILE [FILE ...] --out CLEAN.jsonl

Writes the training rows that overlap no evaluation row, unchanged, and beside them a report
(CLEAN.report.json: which training row matches which evaluation row, and by what share). A row is
dropped where it holds at least half of an evaluation question's 10-grams of lower-cased words;
`--share 0` drops it at one common 10-gram, as DeepSeek-R1 did (paper, supplement). Seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r1jax.commands import Command
from r1jax.data.curation.decontaminate import RULE, Match, overlaps
from r1jax.data.problems.layouts import Columns
from r1jax.data.rows import open_rows, refuse_overwrite
from r1jax.errors import UserError, check_ranges
from r1jax.run.directory import write_json, write_jsonl


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

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--", n="[1,]", share="[0,1]")


def main(config: Config) -> None:
    """Compares, writes the clean file and the report, prints a summary."""
    if not (config.train and config.eval and config.out):
        raise UserError("--train, --eval and --out: name a training file, evaluation files, output")
    out = Path(config.out)
    if out.suffix != ".jsonl" or out.is_dir():
        raise UserError(f"--out {out}: expected the name of a file that ends in .jsonl")
    report = out.with_suffix(".report.json")
    for path in (out, report):
        refuse_overwrite("--out", path, [config.train, *config.eval])
    rows = list(questions(config.train, config.column))
    evaluation = {
        f"{short}#{name}": text
        for path, short in zip(config.eval, short_names(config.eval), strict=True)
        for name, text, _ in questions(path, config.column)
    }
    matches = overlaps(((name, text) for name, text, _ in rows), evaluation, config.n, config.share)
    dropped = {match.train for match in matches}
    kept = [row for name, _, row in rows if name not in dropped]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(report, digest(config, len(rows), len(kept), matches))
        write_jsonl(out, kept)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None
    print(
        f"{config.train}: {len(rows) - len(kept)} of {len(rows)} rows overlap "
        f"{len({m.eval for m in matches})} of {len(evaluation)} evaluation rows; {len(kept)} kept "
        f"in {out}\n{report}"
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """The files' names without their folders; whole paths where two files have the same name."""
    names = Counter(Path(path).name for path in {*paths})
    return [Path(path).name if names[Path(path).name] == 1 else path for path in paths]


def questions(path: str, column: str | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(id, question, row) of every row; its number where it has no id of its own."""
    unit, rows = open_rows(path)
    seen: set[str] = set()
    number = 0
    for number, row in rows:
        columns = Columns(row, f"{path}, {unit} {number}", question=column)
        asked = ("question", "problem", "prompt", "text")
        name = str(row.get("id") or f"{unit}-{number}")
        name = f"{name} ({unit}-{number})" if name in seen else name
        seen.add(name)
        yield name, columns.asked(asked)[1], dict(row)
    if not number:
        raise UserError(f"{path}: is empty; expected one problem per {unit}")


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
