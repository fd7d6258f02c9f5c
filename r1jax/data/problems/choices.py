"""Options of multiple choice as published sets write them, and which of them an answer names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1jax.data.rows import Row, is_blank
from r1jax.errors import UserError

LETTERS = "ABCDEFGHIJ"

_NAMED = {"label", "text"}


@dataclass(frozen=True)
class Options:
    """The options of a question in their order."""

    columns: tuple[str, ...]  # that hold them
    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()  # their names, in capitals, where the data names them
    numbers: bool = False  # whether they are numbers and no text

    def named(self, answer: Any) -> int | None:
        """The place of the one option that `answer` names; None where it is none, or two.

        By its label where the data has labels, by its letter, by its place from 0 (no label being a
        number), or by its own text. A number that is one option's place and another's text names
        two, unless it is a number among options that are text.
        """
        if isinstance(answer, float) and answer.is_integer():
            answer = int(answer)  # as a column with gaps has it
        if is_blank(answer) or isinstance(answer, bool):
            return None
        text = str(answer).strip()
        marks = self.labels or tuple(LETTERS[: len(self.texts)])
        if (mark := text.strip("().").upper()) in marks:
            return marks.index(mark)
        found = {self.texts.index(text)} if self.texts.count(text) == 1 else set()
        counted = text.isdecimal() and len(text) < 3 and not any(map(str.isdecimal, self.labels))
        if counted and int(text) < len(self.texts):
            sure = isinstance(answer, int) and not self.numbers
            found = {int(text)} if sure else found | {int(text)}
        return found.pop() if len(found) == 1 else None


def read_options(row: Row, where: str) -> Options:
    """The options of a row, from `choices` or `options`, or from columns A, B, ...

    Either holds a list of texts or of {"label", "text"}, or an object of lists `text` and `label`
    (ARC), or of texts by letter. Empty ones at the end are left out. Raises UserError naming
    `where` for fewer than 2 or more than 10, for an empty one before the last, and for labels that
    do not tell them apart.
    """
    column = next((name for name in ("choices", "options") if name in row), None)
    columns = (column,) if column else tuple(letter for letter in LETTERS if letter in row)
    found = row[column] if column else {letter: row[letter] for letter in columns}
    labels, texts = _parts(found)
    while texts and is_blank(texts[-1]):
        labels, texts = labels[: len(texts) - 1], texts[:-1]
    if not 2 <= len(texts) <= len(LETTERS) or not all(map(_is_option, texts)):
        empty = [i for i, text in enumerate(texts, start=1) if is_blank(text)]
        fault = f"option {empty[0]} of {len(texts)} is empty; " if empty else ""
        raise UserError(
            f"{where}: {fault}expected 2 to {len(LETTERS)} options, a list of texts in choices"
        )
    labels = [str(label).strip().upper() for label in labels]
    if labels and len(set(labels)) != len(texts):
        raise UserError(
            f"{where}: {len(texts)} options have the labels {', '.join(labels)}; expected as many "
            "that differ"
        )
    numbers = not any(isinstance(text, str) for text in texts)
    return Options(columns, tuple(str(text).strip() for text in texts), tuple(labels), numbers)


def lettered(question: str, options: Sequence[str]) -> str:
    """The question with one line per option: A. first, B. second, ..."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *lines])


def _parts(found: Any) -> tuple[list[Any], list[Any]]:
    """(labels, texts) as they stand; no labels where there are none."""
    if isinstance(found, Mapping) and isinstance(found.get("text"), list):
        labels = found.get("label")
        return list(labels) if isinstance(labels, list) else [], found["text"]
    if isinstance(found, Mapping):
        return list(found), list(found.values())
    texts = found if isinstance(found, list) else []
    if texts and all(isinstance(item, Mapping) and item.keys() >= _NAMED for item in texts):
        return [item["label"] for item in texts], [item["text"] for item in texts]
    return [], texts


def _is_option(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_blank(value) and (number or isinstance(value, str))
