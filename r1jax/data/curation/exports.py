"""Samples out in the layouts of published reasoning sets; `data.examples` reads them again.

Layouts after bespokelabs/Bespoke-Stratos-17k, open-r1/Mixture-of-Thoughts and ShareGPT.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from r1jax.data.curation.filters import Text
from r1jax.data.curation.streams import write_parquet
from r1jax.data.rows import Row, open_rows
from r1jax.errors import UserError

ExportLayout = Literal["sharegpt", "stratos", "mixture"]

STRATOS_SYSTEM = (
    "Think a question through at length before you answer it: look at it from several sides, check "
    "your steps and correct them where they are wrong. Put the thought between "
    "<|begin_of_thought|> and <|end_of_thought|>, its steps separated by empty lines, and after it "
    "a clear and complete solution between <|begin_of_solution|> and <|end_of_solution|>."
)
"""A system message for the Stratos layout, in our own words."""


def sharegpt(question: str, text: str, row: Row) -> Row:
    """`conversations` of from (human, gpt) and value."""
    del row
    return {"conversations": _turns("human", question, "gpt", text)}


def stratos(question: str, text: str, row: Row) -> Row:
    """Bespoke-Stratos: `system`, and `conversations` with thought and solution in its four marks.

    Raises UserError for a text without thought or summary.
    """
    answer = Text.of(question, text)
    if not answer.thought or not answer.summary:
        raise UserError(
            f"sample {row.get('id', question[:60])!r}: has no thought or no summary, which the "
            "layout stratos needs; filter with --filters.complete"
        )
    marked = (
        f"<|begin_of_thought|>\n\n{answer.thought}\n\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n\n{answer.summary}\n\n<|end_of_solution|>"
    )
    return {
        "system": STRATOS_SYSTEM,
        "conversations": _turns("user", question, "assistant", marked),
    }


def mixture(question: str, text: str, row: Row) -> Row:
    """Mixture-of-Thoughts: `messages`, `num_tokens` and `source`."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return {
        "messages": messages,
        "num_tokens": int(row.get("tokens") or 0),
        "source": str(row.get("origin") or "r1jax"),
    }


EXPORTS: dict[str, Callable[[str, str, Row], Row]] = {
    write.__name__: write for write in (sharegpt, stratos, mixture)
}
"""Layouts by name: (question, text, the row they are from) -> a row."""


def export(source: str | Path, target: str | Path, layout: str) -> int:
    """Writes the kept samples of `source` (kept.jsonl) in a layout; returns how many.

    `target` ends in .jsonl or .parquet. Raises UserError for an unknown layout or ending and for a
    row that holds no sample.
    """
    target = Path(target)
    if layout not in EXPORTS:
        raise UserError(f"layout {layout!r} does not exist; choose from {', '.join(EXPORTS)}")
    if target.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{target}: expected a name that ends in .jsonl or .parquet")
    make = EXPORTS[layout]
    target.parent.mkdir(parents=True, exist_ok=True)
    written = target.with_name(target.name + ".tmp")
    count = _write(written, (make(*sample) for sample in read_samples(source)))
    if target.suffix == ".jsonl":
        written.replace(target)
    else:
        write_parquet(written, target)
        written.unlink()
    return count


def read_samples(source: str | Path) -> Iterator[tuple[str, str, Row]]:
    """(question, text, row) of every row of a kept.jsonl. UserError naming a row that has none.

    A text without its first tag (it stands in the prompt where a template opens it) gets it back.
    """
    unit, rows = open_rows(str(source))
    for number, row in rows:
        text = row["messages"][-1]["content"] if row.get("messages") else row.get("completion")
        question = row.get("question")
        if not isinstance(text, str) or not isinstance(question, str):
            raise UserError(
                f"{source}, {unit} {number}: expected question and completion or messages, as "
                "r1jax rejection leaves them"
            )
        prompt = str(row.get("prompt") or "").rstrip()
        if prompt.endswith("<think>") and "<think>" not in text:
            text = f"<think>{text}"
        yield question, text.strip(), row


def _turns(asks: str, question: str, answers: str, text: str) -> list[Mapping[str, str]]:
    return [{"from": asks, "value": question}, {"from": answers, "value": text}]


def _write(path: Path, rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
