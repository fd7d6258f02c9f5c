"""Conversations become token sequences with a mask of what is learnt.

A learnt turn is tokenised as it will be sampled: the context by itself (for a chat what the chat
template gives for the messages before it, generation prompt included), then the content verbatim,
then the stop token. No token spans the boundary. A chat template is never asked to write a learnt
turn: DeepSeek-R1's and Qwen3's would remove or add thoughts.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from r1jax.data.examples.conversations import Chat, ConversationConfig, Pair, read_conversations
from r1jax.data.examples.turns import join, undoubled, unended
from r1jax.data.packing import Sequences
from r1jax.data.padding import padded
from r1jax.data.rows import listed
from r1jax.data.templates import chat_text
from r1jax.errors import UserError

CHUNK = 512  # rows that are tokenised at a time


@dataclass(frozen=True)
class Examples:
    """N token sequences of unequal length; `tokens` and `learn` hold them end to end."""

    tokens: np.ndarray  # i32[all]
    learn: np.ndarray  # bool[all]
    starts: np.ndarray  # i64[N], where each begins
    totals: np.ndarray  # i64[N], tokens of each
    prompt_lengths: np.ndarray  # i64[N], tokens before the first that is learnt, at least 1
    keys: np.ndarray  # i64[N], equal for examples of the same prompt

    @classmethod
    def of(cls, rows: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> Examples:
        """Rows of tokens, which of them are learnt, and key, end to end."""
        tokens, learn, keys = zip(*rows, strict=True)
        totals = np.asarray([len(ids) for ids in tokens], np.int64)
        prompts = np.asarray([mask.argmax() for mask in learn], np.int64)
        starts, flat = np.cumsum(totals) - totals, np.concatenate(tokens, dtype=np.int32)
        keys = np.asarray(keys, np.int64)
        return cls(flat, np.concatenate(learn), starts, totals, prompts, keys)

    @property
    def lengths(self) -> np.ndarray:
        """i64[N], tokens from the first that is learnt on."""
        return self.totals - self.prompt_lengths

    @property
    def digest(self) -> str:
        """SHA-256 of tokens and masks in their order."""
        digest = hashlib.sha256(self.totals.astype(np.int64).tobytes())
        for span in self.spans(prompts=True):
            digest.update(self.tokens[span].tobytes())
            digest.update(self.learn[span].tobytes())
        return digest.hexdigest()

    def spans(self, prompts: bool = False) -> list[slice]:
        """Where each stands among the tokens, from its first learnt one on, or with its prompt."""
        begins = self.starts if prompts else self.starts + self.prompt_lengths
        return list(map(slice, begins.tolist(), (self.starts + self.totals).tolist()))

    def select(self, index: np.ndarray | slice) -> Examples:
        """The examples at `index`, in its order; tokens are shared."""
        names = ("starts", "totals", "prompt_lengths", "keys")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def take(self, index: np.ndarray | slice) -> Sequences:
        """The examples at `index` side by side, as `pack` wants them."""
        part = self.select(index)
        tokens = padded(self.tokens[span] for span in part.spans(prompts=True))
        learn = padded((self.learn[span] for span in part.spans()), bool)
        whole = np.count_nonzero(learn) == part.lengths.sum()
        return Sequences(tokens, part.prompt_lengths, part.lengths, learn=None if whole else learn)


@dataclass(frozen=True)
class ExamplesReport:
    """What became of the rows of a source."""

    source: str
    rows: int
    examples: int
    tokens: int
    learnt: int
    dropped: int = 0  # too long
    truncated: int = 0  # too long
    unfit: tuple[str, ...] = ()  # rows left out, and why

    def __str__(self) -> str:
        """One line for the terminal."""
        line = (
            f"{self.source}: {self.rows:,} rows -> {self.examples:,} examples, {self.tokens:,} "
            f"tokens, {self.learnt:,} learnt"
        )
        for fate in ("dropped", "truncated"):
            if count := getattr(self, fate):
                line += f"; {count:,} too long, {fate}"
        return line + left_out(self.unfit)


def left_out(unfit: Sequence[str]) -> str:
    """The end of a report's line on rows that teach nothing."""
    return f"; {len(unfit):,} rows left out: {listed(unfit)}" if unfit else ""


