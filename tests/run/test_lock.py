"""One process owns a run directory, and nothing that was killed owns it still."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from r1jax.errors import UserError
from r1jax.run.lock import owned
from r1jax.run.names import OWNER
from r1jax.stages.opening import opened
from r1jax.training.rl.config import RLConfig

HOLD = """
import fcntl, json, os, socket, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
who = {"pid": os.getpid(), "host": socket.gethostname(), "since": "2026-01-01 00:00:00"}
print(json.dumps(who), file=file, flush=True)
print("held", flush=True)
sys.stdin.read()
"""


def refused(path, take_over=False):
    with pytest.raises(UserError) as caught, owned(path, take_over):
        pass
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def other(tmp_path):
    """Another process that owns tmp_path."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / OWNER)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_no_run_took_less_than_no_time(tmp_path, monkeypatch):
    """Whatever happens to the clock of the day."""
    monkeypatch.setattr(time, "time", itertools.count(1e9, -3600).__next__)
    with opened(RLConfig(run=str(tmp_path / "run")), page="page") as run:
        run.finish({}, "")
    assert 0 <= json.loads((tmp_path / "run" / "summary.json").read_text())["wall_seconds"] < 3600


def test_a_second_owner_is_refused_in_a_line_that_names_the_first(tmp_path, other):
    for take_over in (False, True):  # whoever is alive is not taken over from
        said = refused(tmp_path, take_over)
        assert f"process {other.pid} on {socket.gethostname()} (since 2026-01-01" in said


def test_a_killed_owner_leaves_no_lock_behind(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert str(other.pid) in (tmp_path / OWNER).read_text()
    with owned(tmp_path, take_over=False):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    assert not (tmp_path / OWNER).exists()


def test_who_is_done_leaves_nothing_and_what_was_made_stays(tmp_path):
    empty, used = tmp_path / "a" / "empty", tmp_path / "a" / "used"
    with owned(empty, False), owned(used, False):
        assert f"process {os.getpid()}" in refused(empty)
        (used / "config.json").write_text("{}")
    assert not empty.exists() and [p.name for p in used.iterdir()] == ["config.json"]


def test_an_owner_on_another_host_is_named_and_refused_until_told_otherwise(tmp_path):
    (tmp_path / OWNER).write_text('{"pid": 7, "host": "node-3", "since": "2026-01-01 00:00:00"}')
    said = refused(tmp_path)
    assert "process 7 on node-3 (since 2026-01-01 00:00:00)" in said and "--take-over" in said
    with owned(tmp_path, take_over=True):
        assert json.loads((tmp_path / OWNER).read_text())["host"] == socket.gethostname()


@pytest.mark.parametrize("text", ["", "{", '{"pid": 4'])
def test_a_name_that_was_cut_short_stops_nobody(tmp_path, text):
    (tmp_path / OWNER).write_text(text)
    with owned(tmp_path, take_over=False):
        assert f"process {os.getpid()}" in refused(tmp_path)


def test_where_no_locks_are_kept_it_is_said_and_the_name_counts(tmp_path, monkeypatch):
    def unkept(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unkept)
    notes = []
    with owned(tmp_path, False, notes.append):
        assert "keeps no locks" in notes[0]
        assert f"process {os.getpid()}" in refused(tmp_path)  # which is alive
    gone = subprocess.Popen(["true"])
    gone.wait()
    who = {"pid": gone.pid, "host": socket.gethostname(), "since": "?"}
    (tmp_path / OWNER).write_text(json.dumps(who))
    with owned(tmp_path, False, notes.append):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def readonly(file, how):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(fcntl, "flock", readonly)
    assert "cannot be written (Read-only file system)" in refused(tmp_path)


@pytest.mark.parametrize("room, said", [(0, "File too large"), (10, "No space left on device")])
def test_a_disk_without_room_for_the_owners_name_is_one_line(tmp_path, room, said):
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        assert refused(tmp_path).endswith(f"cannot be written ({said}); name another")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_cannot_be_written_later_is_one_line_too(tmp_path, code):
    with pytest.raises(UserError, match="cannot be written") as caught, owned(tmp_path, False):
        raise OSError(code, os.strerror(code))
    assert os.strerror(code) in str(caught.value) and "goes on from it" in str(caught.value)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "hf").touch()
    with (
        pytest.raises(UserError, match=r"/hf: cannot be written \(File ex"),
        owned(tmp_path, False),
    ):
        (tmp_path / "hf").mkdir(exist_ok=True)


def test_a_directory_that_vanished_is_named(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(UserError, match=r"run: cannot be written \(No such"), owned(path, False):
        shutil.rmtree(path)
        (path / "metrics.jsonl").open("a")


def test_what_is_wrong_elsewhere_is_not_the_run_directorys(tmp_path):
    with pytest.raises(FileNotFoundError), owned(tmp_path / "run", False):
        (tmp_path / "elsewhere").open()


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "3", '{"host": "other"}', '{"host": 7, "pid": 1, "since": ""}', "[" * 5000],
)
def test_a_file_that_names_no_owner_leaves_the_word_to_the_lock(tmp_path, text):
    (tmp_path / OWNER).write_text(text)
    with owned(tmp_path, take_over=False):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
