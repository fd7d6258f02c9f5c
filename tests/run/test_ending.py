"""How a command ends, whatever becomes of its output and whenever Ctrl-C comes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from r1jax.commands.ending import ended
from r1jax.run.signals import boundary, held, watched

SCRIPT = """
import sys
from r1jax.commands.ending import ended
sys.exit(ended(lambda: print("many words\\n" * int(sys.argv[1]))))
"""
FULL = "error: standard output: cannot be written (No space left on device)\n"


def shell(line, count=1):
    """(status, stderr) of the script, whose output goes where a line of bash sends it."""
    command = f'set -o pipefail; "$0" -c "$1" {count} {line}'
    ran = subprocess.run(
        ["bash", "-c", command, sys.executable, SCRIPT], capture_output=True, text=True
    )
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    ("line", "count", "status", "said"),
    [
        ("| head -n 1", 10**6, 141, ""),
        ("| true", 1, 141, ""),
        ("| cat", 10, 0, ""),
        (">/dev/full", 1, 2, FULL),
        (">/dev/full", 10**6, 2, FULL),
        (">/dev/full 2>&1", 1, 2, ""),
        (">&-", 1, 0, ""),
        ("<&- >&- 2>&-", 1, 0, ""),
    ],
)
def test_output_that_cannot_be_written_is_no_traceback(line, count, status, said):
    found = shell(line, count)
    # `true` may end before or after the script has written.
    assert found == (status, said) or (line == "| true" and found == (0, ""))


LATE = """
import os, signal, sys, threading, time
from r1jax.commands.ending import ended, leaving

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored

def again():
    os.kill(os.getpid(), signal.SIGINT)

class Cleared:
    def __del__(self):
        again()

def work():
    if sys.argv[1] == "threads":  # Python waits for it, behind the last line of the program
        threading.Thread(target=lambda: (time.sleep(0.2), again(), time.sleep(5))).start()
    again()
    time.sleep(5)

kept = Cleared() if sys.argv[1] == "clearing" else None
sys.exit(leaving(ended(work), None))
"""


@pytest.mark.parametrize("moment", ["threads", "clearing"])
def test_a_second_interrupt_at_the_last_moment_keeps_the_status(moment):
    ran = subprocess.run([sys.executable, "-c", LATE, moment], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (130, "interrupted\n")


def test_a_second_interrupt_while_the_first_is_told_is_no_traceback(monkeypatch):
    class Interrupted:
        def write(self, text):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", Interrupted())

    def work():
        raise KeyboardInterrupt

    assert ended(work) == 130


@pytest.mark.parametrize("flags", [["-m", "r1jax"], ["-m", "experiments.decontaminate", "--help"]])
def test_help_onto_a_full_disk(flags):
    with open("/dev/full", "w") as full:
        ran = subprocess.run([sys.executable, *flags], stdout=full, stderr=subprocess.PIPE)
    assert (ran.returncode, ran.stderr.decode()) == (2, FULL)


def test_a_descriptor_that_was_closed_is_no_file_of_the_run(tmp_path):
    """What a library writes to descriptor 1 would stand in a checkpoint."""
    code = (
        "import os; from r1jax.commands.ending import ended\n"
        "def work():\n"
        f"    with open({str(tmp_path / 'file')!r}, 'w') as file:\n"
        "        os.write(1, b'from a library')\n"
        "raise SystemExit(ended(work))"
    )
    subprocess.run(["bash", "-c", '"$0" -c "$1" >&-', sys.executable, code], check=True)
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "folder", "loop/below"])
def test_a_file_that_a_system_refuses_is_one_line(tmp_path, name, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert ended(lambda: (tmp_path / name).write_text("")) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / name}: ") and said.count("\n") == 1
    assert ended(lambda: (tmp_path / "file").mkdir(exist_ok=True)) == 2  # a directory of results
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: File exists\n"


def test_a_file_that_should_be_there_keeps_its_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        ended(lambda: (tmp_path / "lost").read_text())


@contextlib.contextmanager
def unread():
    """Standard output is a pipe whose reader has gone."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w", buffering=1) as broken, contextlib.redirect_stdout(broken):
        yield


def test_a_run_that_nobody_reads_ends_where_it_can_be_saved(capsys):
    reached = []

    def work():
        with watched(60), held(lambda: "update 5 is saved"):
            print("update 5")
            reached.append("goes on")
            print("update 5 is judged")
            boundary()
            reached.append("not here")

    with unread():
        assert ended(work) == 141
    assert reached == ["goes on"]
    assert capsys.readouterr().err == "SIGPIPE: ended; update 5 is saved\n"


def test_a_signal_that_took_the_reader_as_well_is_what_ended_the_run(capsys):
    """Ctrl-C reaches `| tee` too."""

    def work():
        with watched(60), held(lambda: "update 5 is saved"):
            os.kill(os.getpid(), signal.SIGINT)
            print("update 5")
            boundary()

    with unread():
        assert ended(work) == 130
    assert "SIGINT: ended; update 5 is saved" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_while_libraries_are_imported_ctrl_c_ends_it_without_a_word(number, status):
    code = (
        "import os, sys; from r1jax import commands\n"
        "def load(name):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        sum(range(10**6))\n"
        "    except BaseException:\n"
        "        raise ImportError('as libraries turn it into') from None\n"
        "commands.load = load\n"
        "sys.exit(commands.run('zero', []))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, "", "")
