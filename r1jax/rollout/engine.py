"""The host side of generation: which request enters which slot when, and what came out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r1jax.errors import UserError
from r1jax.mesh import place, replicated
from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.problem import FinishReason
from r1jax.rollout import slots as device
from r1jax.rollout.sampling import Sampling, request_keys
from r1jax.types import Params


@dataclass(frozen=True)
class Prompt:
    """A prompt to be completed `samples` times, sample numbers from `first_sample` on."""

    tokens: tuple[int, ...]
    problem: int  # Problem.number, for the random keys
    samples: int
    first_sample: int = 0


@dataclass(frozen=True)
class Generated:
    """One finished completion; `prompt` and `sample` say whose."""

    prompt: int
    sample: int
    tokens: np.ndarray  # i32[n], the stop token included
    logp: np.ndarray  # f32[n], full vocabulary at the sampling temperature
    log_mass: np.ndarray  # f32[n], of the kept support
    finish_reason: FinishReason


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


class Engine:
    """Completes prompts with a policy's weights.

    Slots are refilled by whole groups as they come free, so that a prompt is prefilled once for
    all its samples (a group larger than the slots enters in parts). Prompt widths are buckets that
    depend on the prompt alone; a text depends on (seed, rollout, problem, sample) alone.
    """

    def __init__(
        self,
        c: ModelConfig,
        mesh: Mesh,
        config: EngineConfig,
        *,
        stop_ids: Sequence[int],
        stop_strings: Sequence[str] = (),
        detokenize: Callable[[Sequence[int]], str] | None = None,
        dtype: Any = jnp.float32,
    ) -> None:
        if stop_strings and detokenize is None:
            raise ValueError("stop strings need a detokenizer")
        self.config, self.model, self.mesh, self.dtype = config, c, mesh, dtype
        self.stop_strings, self.detokenize = tuple(stop_strings), detokenize
        static = dict(c=c, stop_ids=tuple(stop_ids), mesh=mesh)
        self._admit = jax.jit(
            functools.partial(device.admit, **static), static_argnames="sampling", donate_argnums=1
        )
        self._decode = jax.jit(
            functools.partial(device.decode, **static), static_argnames="sampling", donate_argnums=1
        )
        self._halt = jax.jit(device.halt, donate_argnums=0)
        self._look = jax.jit(
            lambda s: (s.active, s.count, s.stopped), out_shardings=replicated(mesh)
        )
        self._read = jax.jit(
            lambda s: (s.tokens, s.logp, s.log_mass), out_shardings=replicated(mesh)
        )
        self._keys = jax.jit(request_keys, static_argnums=0)
        self.prepare = jax.jit(functools.partial(decoder.unstack, dtype=dtype))
        self._empty = jax.jit(
            lambda: device.empty(c, config.slots, config.max_prompt, config.max_tokens, dtype, mesh)
        )

    def generate(
        self,
        weights: Params,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        rollout: int,
        max_tokens: int | None = None,
    ) -> Iterator[Generated]:
        """Yields every completion as it finishes, in no fixed order.

        `weights` come from `prepare(params)`. Raises UserError for a prompt that is empty or longer
        than `max_prompt` and for `max_tokens` below 1 or above the configured one.
        """
        limit = self.config.max_tokens if max_tokens is None else max_tokens
        self._check(prompts, limit)
        waiting = _parts(prompts, self.config.slots)
        slots = self._empty()
        owner: list[tuple[int, int] | None] = [None] * self.config.slots
        while waiting or any(o is not None for o in owner):
            slots = self._refill(weights, slots, owner, waiting, sampling, (seed, rollout, limit))
            slots = self._decode(
                weights, slots, self._steps(), self._enough_free(waiting, owner), sampling=sampling
            )
            slots = yield from self._collect(slots, owner)

    def _check(self, prompts: Sequence[Prompt], limit: int) -> None:
        longest = max((len(p.tokens) for p in prompts), default=0)
        if longest > self.config.max_prompt:
            raise UserError(
                f"--rollout.max-prompt {self.config.max_prompt}: a prompt has {longest} tokens; "
                f"raise it to {longest} or drop the problem"
            )
        if min((len(p.tokens) for p in prompts), default=1) == 0:
            raise UserError(
                "a prompt has no tokens; check the template and the problems' questions"
            )
        if limit > self.config.max_tokens:
            raise UserError(
                f"max_tokens {limit} is above the engine's {self.config.max_tokens}; "
                "raise --rollout.max-tokens"
            )
        if limit < 1:
            raise UserError(f"max_tokens {limit}: a completion has at least 1 token")

    def _steps(self) -> jax.Array:
        return jnp.int32(min(self.config.steps, 16) if self.stop_strings else self.config.steps)

    def _enough_free(self, waiting: list, owner: list) -> jax.Array:
        """Free slots at which decoding pauses: room for the next group, or never."""
        if not waiting:
            return jnp.int32(self.config.slots + 1)
        return jnp.int32(max(int(self.config.slots * self.config.refill), waiting[0][2], 1))

    def bucket(self, length: int) -> int:
        """Width a prompt is padded to: quarters of `max_prompt`, by its own length alone."""
        quarter = -(-self.config.max_prompt // 4)
        return min(-(-length // quarter) * quarter, self.config.max_prompt)

    def _refill(
        self,
        weights: Params,
        slots: device.Slots,
        owner: list,
        waiting: list[tuple[int, Prompt, int, int]],
        sampling: Sampling,
        run: tuple[int, int, int],
    ) -> device.Slots:
        """Admits waiting groups, in order, while they fit; at most `prefill` prompts per call."""
        free = [i for i, o in enumerate(owner) if o is None]
        while waiting and waiting[0][2] <= len(free):
            width, batch = self.bucket(len(waiting[0][1].tokens)), []
            while (
                waiting
                and len(batch) < self.config.prefill
                and waiting[0][2] <= len(free)
                and self.bucket(len(waiting[0][1].tokens)) == width
            ):
                index, prompt, n, first = waiting.pop(0)
                batch.append((prompt, first, free[:n]))
                for j, slot in enumerate(free[:n]):
                    owner[slot] = (index, first + j)
                free = free[n:]
            entering = self._admission(batch, width, run)
            slots = self._admit(weights, slots, entering, sampling=sampling)
        return slots

    def _admission(
        self, batch: list[tuple[Prompt, int, list[int]]], width: int, run: tuple[int, int, int]
    ) -> device.Admission:
        seed, rollout, limit = run
        rows, size = self.config.prefill, self.config.slots
        prompts = np.zeros((rows, width), np.int32)
        lengths = np.ones(rows, np.int32)
        slot = np.full(size, size, np.int32)
        source, problem, sample = (np.zeros(size, np.int32) for _ in range(3))
        at = 0
        for row, (prompt, first, taken) in enumerate(batch):
            lengths[row] = len(prompt.tokens)
            prompts[row, : lengths[row]] = prompt.tokens
            here = slice(at, at + len(taken))
            slot[here], source[here], problem[here] = taken, row, prompt.problem
            sample[here] = first + np.arange(len(taken))
            at += len(taken)
        put = functools.partial(place, target=replicated(self.mesh))
        keys = self._keys(seed, put(np.full(size, rollout, np.int32)), put(problem), put(sample))
        return device.Admission(
            prompts=put(prompts),
            lengths=put(lengths),
            slot=put(slot),
            source=put(source),
            key=keys,
            limit=put(np.full(size, limit, np.int32)),
        )

    def _collect(self, slots: device.Slots, owner: list) -> Iterator[Generated]:
        """Yields what has finished and frees its slots; returns the slots."""
        active, count, stopped = (np.asarray(x) for x in self._look(slots))
        found = np.zeros_like(active)
        arrays = None
        for i, who in enumerate(owner):
            if who is None or (active[i] and not self.stop_strings):
                continue
            if arrays is None:
                arrays = tuple(np.asarray(x) for x in self._read(slots))
            tokens, logp, log_mass = (a[i] for a in arrays)
            n, at_string = self._stop_string(tokens, int(count[i]))
            found[i] = active[i] and at_string
            if active[i] and not at_string:
                continue
            owner[i] = None
            reason = "stop" if stopped[i] or at_string else "length"
            yield Generated(*who, tokens[:n].copy(), logp[:n].copy(), log_mass[:n].copy(), reason)
        if found.any():
            slots = self._halt(slots, place(found, replicated(self.mesh)))
        return slots

    def _stop_string(self, tokens: np.ndarray, count: int) -> tuple[int, bool]:
        """(tokens up to and with the first stop string, True), or (count, False)."""

        def seen(n: int) -> bool:
            text = self.detokenize(tokens[:n].tolist())
            return any(s in text for s in self.stop_strings)

        if not self.stop_strings or not seen(count):
            return count, False
        low, high = 0, count
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if seen(middle) else (middle, high)
        return high, True


def _parts(prompts: Sequence[Prompt], slots: int) -> list[tuple[int, Prompt, int, int]]:
    """(index, prompt, samples, first sample) of each group, cut where it exceeds the slots."""
    parts = []
    for index, prompt in enumerate(prompts):
        for start in range(0, prompt.samples, slots):
            n = min(slots, prompt.samples - start)
            parts.append((index, prompt, n, prompt.first_sample + start))
    return parts
