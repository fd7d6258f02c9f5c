"""The process that runs the tests: the program's functions are called across a pipe.

It holds the tests and decides; the program's process holds neither tests nor verdict, and all that
comes from it are plain values (`wire.decode`).
"""

from __future__ import annotations

import os
import random
import signal
import traceback
from typing import Any

from r1jax.rewards.sandbox import calls, linux
from r1jax.rewards.sandbox.compare import same_output
from r1jax.rewards.sandbox.counted import CASE, Counted
from r1jax.rewards.sandbox.stand_ins import Over, Remote, Thing
from r1jax.rewards.sandbox.wire import MAX_FRAME, receive, send

_GRACE_SECONDS = 0.5


def judge(source: int, verdict: int, isolated: bool, others: int, directory: str) -> None:
    """Reads an order and its tests from `source`, writes the verdict; never returns.

    The program's process is forked between the two, before the tests are known here. `others` are
    processes that count against its number; `directory` is where it runs if nothing is isolated.
    """
    try:
        order = receive(source)
        order["processes"] += others
        if not isolated:
            order["processes"] = 1 << 15  # all of the user's processes would count
            order["devices"] = directory
            home = f"{directory}/home"
            os.mkdir(home)
            os.chdir(home)
            os.environ |= {"HOME": home, "TMPDIR": home}
        else:
            order["devices"] = linux.make_directory(order["file_mb"], MAX_FRAME >> 20)
            linux.unshare(linux.NEWPID)
            linux.drop_rights()
            linux.end_with_parent()
        remote = Remote(order, lambda: _confine(isolated), isolated)
        tests = receive(source)
        signal.setitimer(signal.ITIMER_REAL, order["wall_seconds"] + _GRACE_SECONDS)
        _confine(isolated)
        linux.set_limits(
            order["cpu_seconds"] + 1, order["memory_mb"] + 256, order["file_mb"], 1 << 12
        )
        send(verdict, run(remote, tests, order["streams"], order["share"]))
        if not isolated:
            os.killpg(remote.pid, signal.SIGKILL)
    except BaseException:  # without a verdict the host starts a new sandbox
        traceback.print_exc()
    finally:
        os._exit(0)


def _confine(isolated: bool) -> None:
    try:
        calls.filter_calls()
    except OSError:
        if isolated:
            raise


class Cases:
    """Counts the tests: a context around each; a failed one ends them all unless `share`.

    `unseen` are asserts that have yet to run once, whatever the program does.
    """

    def __init__(self, remote: Remote, share: bool) -> None:
        self.passed, self.run, self.unseen = 0, 0, set[int]()
        self._remote, self._share = remote, share

    def __call__(self, number: int) -> Cases:
        self.unseen.discard(number)
        return self

    def __enter__(self) -> None:
        self.run += 1
        self._remote.asserting += 1

    def __exit__(self, kind: type[BaseException] | None, error: Any, where: Any) -> bool:
        self.passed += kind is None
        self._remote.asserting -= 1
        self._remote.show_changes()
        return self._share and kind is not None and issubclass(kind, (Exception, SystemExit))


def run(remote: Remote, tests: dict[str, Any], streams: bool, share: bool) -> dict[str, Any]:
    """The verdict: {"passed", "total", "reason"}."""
    cases, reason, least = Cases(remote, share), "", 0
    try:
        if streams:
            least = len(tests["pairs"])
            remote.ready()
            _streams(remote, tests["pairs"], tests["tolerance"], cases)
        else:
            parts = [Counted(text, tests["entry"]) for text in tests["tests"]]
            for part in parts:
                cases.unseen |= part.required
            remote.ready()
            _calls(remote, tests, parts, cases)
    except Over as over:
        reason = str(over)
    except (Exception, SystemExit):
        reason = "wrong"
    total = max(least, cases.run + len(cases.unseen))
    if not reason and (cases.passed < total or total == 0):
        reason = "wrong"
    return {"passed": cases.passed, "total": total, "reason": reason}


def _calls(remote: Remote, tests: dict[str, Any], parts: list[Counted], cases: Cases) -> None:
    # A test may draw at random: alike in every run, but not as the program could foresee.
    random.seed(repr(tests))
    caught = set[str]().union(*(part.caught for part in parts))
    theirs: dict[str, Any] = {name: Thing(remote, name) for name in tests["names"]}
    theirs |= {name: remote.exception(name) for name in caught.intersection(theirs)}
    # A setup may use what the program defines, and may define a mere stub of it.
    space = {"__name__": "tests"} | theirs
    exec(compile(tests["setup"], "<setup>", "exec", dont_inherit=True), space)
    space |= theirs | {CASE: cases}
    asserts = "assert" in tests["setup"] or any(part.asserts for part in parts)
    for part in parts:
        before = remote.operations, cases.run
        exec(part.code, space)
        if not tests["entry"]:
            _passed_quietly(remote, before, asserts, cases)
    if tests["entry"]:
        before = remote.operations, cases.run
        space["check"](space[tests["entry"]])
        _passed_quietly(remote, before, asserts, cases)


def _passed_quietly(remote: Remote, before: tuple[int, int], asserts: bool, cases: Cases) -> None:
    """Counts what asked the program and came to its end without an assert that ran here.

    So do tests that expect an exception, and those whose asserts stand in a helper of the setup;
    without any assert in sight nothing is tested.
    """
    if asserts and remote.operations > before[0] and cases.run == before[1]:
        with cases:
            pass


def _streams(remote: Remote, pairs: list[list[str]], tolerance: float | None, cases: Cases) -> None:
    for given, expected in pairs:
        with cases:
            answer = remote.ask({"input": given})
            output, reason = answer.get("output"), answer.get("reason")
            if type(output) is not str or reason not in ("", "wrong", "cpu", "output"):
                raise Over("output")
            if reason in ("cpu", "output"):
                raise Over(reason)
            if reason or not same_output(output, expected, tolerance):
                raise AssertionError
