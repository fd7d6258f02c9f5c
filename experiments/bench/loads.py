"""What an engine is asked for in one rollout: equal lengths, or a list of mixed ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.bench.requests import ListedRequest
from experiments.bench.roofline import mean_cache
from r1jax.errors import UserError
from r1jax.rollout.engine import Prompt


@dataclass(frozen=True)
class Workload:
    """Prompts with the lengths their completions are to have, and the slots they run in."""

    name: str
    slots: int
    group: int
    prompts: list[Prompt]

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """(prompt, completion) lengths of every completion, as asked for."""
        return [(len(p.tokens), p.limit) for p in self.prompts for _ in range(p.samples)]

    @property
    def mean_cache(self) -> float:
        """Tokens in a slot's cache, averaged over the decode steps."""
        return mean_cache(self.lengths)


def parse_case(case: str) -> tuple[int, int]:
    """(slots, tokens) of `SLOTSxTOKENS`; UserError where it is none."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", case)
    if not match:
        raise UserError(f"--cases {case}: expected SLOTSxTOKENS, as in 256x1024")
    return int(match[1]), int(match[2])


def fixed(slots: int, tokens: int, prompt: int, group: int, vocab: int, seed: int) -> Workload:
    """As many completions as slots, all of one length, `group` of them to a random prompt.

    Raises UserError where the groups do not fill the slots.
    """
    if group < 1 or slots % group:
        raise UserError(f"--groups {group}: must divide the {slots} slots of --cases")
    texts = np.random.default_rng(seed).integers(0, vocab, (slots // group, prompt)).tolist()
    prompts = [Prompt(tuple(text), i, group, limit=tokens) for i, text in enumerate(texts)]
    return Workload(f"{slots}x{tokens} after {prompt}", slots, group, prompts)


def mixed(slots: int, requests: Sequence[ListedRequest]) -> Workload:
    """A request list, in its order, each request with a length of its own."""
    if slots < 1:
        raise UserError(f"--slots {slots}: must be at least 1")
    prompts = [Prompt(r.prompt, i, 1, limit=r.max_tokens) for i, r in enumerate(requests)]
    return Workload(f"{len(requests):,} requests in {slots}", slots, 1, prompts)


def equal_cache(load: Workload, vocab: int, seed: int) -> Workload:
    """The fixed shape of a mixed load's slots and mean cache, with distinct prompts.

    Its prompt is the load's as a decode step sees it on average. Its completions are longer than
    the load's mean, since long completions take most of the steps.
    """
    prompt = round(sum(n * p for p, n in load.lengths) / sum(n for _, n in load.lengths))
    tokens = max(1, round(2 * (load.mean_cache - prompt)))
    return fixed(load.slots, tokens, prompt, 1, vocab, seed)
