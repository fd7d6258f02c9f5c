"""The host side of generation: prompts in, completions out, and everything compiled for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r1jax.mesh import place, replicated, slot_devices
from r1jax.models import kinds
from r1jax.models.config import ModelConfig
from r1jax.models.decoding import cache as caches
from r1jax.models.decoding.quantized import WeightFormat
from r1jax.models.row import Kept
from r1jax.rollout import slots as device
from r1jax.rollout.ending import AllBut, Ending
from r1jax.rollout.ladder import EngineConfig, Shape, ladder
from r1jax.rollout.programs import programs
from r1jax.rollout.requests import Drawn, Generated, Prompt, Request, requests
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.schedule import Prefill, Schedule
from r1jax.rollout.stops import StopRule, first_stop
from r1jax.run.signals import boundary
from r1jax.types import Params


class Engine:
    """Completes prompts with a policy's weights.

    Slots are refilled by whole groups as they come free, so that a prompt is prefilled once for
    all its samples (a group larger than the slots enters in parts). Prompt widths are buckets that
    depend on the prompt alone; a text depends on (seed, rollout, problem, sample) alone.

    The cache grows through `shapes`, (slots, length) pairs that follow from the configuration; one
    decode loop is compiled for each, the first time it is reached, and nothing later. After a call
    of `generate`, `steps_taken` counts its decode steps, `slot_steps` the slots of the shape in use
    summed over them, `evictions` how often a completion gave up its slot to go on later.
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
        stop_rule: StopRule | None = None,
    ) -> None:
        if (stop_strings or stop_rule) and detokenize is None:
            raise ValueError("stop strings need a detokenizer")
        self.config, self.model, self.mesh, self.dtype = config, c, mesh, dtype
        self.stop_strings, self.detokenize = tuple(stop_strings), detokenize
        self.stop_rule = stop_rule
        self.shapes: tuple[Shape, ...] = ladder(config, slot_devices(mesh))
        self.steps_taken = self.slot_steps = self.evictions = 0
        first, tokens = self.shapes[0], config.max_tokens
        self.programs = programs(c, mesh, first, tokens, tuple(stop_ids), dtype)

    @property
    def cache_tokens(self) -> int:
        """Most tokens the cache ever has room for, over all slots."""
        return max(slots * length for slots, length in self.shapes)

    def prepare(self, params: Params, weights: WeightFormat = "same") -> Params:
        """The weights `generate` runs on: those of a policy, or its shadow in 8 bits."""
        return self.programs.prepare(params, weights=weights)

    def generate(
        self,
        weights: Params,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        rollout: int,
        max_tokens: int | None = None,
        leave: float = 0.0,
    ) -> Iterator[Generated]:
        """Yields every completion as it finishes, in no fixed order.

        `weights` come from `prepare`, and the log-probabilities are theirs. The last ones, a share
        `leave` of all at most, are not waited for: they end as they are, as if cut by their limit
        (which ones these are, and where they end, depends on the slots). Raises UserError for a
        prompt that is empty or longer than `max_prompt` and for `max_tokens` (or a prompt's
        `limit`) below 1 or above the configured one.
        """
        ending = AllBut(int(leave * sum(p.samples for p in prompts)))
        ended = self.advance(
            weights, prompts, sampling, ending,
            seed=seed, rollout=rollout, max_tokens=max_tokens,
        )  # fmt: skip
        for drawn in ended:
            yield drawn if drawn.finish_reason else replace(drawn, finish_reason="length")

    def advance(
        self,
        weights: Params,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        ending: Ending,
        *,
        seed: int,
        rollout: int,
        max_tokens: int | None = None,
    ) -> Iterator[Generated]:
        """As `generate`, up to the `ending`; then yields the rest as it is, without a reason.

        The rest may go on in another call, with what was drawn as `Prompt.kept`.
        """
        # Groups of requests that share a prompt; who holds which slot is the schedule's alone.
        groups = requests(prompts, self.config, self.shapes[0].slots, max_tokens)
        work = Schedule(self.config, self.shapes, groups, ending)
        self.steps_taken = self.slot_steps = self.evictions = 0
        slots = self.programs.empty(sampling.told)
        while work.unfinished:
            # Host: another shape if it is time, then who enters; device: up to `steps` tokens for
            # every slot; host: who is done. The host sees only flags and counts, bool and i32[S].
            slots = self._climb(slots, work)
            slots = self._refill(weights, slots, work, sampling, (seed, rollout))
            steps, slots = self.programs.decode(
                weights, slots, self._steps(), jnp.int32(work.enough_free()), sampling=sampling
            )
            slots = yield from self._collect(slots, steps, work)
            boundary()
            if rest := work.rest():
                yield from self._cut(slots, rest)
                return

    def _steps(self) -> jax.Array:
        return jnp.int32(min(self.config.steps, 16) if self._read else self.config.steps)

    @property
    def _read(self) -> bool:
        """Whether the host reads completions under way, to end some of them."""
        return bool(self.stop_strings) or self.stop_rule is not None

    def _refill(
        self,
        weights: Params,
        slots: device.Slots,
        work: Schedule,
        sampling: Sampling,
        run: tuple[int, int],
    ) -> device.Slots:
        """Admits waiting groups while they fit, by prefills of one width each."""
        for call in work.refill():
            slots = self._admit(weights, slots, *self._admission(call, work, run), sampling)
        return slots

    def _admit(
        self,
        weights: Params,
        slots: device.Slots,
        prompts: jax.Array,
        entering: device.Admission,
        sampling: Sampling,
    ) -> device.Slots:
        """Prefills each prefix once, for all who enter with it."""
        # logits f32[P, vocab] and a cache of P rows, which `fill` copies to every sample's slot.
        logits, cache = self.programs.prefill(weights, prompts, entering.lengths)
        filled = self.programs.fill(slots.cache, entering, cache)
        books = self.programs.enter(slots.replace(cache=None), entering, logits, sampling=sampling)
        return books.replace(cache=filled)

    def _admission(
        self, call: Prefill, work: Schedule, run: tuple[int, int]
    ) -> tuple[jax.Array, device.Admission]:
        """The prefixes i32[P, width] of a prefill, and who goes on from them."""
        # Always as many rows (P) and entries (R) as the width allows, so that one program serves.
        rows, size = work.rows(call.width), work.entries(call.width)
        prefixes, lengths = np.zeros((rows, call.width), np.int32), np.ones(rows, np.int32)
        # Entries beyond the last request go to slots that do not exist, each to one of its own.
        slot = work.shape.slots + np.arange(size, dtype=np.int32)
        source, problem, sample, limit, count = (np.zeros(size, np.int32) for _ in range(5))
        (seed, rollout), began = run, np.zeros(size, np.int32)
        for row, prefix in enumerate(call.prefixes):
            lengths[row] = len(prefix)
            prefixes[row, : len(prefix)] = prefix
        for at, (row, slot_index, request) in enumerate(call.entering):
            slot[at], source[at], limit[at] = slot_index, row, request.limit
            problem[at], sample[at], count[at] = request.problem, request.sample, request.count
            began[at] = rollout if request.rollout is None else request.rollout
        put = self._whole
        keys = self.programs.keys(seed, put(began), put(problem), put(sample))
        return put(prefixes), device.Admission(
            lengths=put(lengths),
            slot=put(slot),
            source=put(source),
            key=keys,
            limit=put(limit),
            count=put(count),
        )

    def _collect(
        self, slots: device.Slots, steps: jax.Array, work: Schedule
    ) -> Iterator[Generated]:
        """Yields what has finished and frees its slots, and those that must wait; returns slots."""
        active, count, stopped, steps = jax.device_get(self.programs.look(slots, steps))
        self.steps_taken += int(steps)
        self.slot_steps += int(steps) * work.shape.slots
        work.see(count)
        halted = np.zeros_like(active)
        # Tokens and log-probabilities [S, C] are fetched only if some completion is looked at.
        read = functools.cache(lambda: Drawn(**jax.device_get(self.programs.read(slots))))
        for slot, request in work.held():
            if active[slot] and not self._read:
                continue
            drawn = request.drawn(read().row(slot), self._routes(slots, slot))
            at_string = first_stop(
                drawn.tokens, request.searched, self.stop_strings, self.detokenize, self.stop_rule
            )
            request.searched = request.count
            # A stop string ends on the host what the device would go on with.
            halted[slot] = active[slot] and at_string is not None
            if active[slot] and at_string is None:
                continue
            work.release(slot)
            reason = "length" if at_string is None and not stopped[slot] else "stop"
            n = request.count if at_string is None else at_string
            yield request.ended(drawn.cut(0, n), reason)
        if work.target() is None:
            for slot, request in work.full():
                drawn = request.drawn(read().row(slot), self._routes(slots, slot))
                work.park(slot, drawn)
                halted[slot], self.evictions = True, self.evictions + 1
        return self.programs.halt(slots, self._whole(halted)) if halted.any() else slots

    def _cut(
        self, slots: device.Slots, rest: Sequence[tuple[int | None, Request]]
    ) -> Iterator[Generated]:
        """Yields unfinished completions as they are."""
        read = Drawn(**jax.device_get(self.programs.read(slots)))
        for slot, request in rest:
            drawn = request.kept
            if slot is not None:
                drawn = request.drawn(read.row(slot), self._routes(slots, slot))
            yield request.ended(drawn, None)

    def _routes(self, slots: device.Slots, slot: int) -> np.ndarray | None:
        """[L, W], the experts that the tokens of a slot took; None in a model without."""
        if kinds.routes(self.model) is None:
            return None
        return jax.device_get(self.programs.routes(slots.cache, jnp.int32(slot)))

    def _climb(self, slots: device.Slots, work: Schedule) -> device.Slots:
        """Moves to other shapes when it is time, array by array: old ones go as new ones come."""
        while (target := work.target()) is not None:
            slots = self._move(slots, work, work.climb(target))
        return slots

    def _move(self, slots: device.Slots, work: Schedule, rows: np.ndarray | None) -> device.Slots:
        rows = None if rows is None else self._whole(rows)
        length, columns = work.shape.length, min(work.shape.length, self.config.max_tokens)

        def moved(kept: Kept, old: jax.Array) -> jax.Array:
            new = self.programs.resize(old, rows, length, kept.axes)
            old.delete()  # before the next array comes: never two caches at once
            return new

        books = self.programs.resize_books(slots.replace(cache=None), rows, columns)
        return books.replace(cache=caches.each(moved, self.model, slots.cache))

    def _whole(self, x: np.ndarray) -> jax.Array:
        return place(x, replicated(self.mesh))
