"""Traces of chosen updates: the flag, its mistakes, and what it leaves."""

from __future__ import annotations

import gzip
import json

import pytest
from runs import rows, save_model, tiny_run

from r1jax.errors import UserError
from r1jax.run.profile import ProfileConfig, Profiler
from r1jax.stages import zero


@pytest.mark.parametrize("steps", [(0,), (3, 2), (1, 2, 3), (-1, 4)])
def test_steps_that_mean_nothing_are_refused(steps):
    with pytest.raises(UserError, match="--profile.steps .*: expected the first and the last"):
        ProfileConfig(steps)


@pytest.mark.parametrize(
    "steps, first, traced",
    [((), 1, []), ((2,), 1, [2]), ((2, 4), 1, [2, 3, 4]), ((2, 9), 1, [2, 3, 4, 5]),
     ((2, 4), 3, [3, 4]), ((2, 3), 4, [])],
)  # fmt: skip
def test_the_updates_named_are_traced(steps, first, traced, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda *a, **k: said.append("start"))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: said.append("stop"))
    profiler = Profiler(ProfileConfig(steps), tmp_path)
    for update in range(first, 6):
        profiler.before(update)
        said.append(update)
        profiler.after(update)
    profiler.close()
    wanted = [1, 2, 3, 4, 5][first - 1 :]
    if traced:
        wanted.insert(wanted.index(traced[-1]) + 1, "stop")
        wanted.insert(wanted.index(traced[0]), "start")
    assert said == wanted


def test_a_run_leaves_its_trace_with_the_phases_named(tmp_path):
    model = save_model(tmp_path / "model")
    flags = {"updates": 3, "profile.steps": (2, 2)}
    zero.run(tiny_run(model, tmp_path / "run", flags))
    (trace,) = (tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    names = [event.get("name") for event in events]
    assert [names.count(phase) for phase in ("rollout", "reward", "update")] == [1, 1, 1]
    seen = [row["data/tokens_seen"] for row in rows(tmp_path / "run")]
    assert len(seen) == 3 and seen == sorted(seen)
