"""One completion at a time, token by token: what a person at a terminal watches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache import Cache, lengthened
from r1jax.rollout.sampling import Sampling, draw, request_keys
from r1jax.types import Params

BUCKET = 64  # prompts are padded to multiples of it, so that few widths are compiled
_INCOMPLETE = "\ufffd"  # what a decoder shows for a character whose bytes are not all there


def stream(
    weights: Params,
    c: ModelConfig,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    max_tokens: int,
    stop_ids: Sequence[int],
    problem: int = 0,
    sample: int = 0,
    seed: int = 0,
    rollout: int = 0,
    mesh: Mesh | None = None,
) -> Iterator[int]:
    """Yields the tokens of one completion as they are drawn, its stop token included.

    `weights` come from `decoder.unstack`. The keys are those of `r1jax.rollout.engine.Engine`, so
    the same (seed, rollout, problem, sample) gives the same text, up to the last bits of sums that
    XLA orders by batch size. Raises ValueError for an empty prompt and `max_tokens` below 1.
    """
    if not prompt or max_tokens < 1:
        raise ValueError(f"{len(prompt)} prompt tokens, max_tokens {max_tokens}: at least 1 each")
    width = -(-len(prompt) // BUCKET) * BUCKET
    tokens = np.zeros((1, width), np.int32)
    tokens[0, : len(prompt)] = prompt
    number = lambda n: jnp.asarray([n], jnp.int32)  # noqa: E731
    key = request_keys(seed, number(rollout), number(problem), number(sample))
    length = -(-(width + max_tokens) // BUCKET) * BUCKET
    token, cache = _first(weights, c, tokens, number(len(prompt)), key, sampling, length, mesh)
    for count in range(1, max_tokens + 1):
        drawn = int(token[0])
        yield drawn
        if drawn in stop_ids or count == max_tokens:
            return
        at = number(len(prompt) + count - 1)
        token, cache = _next(weights, c, token, at, cache, key, number(count), sampling, mesh)


@functools.partial(jax.jit, static_argnames=("c", "sampling", "length", "mesh"))
def _first(
    weights: Params,
    c: ModelConfig,
    tokens: jax.Array,
    lengths: jax.Array,
    key: jax.Array,
    sampling: Sampling,
    length: int,
    mesh: Mesh | None,
) -> tuple[jax.Array, Cache]:
    """Prefill of i32[1, T] and the first token; the cache has room for `length` tokens."""
    logits, short = decoder.prefill(weights, c, tokens, lengths, mesh)
    token, *_ = draw(logits, key, jnp.zeros_like(lengths), sampling)
    return token, jax.tree.map(lambda x: lengthened(x, length), short)


@functools.partial(jax.jit, static_argnames=("c", "sampling", "mesh"), donate_argnames="cache")
def _next(
    weights: Params,
    c: ModelConfig,
    token: jax.Array,
    position: jax.Array,
    cache: Cache,
    key: jax.Array,
    index: jax.Array,
    sampling: Sampling,
    mesh: Mesh | None,
) -> tuple[jax.Array, Cache]:
    """The token after `token`, number `index` of the completion."""
    logits, cache = decoder.decode_step(weights, c, token, position, cache, mesh)
    token, *_ = draw(logits, key, index, sampling)
    return token, cache


def pieces(tokens: Iterable[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """The text that each token adds, held back while a character's bytes are incomplete.

    Decodes a short window at a time, so that the work per token does not grow with the text.
    """
    ids: list[int] = []
    start = shown = 0  # the window, and how much of it has been shown
    for token in tokens:
        ids.append(token)
        before, now = decode(ids[start:shown]), decode(ids[start:])
        if len(now) > len(before) and not now.endswith(_INCOMPLETE):
            yield now[len(before) :]
            start, shown = shown, len(ids)
    if rest := decode(ids[start:])[len(decode(ids[start:shown])) :]:
        yield rest


def thoughts(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """(text, whether it is thought): <think> up to </think> or <answer>, with its own tags.

    Holds back what may turn out to be the beginning of a tag; the parts add up to the whole text.
    """
    thinking, held = False, ""
    for text in texts:
        held += text
        while True:
            tags = ("</think>", "<answer>") if thinking else ("<think>",)
            matches = [(held.find(tag), tag) for tag in tags if tag in held]
            if not matches:
                break
            at, tag = min(matches)
            end = at + len(tag) if tag == "</think>" else at
            if held[:end]:
                yield held[:end], thinking
            thinking, held = not thinking, held[end:]
            if tag == "<think>":
                yield tag, True
                held = held[len(tag) :]
        free = len(held) - _possible_tag(held, tags)
        if free:
            yield held[:free], thinking
            held = held[free:]
    if held:
        yield held, thinking


def _possible_tag(text: str, tags: Sequence[str]) -> int:
    """Length of the longest end of `text` with which one of `tags` begins."""
    longest = max(map(len, tags)) - 1
    ends = (n for n in range(min(longest, len(text)), 0, -1))
    return next((n for n in ends if any(tag.startswith(text[-n:]) for tag in tags)), 0)
