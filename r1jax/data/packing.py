"""Packs completions of unequal length into micro-batches of one fixed shape, on the host.

Sequences are placed by best-fit decreasing: the longest first, each into the row with the least
room that still holds it. A sequence never spans rows; segments lie side by side from column 0.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from r1jax.errors import UserError
from r1jax.types import ROUTES, SUPPORT, Batch


@dataclass(frozen=True)
class Sequences:
    """N prompts, each with one completion, and what is known of every completion token.

    `tokens[i]` holds the prompt, then the completion, without a gap; what follows is never read.
    Columns are aligned to the completion: [i, 0] speaks of its first token, and what lies beyond
    its last is never read. What was not measured is no column, and a loss that asks for it fails
    (`r1jax.types.MissingColumn`). Supervised pairs have no columns, and `learn` where a completion
    holds tokens that are read but not learnt (a chat's user turns): those are packed as a prompt's
    are.
    """

    tokens: np.ndarray  # i32[N, L]
    prompt_lengths: np.ndarray  # i32[N], at least 1: a first token has nothing to be predicted from
    lengths: np.ndarray  # i32[N], completion tokens, the stop token included
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    """f32[N, C] by name, C at least the longest completion; f32[N] where all tokens of a
    completion share one value. `routes` is [N, L, W], of prompts too, `support` [N, C, K]."""
    learn: np.ndarray | None = None  # bool[N, C], which completion tokens are learnt; None: all

    def __post_init__(self) -> None:
        if np.any(self.prompt_lengths < 1) or np.any(self.lengths < 0):
            raise ValueError("every prompt needs at least one token, and no length is negative")
        if np.any(self.totals > self.tokens.shape[1]):
            raise ValueError(f"lengths exceed tokens of shape {self.tokens.shape}")
        n, longest = len(self.lengths), self.lengths.max(initial=0)
        for name, values in self.columns.items():
            if name == ROUTES and values.shape[:2] == self.tokens.shape:
                continue
            fits = len(values) == n and values.ndim == 2 + (name == SUPPORT)
            if values.shape != (n,) and not (fits and values.shape[1] >= longest):
                raise ValueError(
                    f"column {name}: f32[{n}] or f32[{n}, {longest}] wanted, got {values.shape}"
                )

    @property
    def totals(self) -> np.ndarray:
        """i[N], tokens of prompt and completion together."""
        return self.prompt_lengths + self.lengths

    @property
    def learnt(self) -> np.ndarray:
        """i[N], tokens of each sequence that are learnt: those a batch's mask shows."""
        return np.bincount(_learnt_spans(self).owner, minlength=len(self.lengths))

    @property
    def support(self) -> dict[str, np.ndarray]:
        """The column `support`, if there is one: it goes with the tokens, whoever scores them."""
        return {name: values for name, values in self.columns.items() if name == SUPPORT}

    def take(self, index: np.ndarray | slice) -> Sequences:
        """The sequences at `index`, in its order: how a rollout is split into updates."""
        return Sequences(
            self.tokens[index],
            self.prompt_lengths[index],
            self.lengths[index],
            {name: values[index] for name, values in self.columns.items()},
            None if self.learn is None else self.learn[index],
        )

    def with_columns(self, **columns: np.ndarray) -> Sequences:
        """The same sequences with these columns, new or in place of what was there."""
        return replace(self, columns=self.columns | columns)


@dataclass(frozen=True)
class Denominators:
    """What the shares of one whole update are divided by, fixed before any split of it."""

    n_tokens: int
    n_sequences: int
    max_tokens: int

    @classmethod
    def of(cls, sequences: Sequences, max_tokens: int) -> Denominators:
        """Counts learnt tokens and the sequences that have any; `max_tokens` is the rollout's cap.

        Both counts are at least 1, so that an update of nothing has the loss 0.
        """
        counts = sequences.learnt.sum(), np.count_nonzero(sequences.learnt)
        return cls(*(max(int(count), 1) for count in counts), max_tokens)


def pack(
    sequences: Sequences,
    rows: int,
    width: int,
    max_segments: int,
    denominators: Denominators,
    together: int = 1,
) -> list[Batch]:
    """Micro-batches of exactly [rows, width] that hold every sequence once.

    So many sequences that follow one another are kept `together`: neighbouring segments of a row.

    The number of micro-batches is the least that the packed rows fill; rows are dealt out so that
    micro-batches hold equally many (one more or less) and about equally many tokens, and the rest
    of each is empty rows. The same input gives the same batches.

    Returns:
      Batches of numpy arrays; `lengths` is f32[rows, max_segments].

    Raises:
      UserError: a sequence, or those kept together, are longer than `width`.
    """
    layout, columns = _plan(sequences, rows, width, max_segments, together), {}
    laid = functools.partial(_laid, (layout.batches, rows, width))
    owner, offset = _spans(sequences.totals)
    cells = layout.start[owner] + offset
    if (routes := sequences.columns.get(ROUTES)) is not None:
        columns[ROUTES] = laid(routes[owner, offset], cells, routes.dtype, routes.shape[2:])
    arrays = {
        "tokens": laid(sequences.tokens[owner, offset], cells, np.int32),
        "positions": laid(offset, cells, np.int32),
        "segment_ids": laid(layout.segment[owner] + 1, cells, np.int32),
    }
    # Mask and columns are 0 but where a completion's token is learnt.
    owner, offset = spans = _learnt_spans(sequences)
    cells = _completion_cells(sequences, layout, spans)
    arrays["mask"] = laid(1.0, cells, np.float32)
    for name, values in sequences.columns.items():
        if name != ROUTES:
            kind = np.int32 if name == SUPPORT else np.float32
            of_tokens = values[owner] if values.ndim == 1 else values[owner, offset]
            columns[name] = laid(of_tokens, cells, kind, values.shape[2:])
    arrays["lengths"] = np.zeros((layout.batches, rows, max_segments), np.float32)
    at = layout.start // width * max_segments + layout.segment
    arrays["lengths"].flat[at] = sequences.learnt
    return _batches(arrays, columns, denominators)


def _laid(
    shape: tuple[int, int, int],
    values: np.ndarray | float,
    cells: np.ndarray,
    kind: Any,
    of_each: tuple[int, ...] = (),
) -> np.ndarray:
    """[batches, rows, width, *of_each] with `values` at `cells` and 0 elsewhere."""
    whole = np.zeros((*shape, *of_each), kind)
    whole.reshape(-1, *of_each)[cells] = values
    return whole


def _batches(
    arrays: dict[str, np.ndarray], columns: dict[str, np.ndarray], denominators: Denominators
) -> list[Batch]:
    """A Batch of each [rows, ...] of the arrays, all with the denominators of the update."""
    totals = {f.name: np.float32(getattr(denominators, f.name)) for f in fields(denominators)}
    return [
        Batch(
            **{name: array[k] for name, array in arrays.items()},
            columns={name: array[k] for name, array in columns.items()},
            **totals,
        )
        for k in range(len(arrays["tokens"]))
    ]


def unpack(
    values: Sequence[np.ndarray],
    sequences: Sequences,
    rows: int,
    width: int,
    max_segments: int,
    together: int = 1,
) -> np.ndarray:
    """Brings per-token values of packed batches back to their completions: the inverse of `pack`.

    Args:
      values: one [rows, width] array per micro-batch of `pack` with these very arguments, for
        example the log-probabilities of a scoring pass.

    Returns:
      f32[N, C], C the longest completion, 0 beyond each completion's end.
    """
    layout = _plan(sequences, rows, width, max_segments, together)
    result = np.zeros((len(sequences.lengths), sequences.lengths.max(initial=0)), np.float32)
    spans = _spans(sequences.lengths)
    if len(spans.owner):
        packed = np.stack([np.asarray(value) for value in values])
        assert packed.shape == (layout.batches, rows, width), f"values of {packed.shape}"
        cells = _completion_cells(sequences, layout, spans)
        result[spans.owner, spans.offset] = packed.reshape(-1)[cells]
    return result


class Packing(NamedTuple):
    """How sequences are packed into rows, and values of theirs brought back."""

    pack: Callable[..., list[Batch]]
    unpack: Callable[..., np.ndarray]


ONE_BY_ONE = Packing(pack, unpack)


def packing_efficiency(batches: Sequence[Batch]) -> float:
    """Share of the cells of all micro-batches that hold a token of some sequence."""
    filled = sum(int(np.count_nonzero(batch.segment_ids)) for batch in batches)
    return filled / max(sum(batch.segment_ids.size for batch in batches), 1)


class _Plan(NamedTuple):
    """Where each sequence lies, its first cell being counted over all batches."""

    start: np.ndarray  # i64[N], (batch * rows + row) * width + column
    segment: np.ndarray  # i64[N], 0 for the first of its row
    batches: int


class _Spans(NamedTuple):
    owner: np.ndarray  # i64[sum of counts], the sequence a token belongs to
    offset: np.ndarray  # i64[sum of counts], its place in that sequence


def _spans(counts: np.ndarray) -> _Spans:
    owner = np.repeat(np.arange(len(counts)), counts)
    return _Spans(owner, np.arange(len(owner)) - np.repeat(_starts(counts), counts))


def _learnt_spans(sequences: Sequences) -> _Spans:
    """The completion tokens that are learnt."""
    spans = _spans(sequences.lengths)
    if sequences.learn is None:
        return spans
    learnt = sequences.learn[spans.owner, spans.offset]  # bool[sum of lengths]
    return _Spans(spans.owner[learnt], spans.offset[learnt])


def _completion_cells(sequences: Sequences, layout: _Plan, spans: _Spans) -> np.ndarray:
    return layout.start[spans.owner] + sequences.prompt_lengths[spans.owner] + spans.offset


def _plan(sequences: Sequences, rows: int, width: int, max_segments: int, together: int) -> _Plan:
    totals = sequences.totals
    groups = np.arange(len(totals)).reshape(-1, together)  # i[G, together], sequences by number
    wholes = totals[groups].sum(1)  # i[G], tokens of each group
    if np.any(wholes > width):
        worst = int(np.argmax(wholes))
        prompt = sequences.prompt_lengths[groups[worst, 0]]
        raise UserError(
            f"--train.width {width}: a sequence has {wholes[worst]} tokens ({prompt} of prompt, "
            f"{wholes[worst] - prompt} of completion); use at least {wholes[worst]} or a smaller "
            "token limit"
        )
    packed = _fill_rows(wholes, width, max_segments // together)
    load = np.array([wholes[members].sum() for members in packed])  # i[packed rows], tokens
    batches = -(-len(packed) // rows)
    start, segment = np.zeros((2, len(totals)), np.int64)
    for place, row in enumerate(np.argsort(-load, kind="stable")):
        # Dealt back and forth, so that no batch gets the heavier row of every round.
        depth, turn = divmod(place, batches)
        batch = turn if depth % 2 == 0 else batches - 1 - turn
        members = groups[packed[row]].ravel()
        start[members] = (batch * rows + depth) * width + _starts(totals[members])
        segment[members] = np.arange(len(members))
    return _Plan(start, segment, batches)


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts) - counts


def _fill_rows(totals: np.ndarray, width: int, most: int) -> list[list[int]]:
    """Best-fit decreasing: what lies in each row, for as few rows as it finds."""
    packed: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free cells, row), sorted; only rows that can take more
    for index in np.argsort(-totals, kind="stable").tolist():
        need = int(totals[index])
        at = bisect_left(room, (need, -1))
        if at == len(room):
            free, row = width, len(packed)
            packed.append([])
        else:
            free, row = room.pop(at)
        packed[row].append(index)
        if free > need and len(packed[row]) < most:
            insort(room, (free - need, row))
    return packed
