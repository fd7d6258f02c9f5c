"""What is on disk can be trusted: every flipped bit and missing file of a checkpoint is found."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import random
import resource
import shutil

import jax.numpy as jnp
import pytest
from test_checkpoint import CONFIG, IDENTITY, PENDING, make_state
from tiny import identical, mesh_of, tiny_params

from r1jax.checkpoint import Checkpoints, load_params
from r1jax.errors import UserError
from r1jax.run import digests
from r1jax.run.digests import find_step
from r1jax.run.saved import Saved


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Checkpoints of the updates 1 and 2; the state they hold, but for the counter."""
    path, state = tmp_path_factory.mktemp("written"), make_state(mesh_of(), 1, seed=1)
    checkpoints = Checkpoints(path, keep=2)
    for step in (1, 2):
        state = state.replace(update=jnp.int32(step))
        checkpoints.save(Saved(state, None, PENDING, IDENTITY))
    checkpoints.close()
    return path, state


@pytest.fixture
def path(written, tmp_path):
    return shutil.copytree(written[0], tmp_path / "checkpoints")


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)


def flip(file, rng):
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def opened(path, **how):
    """(what is said, updates left) as a run goes on from `path`."""
    notes = []
    checkpoints = Checkpoints(path, keep=2, note=notes.append, **how)
    step = checkpoints.latest()
    checkpoints.close()
    return notes, step


def test_every_file_is_sealed_and_nothing_is_wrong_with_it(path):
    assert [digests.fault(path / step) for step in ("1", "2")] == [None, None]
    assert opened(path) == ([], 2)
    # Nor does reading it change any: it is believed as often as it is asked for.
    assert opened(path) == ([], 2) and load_params(path, CONFIG, mesh_of()) is not None


def test_what_belongs_to_a_checkpoint_is_on_the_disk_before_it_counts(written, tmp_path):
    sealed = lambda: digests.sealed(tmp_path / "2")  # noqa: E731
    seen = []
    checkpoints = Checkpoints(tmp_path, keep=2, settle=lambda: seen.append(sealed()))
    checkpoints.save(Saved(written[1], None, {}, IDENTITY))
    checkpoints.close()
    assert seen == [False] and sealed()


def test_every_flipped_bit_is_found(path):
    """One in every file, the digests' own among them, and many more anywhere."""
    rng = random.Random(0)
    every = files(path / "2")
    assert any(p.name == "digests.0.json" for p in every) and len(every) > 10
    for file in [*every, *rng.choices(every, k=100)]:
        whole = file.read_bytes()
        flip(file, rng)
        assert digests.sealed(path / "2") and digests.fault(path / "2"), file
        file.write_bytes(whole)
    assert digests.fault(path / "2") is None


@pytest.mark.parametrize("largest", [None, digests.SMALL])
def test_every_missing_or_cut_file_is_found(path, largest):
    for file in files(path / "2"):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        assert digests.fault(path / "2", largest), file
        file.unlink()
        wrong = digests.fault(path / "2", largest)
        assert wrong and file.name in wrong
        file.write_bytes(whole)


def test_a_damaged_newest_one_is_set_aside_and_the_one_before_is_used(path, written):
    flip(max(files(path / "2"), key=lambda p: p.stat().st_size), random.Random(1))
    notes, step = opened(path)
    assert step == 1 and len(notes) == 1 and "\n" not in notes[0]
    assert "/2: damaged (" in notes[0] and "goes on from update 1" in notes[0]
    assert (path / "2.damaged").is_dir()
    checkpoints = Checkpoints(path, keep=2)
    restored = checkpoints.restore(1, make_state(mesh_of()), IDENTITY)
    assert identical(restored.state.params, written[1].params)
    checkpoints.save(Saved(written[1], None, {}, IDENTITY))  # the same update once more
    checkpoints.close()
    assert opened(path) == ([], 2) and (path / "2.damaged").is_dir()


def test_damage_to_what_an_older_one_says_of_itself_stops_nothing(path):
    (path / "1" / "metrics" / "metrics").write_text("{")
    notes, step = opened(path)
    assert step == 2 and "/1: damaged (metrics/metrics has 1 bytes" in notes[0]


def test_where_none_is_whole_the_run_is_refused_and_nothing_moved(path):
    for step in "12":
        flip(files(path / step)[0], random.Random(2))
    with pytest.raises(UserError, match=r"/2: .* no whole checkpoint before it; --overwrite"):
        Checkpoints(path, keep=2)
    assert {"1", "2"} <= {p.name for p in path.iterdir()}