@dataclass
class Encoder:
    """Turns conversations into tokens for one tokenizer. `stop_ids` are the model's stop tokens."""

    tokenizer: Any
    stop_ids: Sequence[int]
    ends: set[int] = field(default_factory=set)  # the last tokens of the turns encoded so far

    @cached_property
    def turn_end(self) -> tuple[int, ...]:
        """Tokens that end an assistant's turn of a chat, up to the stop token.

        What the chat template writes after the content; where no stop token is among it, the
        tokenizer's own alone. Raises UserError where there is no chat template.
        """
        if not self.tokenizer.chat_template:
            raise UserError(
                f"--model: the tokenizer in {self.tokenizer.name_or_path} has no chat template, "
                "which chat messages need; train on prompts and completions that are text"
            )
        mark = "CONTENT"
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
        where = f"a user's and an assistant's message ({self.tokenizer.name_or_path})"
        _, found, rest = chat_text(self.tokenizer, turns, where, answer=False).rpartition(mark)
        if not found:
            raise UserError(f"--model: the chat template leaves out one of {where}")
        ids = self.tokenizer(rest, add_special_tokens=False)["input_ids"]
        special = {i for i, t in self.tokenizer.added_tokens_decoder.items() if t.special}
        ends = {*self.stop_ids, *special}
        at = next((i for i, token in enumerate(ids) if token in ends), None)
        return (self.tokenizer.eos_token_id,) if at is None else tuple(ids[: at + 1])

    def turns(self, example: Pair | Chat, where: str) -> list[tuple[str, str]]:
        """(context, content) of every learnt turn; a <think> the context opened is not doubled."""
        if isinstance(example, Pair):
            turns = [(example.prompt, unended(example.completion, self._ends_of_text()))]
        else:
            ends = self._ends_of_text(*self.turn_end)
            messages = [
                {**m, "content": unended(m["content"], ends)} if m["role"] == "assistant" else m
                for m in example.messages
            ]
            turns = [
                (chat_text(self.tokenizer, messages[:i], where), messages[i]["content"])
                for i in example.learnt
            ]
        return [(context, undoubled(context, content)) for context, content in turns]

    def _ends_of_text(self, *more: int) -> list[str]:
        """How the special tokens that end a turn are written: a text may hold its own."""
        added = self.tokenizer.added_tokens_decoder
        ends = {*self.stop_ids, self.tokenizer.eos_token_id, *more}
        return [str(added[i]) for i in ends if i in added and added[i].special]

    def encode(
        self, chunk: Sequence[tuple[str, Pair | Chat]]
    ) -> list[list[tuple[list[int], list[bool]]]]:
        """The sequences (tokens, learnt or not) of each of some conversations (place, example)."""
        kinds = itertools.groupby(chunk, key=lambda row: isinstance(row[1], Chat))
        return [sequences for chat, rows in kinds for sequences in self._encode(list(rows), chat)]

    def _encode(
        self, chunk: Sequence[tuple[str, Pair | Chat]], chat: bool
    ) -> list[list[tuple[list[int], list[bool]]]]:
        end = list(self.turn_end if chat else (self.tokenizer.eos_token_id,))
        self.ends.add(end[-1])
        turns = [self.turns(example, where) for where, example in chunk]
        flat = list(itertools.chain.from_iterable(turns))
        # A chat template writes its own BOS.
        contexts = iter(self._ids([context for context, _ in flat], special=not chat))
        contents = iter(self._ids([content for _, content in flat], special=False))
        return [
            join([(next(contexts), next(contents) + end) for _ in range(len(learnt))])
            for learnt in turns
        ]

    def _ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        batch = self.tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        return [ids[1:] if bos is not None and ids[:2] == [bos, bos] else ids for ids in batch]


