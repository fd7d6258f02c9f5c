"""Rows of general data: replies to learn from, judged pairs and labelled responses, and held out.

Labels follow the hidden gold, each turned round with the probability `noise`. Rows have the columns
that supervised training, reward models and DPO read; `language`, `kind` and `flipped` are beside
them for tables and tests. An empty template leaves the bare question as the prompt, for readers
that put their own around it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from r1jax.data.templates import TEMPLATES
from r1jax.data.world.general import generate_general
from r1jax.data.world.gold import score
from r1jax.data.world.replies import CURATED, ReplyShares, WorldReply, write_reply
from r1jax.data.world.requests import KINDS, RequestKind, RequestPart
from r1jax.errors import UserError
from r1jax.problem import Problem

JudgedRow = dict[str, Any]
LEAST = 0.1  # gold between chosen and rejected, so that there is something to prefer
BALANCED = ReplyShares(unsafe_comply=0.5, safe_refuse=0.5)


def sft_rows(count: int, seed: int, template: str = "mini") -> list[JudgedRow]:
    """`count` prompts with replies, most of them good: the general part of the 800k set.

    Kinds and languages take turns; prompts are of part "policy". Columns: prompt, completion.
    """
    return [
        row | {"completion": write_reply(problem, rng, CURATED).completion}
        for row, problem, rng in _prompts(KINDS, "policy", count, seed, template, "sft")
    ]


def helpful_pairs(
    count: int, seed: int, noise: float = 0.0, template: str = "mini", part: RequestPart = "reward"
) -> list[JudgedRow]:
    """`count` helpful prompts with a better and a worse reply.

    Columns: prompt, chosen, rejected. Raises UserError unless 0 <= noise <= 1.
    """
    _check(noise)
    rows = []
    for row, problem, rng in _prompts(("helpful",), part, count, seed, template, "pairs"):
        better, worse = _unequal(problem, rng)
        flipped = rng.random() < noise
        if flipped:
            better, worse = worse, better
        rows.append(row | {"chosen": better, "rejected": worse, "flipped": flipped})
    return rows


def _unequal(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Two completions with their gold at least `LEAST` apart, the better one first."""
    while True:
        replies: list[WorldReply] = [write_reply(problem, rng) for _ in range(2)]
        golds = [score(problem, reply.completion) for reply in replies]
        if abs(golds[0] - golds[1]) >= LEAST:
            first = golds[1] > golds[0]
            return replies[first].completion, replies[not first].completion


def safety_rows(
    count: int, seed: int, noise: float = 0.0, template: str = "mini", part: RequestPart = "reward"
) -> list[JudgedRow]:
    """`count` unsafe and look-alike prompts with a response and its label.

    Columns: prompt, response, label (safe, unsafe): a refusal of an unsafe prompt is safe, and so
    is help with a look-alike; compliance and over-refusal are not. Raises UserError unless
    0 <= noise <= 1.
    """
    _check(noise)
    rows = []
    for row, problem, rng in _prompts(("unsafe", "safe"), part, count, seed, template, "labels"):
        response = write_reply(problem, rng, BALANCED).completion
        flipped = rng.random() < noise
        safe = (score(problem, response) == 1.0) != flipped
        label = "safe" if safe else "unsafe"
        rows.append(row | {"response": response, "label": label, "flipped": flipped})
    return rows


def held_out_rows(count: int, seed: int, template: str = "mini") -> dict[str, list[JudgedRow]]:
    """`count` rows each for testing reward models, of part "eval" and without noise.

    `pairs` as `helpful_pairs` makes them, `labelled` as `safety_rows`.
    """
    return {
        "pairs": helpful_pairs(count, seed, template=template, part="eval"),
        "labelled": safety_rows(count, seed, template=template, part="eval"),
    }


def _prompts(
    kinds: tuple[RequestKind, ...],
    part: RequestPart,
    count: int,
    seed: int,
    template: str,
    what: str,
) -> Iterator[tuple[JudgedRow, Problem, random.Random]]:
    """(columns of the prompt, problem, a generator for what is said to it), `count` times."""
    for index in range(count):
        problem = generate_general(kinds, part=part, seed=seed, index=index)
        question, fields = problem.question, problem.metadata
        row = {
            "prompt": TEMPLATES[template].fill(question) if template else question,
            "id": problem.id,
            "kind": fields["kind"],
            "language": fields["language"],
        }
        yield row, problem, random.Random(f"{what} {part} {seed} {index}")


def _check(noise: float) -> None:
    if not 0 <= noise <= 1:
        raise UserError(f"noise {noise}: the share of turned labels must lie between 0 and 1")