def test_one_without_digests_is_used_where_it_is_wanted(path):
    (path / "2" / "digests.0.json").unlink()
    before = shutil.copytree(path, path.parent / "other")
    notes, step = opened(before, unverified=True)
    assert step == 2 and "used unverified" in notes[0]
    notes, step = opened(path)
    assert step == 1 and "/2: unverified (was committed without digests)" in notes[0]
    (path / "1" / "digests.0.json").unlink()
    with pytest.raises(UserError, match="--checkpoint.unverified goes on from it"):
        Checkpoints(path, keep=2)


def test_of_several_processes_all_have_to_have_written_theirs(path):
    folder = path / "2"
    digests.seal(folder, 0, 2)
    assert not digests.sealed(folder)
    digests.seal(folder, 1, 2)
    assert digests.sealed(folder) and digests.fault(folder) is None


def test_the_first_one_whose_writing_was_interrupted_is_begun_again(path):
    shutil.rmtree(path / "1")
    (path / "2" / "digests.0.json").unlink()
    digests.mark(path, 2)
    notes, step = opened(path)
    assert step is None and "goes on from the beginning" in notes[0]


def test_who_starts_from_another_runs_checkpoint_has_it_checked(path):
    flip(max(files(path / "2"), key=lambda p: p.stat().st_size), random.Random(3))
    with pytest.raises(UserError, match=r"/2: damaged \(.* is not what was written\)"):
        load_params(path, CONFIG, mesh_of())
    assert identical(load_params(path, CONFIG, mesh_of(), 1), tiny_params(CONFIG, 1))
    assert (path / "2").is_dir()  # it is not ours to move

    (path / "2" / "digests.0.json").unlink()
    assert (find_step(path), find_step(path, unverified=True)) == (1, 2)
    with pytest.raises(UserError, match=r"/2: was committed without digests.*--unverified"):
        load_params(path, CONFIG, mesh_of(), 2)


def test_what_cannot_be_read_at_all_is_one_line(path):
    """Unverified and damaged: whatever Orbax makes of it."""
    (path / "2" / "digests.0.json").unlink()
    for file in files(path / "2"):
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"/2: cannot be read \(") as caught:
        load_params(path, CONFIG, mesh_of(), 2, unverified=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="checkpoints: cannot be read"):
        Checkpoints(path, keep=2, unverified=True)


def test_a_checkpoint_that_goes_while_it_is_read_is_one_line(path):
    checkpoints = Checkpoints(path, keep=2)
    shutil.rmtree(path / "2" / "state")
    with pytest.raises(UserError, match=r"/2: cannot be read \("):
        checkpoints.restore(2, make_state(mesh_of()), IDENTITY)
    checkpoints.close()


# --- disks that are full, or gone ------------------------------------------------------------


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond a few bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_digests(monkeypatch):
    def seal(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "digests.0.json.tmp")

    monkeypatch.setattr(digests, "seal", seal)


@pytest.mark.parametrize("how", ["arrays", "digests", "directory"])
def test_what_cannot_be_written_is_one_line_and_the_one_before_is_whole(
    path, written, monkeypatch, capfd, how
):
    checkpoints, saved = Checkpoints(path, keep=2), Saved(written[1], None, {}, IDENTITY)
    with contextlib.ExitStack() as held:
        held.enter_context(monkeypatch.context())
        if how == "arrays":
            held.enter_context(full_disk())
        elif how == "digests":
            no_digests(monkeypatch)
        else:
            path.rename(path.parent / "gone")
        with pytest.raises(UserError, match="the checkpoint could not be written") as caught:
            checkpoints.save(dataclasses.replace(saved, state=at(written[1], 3)))
            checkpoints.wait()
    said = str(caught.value)
    wrong = {"arrays": "File too large", "digests": "No space left", "directory": "No such file"}
    left = "not there any more either" if how == "directory" else "whole"
    assert "\n" not in said and wrong[how] in said and f"; 2 is {left};" in said
    checkpoints.close()
    if how == "directory":
        shutil.rmtree(path, ignore_errors=True)
        (path.parent / "gone").rename(path)
    monkeypatch.undo()
    assert opened(path)[1] == 2
    assert capfd.readouterr().err == ""


def at(state, step):
    return state.replace(update=jnp.int32(step))
