"""Judged responses as tokens, and pairs packed so that both responses share a row."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from r1jax.data.examples.conversations import Chat
from r1jax.data.examples.encoding import (
    CHUNK,
    Encoder,
    Examples,
    hold_out,
    key_of,
    left_out,
)
from r1jax.data.examples.preferences import Feedback, PreferenceConfig, View, read_judged
from r1jax.data.packing import ONE_BY_ONE, Packing, Sequences, pack, unpack
from r1jax.data.padding import padded
from r1jax.errors import UserError

EACH = {"pairwise": 2, "pointwise": 1}
"""Responses of one row of the data."""


@dataclass(frozen=True)
class Preferences:
    """N judged rows. Their responses are `examples`, those of a pair side by side, chosen first."""

    examples: Examples
    kind: Feedback
    labels: np.ndarray  # f32[N], of single responses: 1 safe, 0 unsafe
    chat: bool  # whether they are chats, in the tokenizer's own template
    ref_logp: np.ndarray | None = None  # f32[tokens of `examples`], the reference's

    @property
    def lengths(self) -> np.ndarray:
        """i64[N], learnt tokens of each row: the responses with their stop tokens."""
        return self.examples.lengths.reshape(-1, EACH[self.kind]).sum(1)

    @property
    def keys(self) -> np.ndarray:
        """i64[N], equal for rows of the same prompt."""
        return self.examples.keys[:: EACH[self.kind]]

    @property
    def digest(self) -> str:
        """SHA-256 of tokens and labels in their order."""
        content = self.examples.digest.encode() + self.labels.tobytes()
        return hashlib.sha256(content).hexdigest()

    def sequences(self, index: np.ndarray) -> np.ndarray:
        """Numbers of the responses of the rows at `index`."""
        each = EACH[self.kind]
        return (np.asarray(index)[:, None] * each + np.arange(each)).ravel()

    def select(self, index: np.ndarray) -> Preferences:
        """The rows at `index`, in its order; tokens are shared."""
        part = self.examples.select(self.sequences(index))
        return replace(self, examples=part, labels=self.labels[index])

    def take(self, index: np.ndarray) -> Sequences:
        """The responses of the rows at `index`, with their columns: `label` of single responses,
        `ref_logp` where the reference's is known."""
        at = self.sequences(index)
        responses = self.examples.take(at)
        if self.kind == "pointwise":
            return responses.with_columns(label=self.labels[index])
        if self.ref_logp is None:
            return responses
        ref = (self.ref_logp[span] for span in self.spans(at))
        return responses.with_columns(ref_logp=padded(ref, np.float32))

    def spans(self, sequences: np.ndarray) -> list[slice]:
        """Where the learnt tokens of some responses stand among the tokens of `examples`."""
        return self.examples.select(sequences).spans()


@dataclass(frozen=True)
class PreferencesReport:
    """What became of the rows of a source."""

    source: str
    rows: int
    kept: int
    tokens: int
    equal: int  # both responses the same, so that there is nothing to prefer
    dropped: int  # too long
    unfit: tuple[str, ...] = ()  # left out, and why

    def __str__(self) -> str:
        """One line for the terminal."""
        line = f"{self.source}: {self.rows:,} rows -> {self.kept:,} kept, {self.tokens:,} tokens"
        line += f"; {self.equal:,} with equal responses left out" if self.equal else ""
        line += f"; {self.dropped:,} too long, dropped" if self.dropped else ""
        return line + left_out(self.unfit)


def load_preferences(
    sources: Sequence[str],
    config: PreferenceConfig,
    kind: Feedback,
    view: View,
    encoder: Encoder,
    width: int,
    note: Callable[[PreferencesReport], Any] = lambda report: None,
) -> Preferences:
    """Every judged row of `sources`, in order, none wider than a row of `width` tokens.

    Raises UserError as `read_judged` does, for a row that is too long where `config.too_long` says
    so, for messages beside prompts that are text, and when nothing is left.
    """
    kept: list[_Encoded] = []
    reports: list[PreferencesReport] = []
    for source in sources:
        before, rows, equal, dropped = len(kept), 0, 0, 0
        unfit: list[str] = []
        for row in _encoded(source, config, kind, view, encoder, unfit):
            rows += 1
            if len({tuple(tokens) for tokens, _ in row.sequences}) < EACH[kind]:
                equal += 1
            elif _fits(row, config, width):
                kept.append(row)
            else:
                dropped += 1
        tokens = sum(row.total for row in kept[before:])
        counts = rows + len(unfit), len(kept) - before, tokens, equal, dropped
        reports.append(PreferencesReport(source, *counts, tuple(unfit)))
        note(reports[-1])
    if not kept:
        widen = f"; raise --train.width {width}" if any(r.dropped for r in reports) else ""
        raise UserError(f"no row is left{widen} ({'; '.join(map(str, reports))})")
    if len({row.chat for row in kept}) > 1:
        raise UserError(
            f"{', '.join(sources)}: some prompts are messages, some text; use --data.template chat"
        )
    labels = np.asarray([row.label for row in kept], np.float32)
    examples = Examples.of([(*sequence, row.key) for row in kept for sequence in row.sequences])
    return Preferences(examples, kind, labels, kept[0].chat)


def hold_out_prompts(rows: Preferences, count: int, seed: int) -> tuple[Preferences, Preferences]:
    """(the rest, at least `count` rows); those of the same prompt go the same way.

    Raises UserError when nothing would be left to learn.
    """
    firsts = rows.examples.select(slice(None, None, EACH[rows.kind]))
    held = np.isin(rows.keys, hold_out(firsts, count, seed)[1].keys)  # bool[N]
    return rows.select(np.flatnonzero(~held)), rows.select(np.flatnonzero(held))


class _Encoded(NamedTuple):
    where: str
    sequences: list[tuple[np.ndarray, np.ndarray]]  # of each response: tokens, learnt or not
    key: int
    label: float
    chat: bool

    @property
    def total(self) -> int:
        """Tokens of all responses, each with its prompt."""
        return sum(len(tokens) for tokens, _ in self.sequences)


def _encoded(
    source: str,
    config: PreferenceConfig,
    kind: Feedback,
    view: View,
    encoder: Encoder,
    unfit: list[str],
) -> Iterator[_Encoded]:
    reader = read_judged(source, config, kind, view, unfit)
    while chunk := list(itertools.islice(reader, CHUNK)):
        flat = [(where, response) for where, judged in chunk for response in judged.responses]
        encoded = iter(encoder.encode(flat))
        for where, judged in chunk:
            # Only a chat's last turn is learnt, so that each response is one sequence.
            sequences = [tuple(map(np.asarray, next(encoded)[0])) for _ in judged.responses]
            first = judged.responses[0]
            yield _Encoded(where, sequences, key_of(first), judged.label, isinstance(first, Chat))


def _fits(row: _Encoded, config: PreferenceConfig, width: int) -> bool:
    total = row.total
    if total > width and config.too_long == "error":
        what = "chosen and rejected have" if len(row.sequences) == 2 else "the response has"
        raise UserError(
            f"{row.where}: {what} {total} tokens with the prompt; --train.width {width} holds no "
            f"more; use at least {total}, or --data.too-long drop"
        )
    return total <= width


pack_pairs, unpack_pairs = (functools.partial(f, together=2) for f in (pack, unpack))
PACKINGS = {"pairwise": Packing(pack_pairs, unpack_pairs), "pointwise": ONE_BY_ONE}
"""Both responses of a pair share a row: sequences 2i and 2i + 1 are neighbouring segments."""
