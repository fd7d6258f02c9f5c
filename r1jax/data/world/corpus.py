"""The corpus: worked problems of mixed quality as documents, random access by index."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from r1jax.data.corpora import any_of, choose, lengths, mean, weighted
from r1jax.data.templates import TEMPLATES, Template
from r1jax.data.world import words
from r1jax.data.world.general import draw_general
from r1jax.data.world.gold import score
from r1jax.data.world.problems import FAMILIES, draw
from r1jax.data.world.replies import Quality, ReplyShares, write_reply
from r1jax.data.world.requests import KINDS
from r1jax.data.world.traces import MODES, Clause, Mode, Shares, Trace, write
from r1jax.problem import Problem

FULL = 0.9  # the gold from which on a general reply is as good as it should be


@dataclass(frozen=True)
class Mix:
    """What the corpus is made of.

    Tags, language and mixing are drawn independently of each other, of family, mode and
    correctness. `general` is the share of documents that answer a general prompt; the others are
    those they would be without any.
    """

    sum: Shares = field(default_factory=Shares)
    countdown: Shares = field(default_factory=Shares)
    word: Shares = field(default_factory=Shares)
    families: tuple[float, float, float] = (1.0, 1.0, 1.0)  # weights of sum, countdown, word
    chinese_share: float = 0.5
    tagged: float = 0.16  # thought and answer in their tags
    half_tagged: float = 0.03  # thought in its tags, answer in plain words
    mixing: float = 0.3  # documents in which some sentences of the thought change language
    templates: tuple[tuple[str, float], ...] = (
        ("mini", 0.6),
        ("qa", 0.2),
        ("tags", 0.1),
        ("plain", 0.1),
    )
    general: float = 0.15  # notes, unsafe requests and their look-alikes, part "policy" only
    replies: ReplyShares = field(default_factory=ReplyShares)


@dataclass(frozen=True)
class Document:
    """One prompt with its completion; the tokenizer's end-of-text follows it.

    `tags` is "full", "half" or "none"; `mixed` says that the thought switches language. `correct`
    says of a general document that its gold is at least `FULL`.
    """

    problem: Problem
    prompt: str
    completion: str
    mode: Mode | Quality
    correct: bool
    tags: str
    mixed: bool

    @property
    def text(self) -> str:
        """Prompt and completion, as they are tokenized."""
        return self.prompt + self.completion


def documents(seed: int, start: int, count: int, mix: Mix | None = None) -> Iterator[Document]:
    """Documents `start` to `start + count` of corpus `seed`; each is a function of its index.

    Only problems of the training split occur, in questions and in trials of searches alike.
    """
    mix = mix or Mix()
    maker = _Maker(mix)
    for index in range(start, start + count):
        # A generator of its own: what is not general does not depend on what is.
        rng = random.Random(f"general corpus {seed} {index}") if mix.general else None
        if rng is not None and rng.random() < mix.general:
            yield maker.general(rng)
        else:
            yield maker.make(random.Random((seed * 4 + 2) << 48 | index))


def tokenizer_texts(seed: int, count: int, mix: Mix | None = None) -> Iterator[str]:
    """What the world's tokenizer is trained on: `count` documents, and the R1-Zero instruction.

    The instruction stands after every 40th document: often enough that its words are whole pieces,
    though the corpus itself does not use it.
    """
    for i, document in enumerate(documents(seed, 0, count, mix)):
        yield document.text
        if i % 40 == 0:
            yield TEMPLATES["r1_zero"].text


class _Maker:
    """Draws documents; holds the cumulative weights of one mix."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.families = weighted(zip(FAMILIES, mix.families, strict=True))
        self.shares = {name: getattr(mix, name) for name in FAMILIES}
        self.modes = {
            name: weighted((mode, getattr(shares, mode)) for mode in MODES)
            for name, shares in self.shares.items()
        }
        self.templates = weighted((TEMPLATES[name], share) for name, share in mix.templates)

    def make(self, rng: random.Random) -> Document:
        """One document from a fresh generator."""
        family = choose(self.families, rng)
        mode = choose(self.modes[family], rng)
        template, language, mixed, tags = self._dress(rng)
        problem = draw(rng, family, language)
        trace = write(problem, mode, self.shares[family], rng)
        return Document(
            problem=problem,
            prompt=template.fill(problem.question),
            completion=_complete(family, trace, tags, language, mixed, rng),
            mode=mode,
            correct=trace.correct,
            tags=tags,
            mixed=mixed,
        )

    def general(self, rng: random.Random) -> Document:
        """One document that answers a general prompt."""
        kind = any_of(KINDS, rng)
        template, language, mixed, tags = self._dress(rng)
        problem = draw_general(rng, kind, language, "policy")
        reply = write_reply(problem, rng, self.mix.replies)
        thought = _speak(reply.clauses, language, mixed, rng)
        answer = reply.text if language and tags == "none" else f" {reply.text}"
        ends = {"full": f" </think> <answer>{answer} </answer>", "half": f" </think>{answer}"}
        completion = f" <think>{thought}{ends[tags]}" if tags in ends else thought + answer
        return Document(
            problem=problem,
            prompt=template.fill(problem.question),
            completion=completion,
            mode=reply.mode,
            correct=score(problem, reply.text) >= FULL,
            tags=tags,
            mixed=mixed,
        )

    def _dress(self, rng: random.Random) -> tuple[Template, int, bool, str]:
        """Template, language, whether the thought switches language, and tags."""
        template = choose(self.templates, rng)
        language = int(rng.random() < self.mix.chinese_share)
        mixed = rng.random() < self.mix.mixing
        u = rng.random()
        tags = "full" if u < self.mix.tagged else "none"
        if tags == "none" and u < self.mix.tagged + self.mix.half_tagged:
            tags = "half"
        return template, language, mixed, tags