def load_examples(
    sources: Sequence[str],
    config: ConversationConfig,
    encoder: Encoder,
    width: int,
    note: Callable[[ExamplesReport], Any] = lambda report: None,
) -> Examples:
    """Every example of `sources`, in order, none longer than `width` tokens.

    Raises UserError naming the row: as `read_conversations` does, and for one that is too long
    where `config.too_long` says so; and when nothing is left.
    """
    kept: list[tuple[np.ndarray, np.ndarray, int]] = []  # tokens, learnt or not, key
    reports: list[ExamplesReport] = []
    for source in sources:
        rows, fates, before = 0, Counter(), len(kept)
        unfit: list[str] = []
        for where, example, sequences in _encoded(source, config, encoder, unfit):
            rows += 1
            for tokens, learn in sequences:
                fate = _fate(tokens, learn, where, config, width)
                fates[fate] += 1
                if fate != "dropped":
                    arrays = np.asarray(tokens[:width], np.int32), np.asarray(learn[:width], bool)
                    kept.append((*arrays, key_of(example)))
        new = kept[before:]
        counts = len(new), sum(len(t) for t, _, _ in new), sum(int(m.sum()) for _, m, _ in new)
        too_long = fates["dropped"], fates["truncated"]
        reports.append(ExamplesReport(source, rows + len(unfit), *counts, *too_long, tuple(unfit)))
        note(reports[-1])
    if not kept:
        widen = f"; raise --train.width {width}" if any(r.dropped for r in reports) else ""
        raise UserError(f"no example is left{widen} ({'; '.join(map(str, reports))})")
    return Examples.of(kept)


def _encoded(
    source: str, config: ConversationConfig, encoder: Encoder, unfit: list[str]
) -> Iterator[tuple[str, Pair | Chat, list[tuple[list[int], list[bool]]]]]:
    """(place, example, its sequences) of every row, many of them tokenised at a time."""
    reader = read_conversations(source, config, unfit)
    while chunk := list(itertools.islice(reader, CHUNK)):
        for (where, example), sequences in zip(chunk, encoder.encode(chunk), strict=True):
            yield where, example, sequences


def _fate(
    tokens: list[int], learn: list[bool], where: str, config: ConversationConfig, width: int
) -> str:
    """What becomes of a sequence: kept, truncated or dropped. UserError where that is asked for."""
    if len(tokens) <= width:
        return "kept"
    if config.too_long == "error":
        raise UserError(
            f"{where}: {len(tokens)} tokens; --train.width {width} holds no more; use at least "
            f"{len(tokens)}, or --data.too-long drop or truncate"
        )
    learnt_in_reach = config.too_long == "truncate" and any(learn[:width])
    return "truncated" if learnt_in_reach else "dropped"


def key_of(example: Pair | Chat) -> int:
    """A number for what is asked: examples of the same prompt have the same one."""
    if isinstance(example, Chat):
        text = next(m["content"] for m in example.messages if m["role"] == "user")
    else:
        text = example.prompt or example.completion
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def hold_out(examples: Examples, count: int, seed: int) -> tuple[Examples, Examples]:
    """(the rest, at least `count` examples); those of the same prompt go the same way.

    Raises UserError when nothing would be left to learn.
    """
    keys, sizes = np.unique(examples.keys, return_counts=True)  # i64[K], of K different prompts
    order = np.random.default_rng(seed).permutation(len(keys))
    enough = np.searchsorted(np.cumsum(sizes[order]), count) + 1
    held = np.isin(examples.keys, keys[order[:enough]])  # bool[N]
    if held.all():
        raise UserError(
            f"--data.eval-count {count}: leaves none of {len(held)} examples to learn from; "
            "hold out fewer"
        )
    return examples.select(np.flatnonzero(~held)), examples.select(np.flatnonzero(held))
