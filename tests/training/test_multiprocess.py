"""Two processes of four devices compute what one process of eight computes."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
from compiling import quick_flags
from runs import rows, save_model, tiny_run
from test_resume import written
from tiny import largest_difference

from experiments.gates.command_line import flags
from r1jax.checkpoint import Checkpoints
from r1jax.errors import UserError
from r1jax.presets.zero import PRESETS
from r1jax.run.processes import ProcessConfig, start_processes
from r1jax.training.rl.setup import build, initial_state

UPDATES = 3
CHANGES = {
    "updates": UPDATES,
    "train.updates_per_rollout": 2,
    "loss.beta": 0.1,
    "mesh.fsdp": 2,
    "mesh.tensor": 2,
    "checkpoint.every": 1,
    "export": True,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def start(config, devices, log, *xla):
    """One process of a run, with so many devices of its own."""
    environment = dict(
        os.environ,
        JAX_PLATFORMS="cpu",
        XLA_FLAGS=" ".join([f"--xla_force_host_platform_device_count={devices}", *xla]),
    )
    command = [sys.executable, "-m", "experiments.zero", *flags(config, PRESETS["research"])]
    return subprocess.Popen(
        command, env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(processes, logs):
    try:
        statuses = [process.wait(500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert statuses == [0] * len(processes), "\n".join(log.read_text()[-3000:] for log in logs)


@pytest.mark.slow
def test_two_processes_equal_one(model, tmp_path):
    alone = tiny_run(model, tmp_path / "alone", CHANGES)
    wait([start(alone, 8, tmp_path / "alone.log")], [tmp_path / "alone.log"])

    coordinator = f"127.0.0.1:{free_port()}"
    together = tiny_run(model, tmp_path / "together", CHANGES)
    logs = [tmp_path / f"together{i}.log" for i in range(2)]
    wait(
        [
            start(replace(together, process=ProcessConfig(coordinator, 2, i)), 4, logs[i])
            for i in range(2)
        ],
        logs,
    )
    found, expected = (rows(tmp_path / name) for name in ("together", "alone"))
    assert [row["update"] for row in found] == list(range(1, UPDATES + 1))
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)
    texts = [[row["text"] for row in rows(tmp_path / name, "samples.jsonl")]
             for name in ("together", "alone")]  # fmt: skip
    assert texts[0] == texts[1]
    assert (tmp_path / "together" / "hf" / "model.safetensors").exists()
    assert "report.html" in logs[0].read_text() and "report.html" not in logs[1].read_text()

    parts = build(replace(together, mesh=replace(together.mesh, fsdp=1, tensor=1)), note=print)
    states = []
    for name in ("together", "alone"):
        checkpoints = Checkpoints(tmp_path / name / "checkpoints", 2)
        states.append(checkpoints.restore(UPDATES, initial_state(parts), parts.policy.identity))
        checkpoints.close()
    assert int(states[0].state.update) == UPDATES
    assert [s.meta["done"] for s in states] == [1, 1]  # in mid-rollout
    assert states[0].pending["scored"].keys() >= {"tokens", "columns", "order"}
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, *(s.pending for s in states))
    assert largest_difference(states[0].state.params, states[1].state.params) < 1e-4


@pytest.mark.slow
def test_two_processes_stop_together_where_one_is_asked(model, tmp_path):
    coordinator, path = f"127.0.0.1:{free_port()}", tmp_path / "run"
    endless = {"updates": 10_000, "checkpoint.every": 0, "mesh.fsdp": 2}
    config = tiny_run(model, path, endless)
    logs = [tmp_path / f"log{i}" for i in range(2)]
    processes = [
        start(replace(config, process=ProcessConfig(coordinator, 2, i)), 1, logs[i], *quick_flags())
        for i in range(2)
    ]
    while all(p.poll() is None for p in processes) and written(path) < 3:
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)  # the one that writes nothing
    try:
        statuses = [process.wait(200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [log.read_text() for log in logs]
    assert statuses == [143, 143] and not any("Traceback" in text for text in said), said
    (saved,) = (p.name for p in (path / "checkpoints").iterdir() if p.name.isdigit())
    assert all(f"goes on from the checkpoint of update {saved}" in text for text in said)
    assert written(path) == int(saved)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (ProcessConfig("", 2, 0), "need --process.coordinator"),
        (ProcessConfig("auto", 2, None), "the cluster says both"),
        (ProcessConfig("host:1"), "needs --process.count N"),
        (ProcessConfig("host:1", 2, 2), "from 0 to N - 1"),
    ],
)
def test_process_flags_that_do_not_fit_are_refused(flags, words):
    with pytest.raises(UserError, match=words):
        start_processes(flags)


def test_one_process_needs_no_start():
    start_processes(ProcessConfig())
    assert jax.process_count() == 1 and not jax.distributed.is_initialized()
