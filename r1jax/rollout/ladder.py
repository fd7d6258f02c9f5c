"""The shapes generation is compiled for: a short ladder from many short slots to few long ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from r1jax.errors import UserError, check_ranges

SHORTEST = 512
"""Below it a second shape costs more to compile than the cache it would leave unread."""


@dataclass(frozen=True)
class EngineConfig:
    """Fixed shapes of the engine: what is compiled follows from these."""

    slots: int = 64
    """Completions decoded side by side."""
    max_prompt: int = 256
    """Longest prompt in tokens."""
    max_tokens: int = 256
    """Longest completion in tokens."""
    prefill: int = 8
    """Prompts prefilled per call."""
    refill: float = 0.125
    """Share of slots that must be free before new groups enter."""
    steps: int = 512
    """Decode steps between two looks of the host (fewer with stop strings: 16)."""
    cache_tokens: int = 0
    """Most tokens the cache may hold, over all slots: as completions get longer, slots are halved
    to stay within it. 0 = no bound: all slots at max_prompt + max_tokens."""
    first_length: int = 0
    """Cache length per slot that generation may begin with; it doubles as completions get longer,
    up to max_prompt + max_tokens. 0 = 512, or what the longest prompt and a few tokens need; a
    length above half of the whole leaves one shape."""
    tail: int = 64
    """Slots in which the last completions of a call are finished when nothing waits (fewer hardly
    make a step faster, which reads all weights); only where there are several shapes. 0 = never."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        ones = ("slots", "max_prompt", "max_tokens", "prefill", "steps")
        none = ("cache_tokens", "first_length", "tail")
        ranges = dict.fromkeys(ones, "[1,]") | dict.fromkeys(none, "[0,]")
        check_ranges(self, "--rollout.", refill="[0,1]", **ranges)


class Shape(NamedTuple):
    """What one compiled decode loop holds: `slots` caches of `length` tokens each."""

    slots: int
    length: int


def ladder(config: EngineConfig, shards: int = 1) -> tuple[Shape, ...]:
    """The shapes of a run, in the order they are used: lengths never fall, slots never rise.

    Lengths are halvings of max_prompt + max_tokens, rounded up, that are not below `first_length`.
    Slots are halved while slots x length exceeds `cache_tokens`; where there are several lengths, a
    last shape has `tail` slots at most. Slots that divide by the `shards` (devices they are spread
    over) go on doing so. Raises UserError where the bound cannot be kept.
    """
    shapes = [Shape(_slots(config, length, shards), length) for length in _lengths(config)]
    slots, length = shapes[-1]
    while slots > config.tail and (half := _half(slots, config, shards)):
        slots = half
    if config.tail and len(shapes) > 1 and slots < shapes[-1].slots:
        shapes.append(Shape(slots, length))
    return tuple(shapes)


def widths(config: EngineConfig, shapes: tuple[Shape, ...]) -> tuple[int, ...]:
    """Widths that prefixes are padded to, rising: quarters of `max_prompt`, then cache lengths.

    Only a completion that is taken up again has a prefix beyond `max_prompt`.
    """
    quarter = -(-config.max_prompt // 4)
    prompts = {min(i * quarter, config.max_prompt) for i in (1, 2, 3, 4)}
    return tuple(sorted(prompts | {shape.length for shape in shapes}))


def _lengths(config: EngineConfig) -> list[int]:
    least = config.max_prompt + 64
    first = config.first_length or max(SHORTEST, -(-least // 128) * 128)
    if first <= config.max_prompt:
        raise UserError(
            f"--rollout.first-length {first}: a prompt of {config.max_prompt} tokens and one more "
            f"do not fit; at least {config.max_prompt + 1}, or 0 to have it chosen"
        )
    unit = math.gcd(first, 128)
    lengths = [config.max_prompt + config.max_tokens]
    while first <= (half := -(-lengths[-1] // (2 * unit)) * unit) < lengths[-1]:
        lengths.append(half)
    return lengths[::-1]


def _slots(config: EngineConfig, length: int, shards: int) -> int:
    slots, bound = config.slots, config.cache_tokens
    while bound and slots * length > bound:
        half = _half(slots, config, shards)
        if not half:
            whole = slots * (config.max_prompt + config.max_tokens)
            raise UserError(
                f"--rollout.cache-tokens {bound}: {config.slots} slots on {shards} devices can be "
                f"halved to {slots}, and these of {length} tokens exceed it; at least {whole}, "
                "or 0 for no bound"
            )
        slots = half
    return slots


def _half(slots: int, config: EngineConfig, shards: int) -> int:
    """Half the slots; 0 where these do not halve, or would no longer divide by the shards."""
    unit = shards if config.slots % shards == 0 else 1
    return 0 if slots % (2 * unit) else slots // 2
