"""Shapes of generation, and who is in which slot when: the laws of ladder and schedule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.rollout.ladder import EngineConfig, ladder, widths
from r1jax.rollout.requests import Drawn, Prompt, requests
from r1jax.rollout.schedule import Schedule


@pytest.mark.parametrize(
    ("config", "shards", "shapes"),
    [
        (EngineConfig(), 1, [(64, 512)]),
        (EngineConfig(512, 160, 288), 1, [(512, 448)]),
        (EngineConfig(128, 512, 1024), 1, [(128, 768), (128, 1536), (64, 1536)]),
        (EngineConfig(256, 128, 1024), 1, [(256, 640), (256, 1152), (64, 1152)]),
        (EngineConfig(256, 128, 1024, first_length=1152), 1, [(256, 1152)]),
        (
            EngineConfig(512, 2048, 32_768, cache_tokens=64 * 34_816),
            1,
            [(512, 2176), (512, 4352), (256, 8704), (128, 17_408), (64, 34_816)],
        ),
        (
            EngineConfig(32, 512, 1024, cache_tokens=16 * 1536, tail=4),
            8,
            [(32, 768), (16, 1536), (8, 1536)],
        ),
        (
            EngineConfig(12, 8, 96, first_length=16, tail=0),
            8,
            [(12, 16), (12, 32), (12, 64), (12, 104)],
        ),
    ],
)
def test_the_shapes_of_known_configurations(config, shards, shapes):
    assert [tuple(s) for s in ladder(config, shards)] == shapes


CONFIGS = st.builds(
    EngineConfig,
    slots=st.integers(1, 600),
    max_prompt=st.integers(1, 3000),
    max_tokens=st.integers(1, 40_000),
    cache_tokens=st.one_of(st.just(0), st.integers(1, 3_000_000)),
    first_length=st.one_of(st.just(0), st.integers(1, 5000)),
    tail=st.integers(0, 100),
)


@given(CONFIGS, st.sampled_from([1, 2, 3, 8]))
@example(EngineConfig(max_prompt=1, max_tokens=4096, first_length=2), 1)  # of 13 shapes
def test_a_ladder_rises_to_the_whole_length_within_its_bound(config, shards):
    whole = config.max_prompt + config.max_tokens
    try:
        shapes = ladder(config, shards)
    except UserError as error:
        if "first-length" in str(error):
            assert 0 < config.first_length <= config.max_prompt
        else:
            enough = int(str(error).split("at least ")[1].split(",")[0])
            assert config.cache_tokens < enough
            assert ladder(replace(config, cache_tokens=enough), shards)
            with pytest.raises(UserError, match="--rollout.cache-tokens"):
                ladder(replace(config, cache_tokens=enough - 1), shards)
        return
    slots, lengths = zip(*shapes, strict=True)
    assert lengths[-1] == whole and slots[0] <= config.slots
    assert list(lengths) == sorted(lengths) and list(slots) == sorted(slots, reverse=True)
    # Halvings of the whole, and the tail.
    assert len(set(shapes)) == len(shapes) <= whole.bit_length() + 1
    assert lengths[0] > config.max_prompt
    for s, length in shapes:
        assert not config.cache_tokens or s * length <= config.cache_tokens
        assert s >= 1 and (config.slots / s).is_integer() and (config.slots // s).bit_count() == 1
        assert config.slots % shards or s % shards == 0
    assert widths(config, shapes)[-1] == whole and config.max_prompt in widths(config, shapes)


def simulate(config, prompts, wanted):
    """A schedule driven without a device; `wanted[prompt, sample]` tokens end each completion."""
    shapes = ladder(config)
    work = Schedule(config, shapes, requests(prompts, config, shapes[0].slots, None))
    ended, total = [], Counter()
    while work.unfinished:
        for batch in work.refill():
            assert len(batch.prefixes) <= work.rows(batch.width)
            assert max(map(len, batch.prefixes)) <= batch.width <= work.shape.length
            total["prefills"] += 1
            total["prefilled"] += len(batch.prefixes)
            total["rows"] += work.rows(batch.width)
            for row, slot, request in batch.entering:
                assert len(batch.prefixes[row]) == request.length < work.shape.length
                assert (slot, request) in work.held()
                request.count += 1
        left = {slot: wanted[r.prompt, r.sample] - r.count for slot, r in work.held()}
        assert len(left) <= work.shape.slots and left
        running = sorted(n for n in left.values() if n)
        missing = work.enough_free() - (work.shape.slots - len(running))
        steps = running[min(missing, len(running)) - 1] if running and missing > 0 else 0
        room = [work.shape.length - r.length for slot, r in work.held() if left[slot]]
        steps = min([steps, config.steps, *room])
        count = np.zeros(work.shape.slots, int)
        for slot, request in work.held():
            count[slot] = request.count + min(steps, left[slot])
            total["useful"] += min(steps, left[slot])
        work.see(count)
        total["steps"] += steps
        total["slot_steps"] += steps * work.shape.slots
        total["pauses"] += 1
        for slot, request in work.held():
            if request.count == wanted[request.prompt, request.sample]:
                work.release(slot)
                ended.append((request.prompt, request.sample))
        if work.target() is None:
            for slot, request in work.full():
                total["evictions"] += 1
                drawn = Drawn(*np.zeros((3, request.count), int))
                work.park(slot, request.drawn(drawn))
        if (target := work.target()) is not None:
            work.climb(target)
    assert sorted(ended) == sorted(wanted), "nothing is lost or finished twice"
    return total


@pytest.mark.parametrize(
    ("slots", "batches"),
    [
        (5, [(16, [0, 2]), (64, [1, 3]), (16, [4])]),
        (4, [(16, [0, 2]), (64, [1, 3])]),
        (1, [(16, [0])]),
    ],
)
def test_the_first_in_line_brings_those_of_its_width(slots, batches):
    config = EngineConfig(slots, 64, 64, prefill=2)
    prompts = [Prompt((2,) * n, i, 1) for i, n in enumerate((10, 50, 12, 60, 9))]
    work = Schedule(config, ladder(config), requests(prompts, config, slots, None))
    found = [(b.width, [request.prompt for *_, request in b.entering]) for b in work.refill()]
    assert found == batches
    assert [request.prompt for _, request in work.held()] == [i for _, own in batches for i in own]


def test_slots_are_well_used_on_completions_of_mixed_lengths():
    rng, n, sigma = np.random.default_rng(0), 4096, 0.8
    lengths = np.clip(rng.lognormal(np.log(300) - sigma**2 / 2, sigma, n), 1, 2048).astype(int)
    prompts = [Prompt((2,) * int(k), i, 1) for i, k in enumerate(rng.integers(64, 513, n))]
    wanted = {(i, 0): int(k) for i, k in enumerate(lengths)}
    for bound, evicted in ((0, False), (256 * 1280, True)):
        config = EngineConfig(256, 512, 2048, cache_tokens=bound)
        total = simulate(config, prompts, wanted)
        assert total["useful"] / total["slot_steps"] > 0.85
        assert bool(total["evictions"]) == evicted
        assert total["prefills"] < n / 4, "prompts are prefilled together"
        assert total["prefilled"] / total["rows"] > 0.85, "prefills are nearly full"


@given(st.data())
def test_every_request_is_finished_once_whatever_the_shapes(data):
    slots = data.draw(st.sampled_from([1, 2, 4, 8]))
    config = EngineConfig(
        slots=slots,
        max_prompt=8,
        max_tokens=120,
        prefill=3,
        refill=data.draw(st.sampled_from([0.0, 0.5, 1.0])),
        steps=data.draw(st.sampled_from([1, 7, 512])),
        cache_tokens=data.draw(st.sampled_from([0, 128, 256])) * slots // 2,
        first_length=data.draw(st.sampled_from([9, 16, 60, 500])),
        tail=data.draw(st.sampled_from([0, 1, 2])),
    )
    groups = data.draw(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 9)), max_size=8))
    prompts = [Prompt((2,) * length, i, samples) for i, (length, samples) in enumerate(groups)]
    wanted = {
        (i, j): data.draw(st.integers(1, 120))
        for i, p in enumerate(prompts)
        for j in range(p.samples)
    }
    try:
        simulate(config, prompts, wanted)
    except UserError as error:
        assert "--rollout.cache-tokens" in str(error)
