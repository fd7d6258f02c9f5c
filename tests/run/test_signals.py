"""SIGTERM and SIGINT: the end comes at a boundary, in time, or at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from r1jax.commands import cli
from r1jax.errors import Stopped
from r1jax.run.flags import GraceConfig
from r1jax.run.signals import boundary, held, unbroken, watched

KEPT = lambda: "update 5 is saved"  # noqa: E731
NUMBERS = [signal.SIGTERM, signal.SIGINT]


def ask(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python's handler runs between two steps of the program


@pytest.mark.parametrize("number", NUMBERS)
def test_where_it_can_be_saved_the_end_waits_for_a_boundary(number):
    before = signal.getsignal(number)
    reached = []
    with pytest.raises(Stopped, match="update 5 is saved") as caught, watched(60):
        with held(KEPT):
            boundary()
            ask(number)
            reached.append("goes on")
            boundary()
            reached.append("not here")
    assert (caught.value.number, reached) == (number, ["goes on"])
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("wanted", [True, False])
def test_what_changes_in_several_steps_is_not_broken_off_between_them(wanted):
    reached = []
    with pytest.raises(Stopped), watched(60), held(KEPT):
        with unbroken(wanted):
            ask(signal.SIGTERM)
            boundary(often=True)
            reached.append("the second step")
        boundary()
        reached.append("not here")
    assert reached == ["the second step"] * wanted


def test_the_end_of_what_is_held_is_a_boundary():
    with pytest.raises(Stopped), watched(60), held(KEPT):
        ask(signal.SIGTERM)


def test_elsewhere_it_ends_at_once_as_ctrl_c_does():
    with pytest.raises(KeyboardInterrupt) as caught, watched(60):
        ask(signal.SIGTERM)
        pytest.fail("went on")
    assert isinstance(caught.value, Stopped)


def test_a_boundary_without_a_signal_or_a_watch_is_nothing():
    boundary()
    with held(KEPT):
        boundary()
    with watched(60), held(KEPT):
        boundary(often=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_ends_with_a_line_and_the_status_of_the_signal(number, status, capsys):
    def main(config):
        with watched(config.grace), held(KEPT):
            ask(number)

    assert cli.run(main, GraceConfig(), []) == status
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"{signal.Signals(number).name}: ended; update 5 is saved"


STUCK = """
import sys, time
from r1jax.run.signals import farewell, held, watched
with watched(float(sys.argv[1])), farewell(lambda: print("goodbye", flush=True)):
    with watched(float(sys.argv[2])), held(lambda: "update 5 is saved"):
        print("stuck", flush=True)
        while True:
            time.sleep(1)  # no boundary
"""


def stuck(outer, inner):
    command = [sys.executable, "-c", STUCK, str(outer), str(inner)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout.readline() == "stuck\n"
    return process


@pytest.mark.parametrize("grace", [0.2, 0.0])
def test_without_a_boundary_it_ends_when_the_grace_is_over_and_says_on_what(grace):
    process = stuck(60, grace)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=30)
    assert (process.returncode, out) == (143, "goodbye\n")
    first, last = said.splitlines()
    assert f"at the next safe boundary, at most {grace:g} s from now" in first
    assert last == "SIGTERM: ended at once (no safe boundary in time); update 5 is saved"


def test_a_second_signal_ends_it_at_once():
    process = stuck(60, 60)
    process.send_signal(signal.SIGINT)
    assert "SIGINT: ends at the next safe boundary" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "ended at once (a second signal)" in said
