"""Worked solutions with judged steps as tokens: what a process reward model learns from."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from r1jax.data.examples.conversations import Chat, wrapped
from r1jax.data.examples.encoding import CHUNK, Encoder, Examples, hold_out, key_of, left_out
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.data.examples.steps import SEPARATORS, Cut, read_solutions
from r1jax.data.packing import Sequences
from r1jax.data.padding import padded
from r1jax.errors import UserError
from r1jax.problem import Completion
from r1jax.rewards.tokens import tokens_to, with_offsets


@dataclass(frozen=True)
class JudgedSteps:
    """N solutions as tokens, of which the last of every judged step is marked as learnt."""

    examples: Examples
    labels: np.ndarray  # f32[all tokens], at the marked ones
    chat: bool  # whether they are chats, in the tokenizer's own template

    @property
    def lengths(self) -> np.ndarray:
        """i64[N], tokens from each solution's first marked one on."""
        return self.examples.lengths

    @property
    def keys(self) -> np.ndarray:
        """i64[N], equal for solutions of the same prompt."""
        return self.examples.keys

    @property
    def digest(self) -> str:
        """SHA-256 of tokens, marks and labels in their order."""
        parts = (self.labels[span].tobytes() for span in self.examples.spans())
        return hashlib.sha256(self.examples.digest.encode() + b"".join(parts)).hexdigest()

    def select(self, index: np.ndarray) -> JudgedSteps:
        """The solutions at `index`, in its order; tokens are shared."""
        return replace(self, examples=self.examples.select(index))

    def take(self, index: np.ndarray) -> Sequences:
        """The solutions at `index` with the column `label`."""
        labels = (self.labels[span] for span in self.examples.select(index).spans())
        return self.examples.take(index).with_columns(label=padded(labels, np.float32))


def hold_out_solutions(rows: JudgedSteps, count: int, seed: int) -> tuple[JudgedSteps, JudgedSteps]:
    """(the rest, at least `count` solutions); those of the same prompt go the same way."""
    held = np.isin(rows.keys, hold_out(rows.examples, count, seed)[1].keys)  # bool[N]
    return rows.select(np.flatnonzero(~held)), rows.select(np.flatnonzero(held))


def load_steps(
    sources: Sequence[str],
    config: PreferenceConfig,
    cut: Cut,
    encoder: Encoder,
    width: int,
    note: Callable[[str], Any] = lambda line: None,
) -> JudgedSteps:
    """Every solution of `sources` that is judged at all, none longer than `width` tokens.

    Raises UserError as `read_solutions` does, for one that is too long where `config.too_long` says
    so, and when nothing is left.
    """
    kept: list[tuple[np.ndarray, np.ndarray, int]] = []
    labels: list[np.ndarray] = []
    for source in sources:
        before, dropped, unfit = len(kept), 0, []
        for where, row, key in _encoded(source, config, cut, encoder, unfit):
            if len(row.tokens) > width:
                _refuse_long(where, len(row.tokens), width, config)
                dropped += 1
            elif row.ends:
                marks, values = np.zeros((2, len(row.tokens)), np.float32)
                marks[row.ends], values[row.ends] = 1, row.labels
                kept.append((np.asarray(row.tokens, np.int32), marks > 0, key))
                labels.append(values)
        steps = sum(int(marks.sum()) for _, marks, _ in kept[before:])
        line = f"{source}: {len(kept) - before:,} solutions, {steps:,} judged steps"
        line += f"; {dropped:,} too long, dropped" if dropped else ""
        note(line + left_out(unfit))
    if not kept:
        raise UserError(f"{', '.join(sources)}: no judged solution is left; --train.width {width}")
    chat = isinstance(wrapped("?", "", config.template, config.system), Chat)
    return JudgedSteps(Examples.of(kept), np.concatenate(labels), chat)


def _refuse_long(where: str, total: int, width: int, config: PreferenceConfig) -> None:
    if config.too_long == "error":
        raise UserError(
            f"{where}: the solution has {total} tokens with the prompt; --train.width {width} "
            f"holds no more; use at least {total}, or --data.too-long drop"
        )


@dataclass(frozen=True)
class EncodedSteps:
    """A solution's tokens, and where the judged steps end among them."""

    tokens: list[int]
    ends: list[int]
    labels: list[float]


def _encoded(
    source: str, config: PreferenceConfig, cut: Cut, encoder: Encoder, unfit: list[str]
) -> Iterator[tuple[str, EncodedSteps, int]]:
    reader = read_solutions(source, config.prompt_column, unfit)
    while chunk := list(itertools.islice(reader, CHUNK)):
        texts = [SEPARATORS[cut].join(solution.steps) for _, solution in chunk]
        examples = [
            (where, wrapped(solution.prompt, text, config.template, config.system))
            for (where, solution), text in zip(chunk, texts, strict=True)
        ]
        found = encoder.encode(examples)
        for (where, example), (_, row), text, sequences in zip(
            examples, chunk, texts, found, strict=True
        ):
            ends = list(itertools.accumulate(len(s) + len(SEPARATORS[cut]) for s in row.steps))
            ends = [end - len(SEPARATORS[cut]) for end in ends[: len(row.labels)]]
            at = last_tokens(*sequences[0], text, ends, encoder, where)
            there = [i for i, end in enumerate(at) if end is not None]
            marked = [at[i] for i in there], [row.labels[i] for i in there]
            yield where, EncodedSteps(sequences[0][0], *marked), key_of(example)


def last_tokens(
    tokens: Sequence[int],
    learn: Sequence[bool],
    text: str,
    ends: Sequence[int],
    encoder: Encoder,
    where: str,
) -> list[int | None]:
    """For each place `ends` of a response's text the token that completes it.

    Of a step that stands in the prompt already (an opened <think>) it is None. Raises UserError
    where the tokens do not spell the text.
    """
    begin, written = list(learn).index(True), len(tokens)
    while written > begin and tokens[written - 1] in encoder.ends:
        written -= 1
    content = tuple(tokens[begin:written])
    try:
        spelt = with_offsets(Completion.parse(text, content), encoder.tokenizer)
    except ValueError as error:
        raise UserError(f"{where}: the tokenizer does not give it back: {error}") from None
    first = spelt.offsets[0][0] if spelt.offsets else len(text)
    counts = tokens_to(spelt, encoder.tokenizer, ends)
    return [
        begin + count - 1 if end > first else None for count, end in zip(counts, ends, strict=True)
    ]
