"""A run that a signal stopped goes on as if nothing had been, whatever it was doing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time

import pytest
from runs import Boundaries, environment, go, rows, save_model
from test_resume import SPLIT, command, make
from tiny import identical

from r1jax.errors import Stopped

CARRY = {"rollout.carry": 2, "rollout.leave": 0.5, "eval.every": 3}
CRITIC = SPLIT | {"loss.advantage_baseline": "critic", "critic.parts": 2}


@pytest.fixture(
    scope="module",
    params=[SPLIT, *(pytest.param(how, marks=pytest.mark.slow) for how in (CARRY, CRITIC))],
    ids=["split", "carry", "critic"],
)
def whole(request, tmp_path_factory):
    """(parts, directory, final loop, boundaries) of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    model = save_model(tmp_path_factory.mktemp("model"))
    parts = make(model, path, request.param | {"updates": 5})
    with pytest.MonkeyPatch.context() as patch:
        clock = Boundaries(patch)
        return parts, path, go(parts, path), clock.seen


def test_stopped_again_and_again_at_any_boundary_it_is_the_same_run(whole, tmp_path, monkeypatch):
    """Ten signals: in rollouts, between micro-batches, as it is judged, between updates."""
    parts, other, expected, boundaries = whole
    path, rng, stops = tmp_path / "run", random.Random(1), []
    assert boundaries > 15
    while len(stops) < 10:
        with monkeypatch.context() as patch:
            Boundaries(patch, rng.randint(1, 8))
            try:
                assert go(parts, path) is not None
                break
            except Stopped as stopped:
                stops.append(stopped)
    assert len(stops) >= 4 and all(s.number == signal.SIGTERM for s in stops)
    assert "goes on from the checkpoint of update" in str(stops[-1])
    loop = go(parts, path)
    assert identical((loop.state, loop.tower), (expected.state, expected.tower))
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert rows(path, name) == rows(other, name)
    assert (path / "eval.json").read_text() == (other / "eval.json").read_text()


@pytest.mark.slow
def test_ten_signals_at_random_moments(tmp_path):
    """The command itself: with and without a boundary in time, it goes on as it was."""
    model = save_model(tmp_path / "model")
    own = environment(tmp_path / "cache")
    changes = SPLIT | CARRY | {"updates": 24, "checkpoint.every": 2}
    end = command(model, tmp_path / "whole", changes)
    subprocess.run(end, env=own, check=True, stdout=subprocess.DEVNULL)
    path, rng, statuses = tmp_path / "run", random.Random(0), []
    log = tmp_path / "log"
    for n in range(10):
        grace = ["--checkpoint.grace", "0" if n % 3 == 2 else "60"]
        process = subprocess.Popen(
            [*command(model, path, changes), *grace],
            env=own, stdout=subprocess.DEVNULL, stderr=log.open("w"),
        )  # fmt: skip
        began = (path / "metrics.jsonl").stat().st_size if (path / "metrics.jsonl").exists() else 0
        while process.poll() is None:
            time.sleep(0.005)
            if (path / "owner.json").exists() and (path / "metrics.jsonl").exists():
                if (path / "metrics.jsonl").stat().st_size > began:
                    break
        time.sleep(rng.uniform(0, 0.3))
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
        process.send_signal(number)
        statuses.append(process.wait())
        assert statuses[-1] in (0, 128 + number), log.read_text()
        assert "Traceback" not in log.read_text()
        assert not (path / "owner.json").exists()
    assert sum(status > 0 for status in statuses) >= 6
    subprocess.run(command(model, path, changes), env=own, check=True)
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert rows(path, name) == rows(tmp_path / "whole", name)
    a, b = (json.loads((tmp_path / n / "eval.json").read_text()) for n in ("run", "whole"))
    assert a == b
