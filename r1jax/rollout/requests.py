"""What goes into the engine and what comes out: prompts, completions under way, finished ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from r1jax.errors import UserError
from r1jax.problem import FinishReason
from r1jax.rollout.ladder import EngineConfig


@dataclass(frozen=True)
class Drawn:
    """The first n tokens of a completion, with what the sampler says of each."""

    tokens: np.ndarray  # i32[n], the stop token included
    logp: np.ndarray  # f32[n], full vocabulary at the sampling temperature
    log_mass: np.ndarray  # f32[n], of the kept support
    routes: np.ndarray | None = field(default=None, kw_only=True)
    """[p + n - 1, W] of a prompt of p tokens, or [n, W] of what comes later: the experts taken by
    the tokens that were read to draw these (`r1jax.models.kinds.routes`); None without experts."""

    support: np.ndarray | None = field(default=None, kw_only=True)
    """i32[n, K], which set each was drawn from (`types.Batch`); None where it was not told."""

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each token has one of."""
        return self.tokens, self.logp, self.log_mass

    @property
    def beside(self) -> dict[str, np.ndarray | None]:
        """What some models and some ways of sampling have of tokens beside those."""
        return {"routes": self.routes, "support": self.support}

    def row(self, i: int) -> Drawn:
        """One slot's, of what was drawn in all slots."""
        support = None if self.support is None else self.support[i]
        return Drawn(*(x[i] for x in self.arrays), support=support)

    def cut(self, start: int, end: int) -> Drawn:
        """Tokens `start` to `end`, copied; with the first one go its prompt's routes."""
        routes = self.routes
        if routes is not None:
            before = len(routes) - len(self.tokens)
            routes = routes[start + before if start else 0 : end + before].copy()
        support = None if self.support is None else self.support[start:end].copy()
        arrays = (x[start:end].copy() for x in self.arrays)
        return Drawn(*arrays, routes=routes, support=support)

    def then(self, later: Drawn) -> Drawn:
        """These tokens and the `later` ones."""
        if not len(self.tokens):
            return later
        pairs = zip(self.arrays, later.arrays, strict=True)
        beside = {
            name: None if mine is None else np.concatenate([mine, later.beside[name]])
            for name, mine in self.beside.items()
        }
        return Drawn(*(np.concatenate(pair) for pair in pairs), **beside)


def nothing() -> Drawn:
    """What is drawn of a completion before its first token."""
    return Drawn(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32))


@dataclass(frozen=True)
class Prompt:
    """A prompt to be completed `samples` times, sample numbers from `first_sample` on.

    A completion that goes on after an earlier call has a prompt of its own (`samples` 1) with what
    is `kept` of it, and the random keys of the `rollout` in which it began.
    """

    tokens: tuple[int, ...]
    problem: int  # Problem.number, for the random keys
    samples: int
    first_sample: int = 0
    limit: int | None = None  # most tokens of each completion; None: that of the call
    rollout: int | None = None  # for the random keys; None: that of the call
    kept: Drawn | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Generated(Drawn):
    """What was drawn of one completion; `prompt` and `sample` say whose it is."""

    prompt: int
    sample: int
    finish_reason: FinishReason | None  # None: it is unfinished (`Engine.advance` alone)
    prompt_tokens: tuple[int, ...]  # what it continues


@dataclass(eq=False)
class Request:
    """One completion under way, in a slot or waiting for one."""

    prompt: int  # index of its Prompt
    sample: int
    problem: int
    tokens: tuple[int, ...]  # the prompt's
    limit: int
    count: int = 0  # tokens drawn, when the host last looked
    searched: int = 0  # tokens known to hold no stop string
    kept: Drawn = field(default_factory=nothing)  # drawn before it last lost its slot
    rollout: int | None = None  # for the random keys; None: that of the call

    @property
    def length(self) -> int:
        """Tokens of prompt and completion so far."""
        return len(self.tokens) + self.count

    @property
    def prefix(self) -> np.ndarray:
        """i32: what is prefilled when it enters a slot."""
        return np.concatenate([np.asarray(self.tokens, np.int32), self.kept.tokens])

    def drawn(self, row: Drawn, routes: np.ndarray | None = None) -> Drawn:
        """Everything drawn so far, from its slot's row and the `routes` of that slot's cache.

        Kept parts keep their first numbers.
        """
        row = row.cut(0, self.count)
        if routes is not None:  # the last token is drawn, but not yet read
            row = replace(row, routes=routes[: self.length - 1])
        return self.kept.then(row.cut(len(self.kept.tokens), self.count))

    def ended(self, drawn: Drawn, reason: FinishReason | None) -> Generated:
        """The completion, of which no more than `drawn` is kept."""
        whose = self.prompt, self.sample, reason, self.tokens
        return Generated(*drawn.arrays, *whose, **drawn.beside)


def requests(
    prompts: Sequence[Prompt], config: EngineConfig, slots: int, max_tokens: int | None
) -> list[list[Request]]:
    """Groups of requests with one prefix each, cut where a group exceeds the `slots`.

    Raises UserError for a prompt that is empty or longer than `max_prompt`, and for a limit below 1
    or above `config.max_tokens`.
    """
    limit = config.max_tokens if max_tokens is None else max_tokens
    _check_prompts(prompts, config)
    _check_limit(f"max_tokens {limit}", limit, config)
    groups = []
    for index, p in enumerate(prompts):
        prompt_limit = limit if p.limit is None else p.limit
        _check_limit(f"a prompt's limit {prompt_limit}", prompt_limit, config)
        whole = [_begin(p, index, p.first_sample + i, prompt_limit) for i in range(p.samples)]
        groups += [whole[i : i + slots] for i in range(0, p.samples, slots)]
    return groups


def _begin(p: Prompt, index: int, sample: int, limit: int) -> Request:
    """A completion that begins, or goes on: what is kept was searched for stop strings before."""
    kept = p.kept or nothing()
    n = len(kept.tokens)
    return Request(index, sample, p.problem, p.tokens, limit, n, n, kept, p.rollout)


def _check_prompts(prompts: Sequence[Prompt], config: EngineConfig) -> None:
    lengths = [len(p.tokens) for p in prompts]
    longest = max(lengths, default=0)
    if longest > config.max_prompt:
        raise UserError(
            f"--rollout.max-prompt {config.max_prompt}: a prompt has {longest} tokens; "
            f"raise it to {longest} or drop the problem"
        )
    if min(lengths, default=1) == 0:
        raise UserError("a prompt has no tokens; check the template and the problems' questions")


def _check_limit(name: str, limit: int, config: EngineConfig) -> None:
    if limit > config.max_tokens:
        raise UserError(
            f"{name} is above the engine's {config.max_tokens}; raise --rollout.max-tokens"
        )
    if limit < 1:
        raise UserError(f"{name}: a completion has at least 1 token")