def _complete(
    family: str, trace: Trace, tags: str, language: int, mixed: bool, rng: random.Random
) -> str:
    """Everything after the prompt: thought and answer, with or without tags."""
    filling = (trace.answer,)
    guess = trace.mode == "guess"
    clauses = list(trace.clauses)
    if guess and (tags != "none" or family == "word"):
        pair = words.WORD_GUESS if family == "word" else words.GUESSES[1]
        clauses.append(Clause(pair, filling))
    ending = _ending(guess, rng)
    if tags == "none" and not (guess and family == "word"):
        clauses.append(Clause(ending, filling))
    thought = _speak(clauses, language, mixed, rng)
    if tags == "none":
        return thought
    if tags == "full":
        return f" <think>{thought} </think> <answer> {trace.answer} </answer>"
    return f" <think>{thought} </think> {words.ANSWERS[0][language] % filling}"


def _ending(guess: bool, rng: random.Random) -> words.Bilingual:
    pairs = words.GUESSES if guess else words.ANSWERS
    u = rng.random()
    return pairs[0 if u < 0.8 else 1 if u < 0.9 else 2]


def _speak(clauses: list[Clause], language: int, mixed: bool, rng: random.Random) -> str:
    """Joins sentences: a space before each English one and before the first."""
    spoken = [language] * len(clauses)
    if mixed:
        spoken = [language ^ (rng.random() < 0.5) for _ in clauses]
        spoken[int(rng.random() * len(clauses))] = 1 - language
    sentences = [
        clause.say(tongue) if tongue and i else f" {clause.say(tongue)}"
        for i, (clause, tongue) in enumerate(zip(clauses, spoken, strict=True))
    ]
    return "".join(sentences)


def describe(corpus: Iterable[Document], tokenizer: Any = None) -> dict[str, Any]:
    """Shares of a corpus for its card: modes and how often each is right, tags, languages, mixing.

    With a tokenizer also the quantiles of completion tokens (end-of-text counted) by family and
    mode. All shares are fractions; `modes` maps "family/mode" to its share of that family. General
    documents are counted as families of their own, and left out of `correct`.
    """
    corpus = list(corpus)
    cells: dict[str, list[Document]] = {}
    families: dict[str, list[Document]] = {}
    for document in corpus:
        family = document.problem.metadata["family"]
        cells.setdefault(f"{family}/{document.mode}", []).append(document)
        families.setdefault(family, []).append(document)
    report: dict[str, Any] = {
        "documents": len(corpus),
        "general": mean(document.problem.metadata["family"] in KINDS for document in corpus),
        "correct": mean(d.correct for d in corpus if d.problem.metadata["family"] in FAMILIES),
        "chinese": mean(document.problem.metadata["language"] == "zh" for document in corpus),
        "mixed": mean(document.mixed for document in corpus),
        "tagged": mean(document.tags == "full" for document in corpus),
        "half_tagged": mean(document.tags == "half" for document in corpus),
        "correct_by_family": {
            name: mean(d.correct for d in group) for name, group in sorted(families.items())
        },
        "modes": {
            cell: {
                "share": len(group) / len(families[cell.split("/")[0]]),
                "correct": mean(document.correct for document in group),
            }
            for cell, group in sorted(cells.items())
        },
    }
    if tokenizer is not None:
        report["tokens"] = {
            cell: lengths(tokenizer, [d.completion for d in group])
            for cell, group in sorted(cells.items())
        }
    return report
