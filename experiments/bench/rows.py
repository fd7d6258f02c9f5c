"""Packed rows to train on: cases by name, sequences of GSM8K-like lengths, random tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.errors import UserError
from r1jax.types import Batch

RowFilling = Literal["packed", "single"]

PROMPT = 100  # tokens of a GSM8K question and its template, about
COMPLETION = (200, 0.5, 1024)  # median, log-deviation and limit: seldom over 500 tokens
WIDE = 8192  # tokens of a row above which so many short sequences fill cuDNN's workspace
SHORT = 2048  # widest row that holds one sequence where nothing else is asked for


@dataclass(frozen=True)
class Case:
    """Rows of one micro-batch: one sequence each, or packed with many."""

    rows: int
    width: int
    layout: RowFilling

    @property
    def name(self) -> str:
        """As a table says it."""
        return f"{self.rows}x{self.width} {self.layout}"


def cases_of(names: Sequence[str], layouts: Sequence[RowFilling] = ()) -> list[Case]:
    """The cases that ROWSxWIDTH spells; a lone row comes packed and single, and so does any row
    where `layouts` says so; otherwise rows above `SHORT` tokens are packed.

    Raises UserError for another spelling and for rows too short to hold anything.
    """
    cases = []
    for name in names:
        match = re.fullmatch(r"(\d+)x(\d+)", name)
        rows, width = map(int, match.groups()) if match else (0, 0)
        if rows < 1 or width < 8:
            raise UserError(f"--cases {name}: expected ROWSxWIDTH, at least 1x8, such as 16x1024")
        fillings: tuple[RowFilling, ...] = ("packed",) if width > SHORT else ("single",)
        fillings = tuple(layouts) or (("packed", "single") if rows == 1 else fillings)
        cases += [Case(rows, width, layout) for layout in fillings]
    return cases


def draw(case: Case, vocab: int, seed: int) -> Sequences:
    """Random tokens and advantages for the case; the sampler's log-probabilities are near those of
    a policy that knows nothing.

    Packed rows get the longest beginning of a seeded list of GSM8K-like lengths that they hold
    (rows wider than `WIDE`: of lengths in proportion to them).
    """
    rng = np.random.default_rng(seed)
    if case.layout == "single":
        prompts = np.full(case.rows, min(PROMPT, case.width // 4))
        return _fill(rng, prompts, case.width - prompts, vocab)
    cells, shortest = case.rows * case.width, 2
    count = cells // shortest
    prompts = rng.normal(PROMPT, PROMPT / 4, count).clip(1, case.width // 4).astype(np.int64)
    median, deviation, limit = COMPLETION
    longer = max(1.0, case.width / WIDE)
    lengths = rng.lognormal(np.log(median * longer), deviation, count)
    lengths = lengths.clip(1, min(limit * longer, case.width // 2))
    lengths = lengths.astype(np.int64)
    fitting = int(np.searchsorted(np.cumsum(prompts + lengths), cells, side="right"))
    whole = _fill(rng, prompts[:fitting], lengths[:fitting], vocab)
    while len(batches_of(case, whole)) > 1:
        whole = whole.take(slice(len(whole.lengths) - 1))
    return whole


def _fill(
    rng: np.random.Generator, prompts: np.ndarray, lengths: np.ndarray, vocab: int
) -> Sequences:
    n, longest = len(lengths), int(lengths.max())
    tokens = rng.integers(0, vocab, (n, int((prompts + lengths).max())), dtype=np.int32)
    sampler = rng.normal(-np.log(vocab), 0.1, (n, longest)).astype(np.float32)
    advantages = rng.normal(size=n).astype(np.float32)
    columns = {"advantages": advantages, "sampler_logp": sampler}
    return Sequences(tokens, prompts, lengths, columns)


def batches_of(case: Case, sequences: Sequences) -> list[Batch]:
    """The sequences packed into micro-batches of the case, with as many segments as its fullest
    row holds."""
    totals = Denominators.of(sequences, int(sequences.lengths.max()))
    shape = (case.rows, case.width)
    fullest = max(int(b.segment_ids.max()) for b in pack(sequences, *shape, 1 << 12, totals))
    return pack(sequences, *shape, max(fullest, 2), totals)
