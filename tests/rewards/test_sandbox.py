"""The sandbox itself: limits by flag, values that cross, refusal, verdicts."""

from __future__ import annotations

import math
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.rewards.sandbox import Calls, SandboxConfig, Streams, Verdict, host, run_program
from r1jax.rewards.sandbox.wire import Opaque, Strange, decode, encode
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.reward import RewardConfig

isolated = pytest.mark.skipif(
    host.isolation_error() is not None, reason="programs cannot be isolated"
)
ANYWHERE = SandboxConfig(unsafe=True)


def calls(*tests, names=("f",)):
    return Calls(tests, names)


def run(program, *tests, share=False, **limits):
    config = SandboxConfig(unsafe=True, **limits)
    return run_program(textwrap.dedent(program), calls(*tests), config, share)


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program, verdict",
    [
        ("def f(x): return x + 1", Verdict(3, 3, "")),
        ("def f(x): return 2", Verdict(1, 3, "wrong")),
        ("def f(x): return 1 / 0", Verdict(0, 3, "wrong")),
        ("f = 3", Verdict(0, 3, "wrong")),
        ("g = 3", Verdict(0, 3, "wrong")),
        ("import os\ndef f(x): os._exit(0)", Verdict(0, 3, "died")),
        ("def f(x): return 'x' * (1 << 25)", Verdict(0, 3, "wrong")),
    ],
)
def test_the_first_failure_ends_it(program, verdict):
    assert run(program, "assert f(1) == 2", "assert f(2) == 3\nassert f(3) == 4") == verdict


def test_share_counts_what_passes():
    tests = ("assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 2", "assert f(4) == 5")
    assert run("def f(x): return 2", *tests, share=True) == Verdict(2, 4, "wrong")
    assert run("def f(x): return 2", *tests, share=True).share == 0.5
    assert run("def f(x): return 2 if x < 2 else exit()", *tests, share=True).passed == 1


def test_no_test_is_no_success():
    verdict = run("def f(x): return 2", "f(1)")
    assert verdict == Verdict(0, 0, "wrong") and not verdict.right and verdict.share == 0.0


def test_output_is_compared_without_white_space_at_ends():
    def printed(text, expected):
        return run_program(f"print({text!r}, end='')", Streams((("", expected),)), ANYWHERE).right

    assert printed("1 2\n3\n", "1 2 \n3\n\n") and printed("1 \r\n2", "1\n2") and printed("", "\n")
    assert not printed("1  2", "1 2") and not printed("1\n\n2", "1\n2") and not printed(" 1", "1")


def test_every_input_is_a_fresh_run():
    program = "import random\ncount = 0\ncount += int(input())\nprint(count)"
    pairs = Streams(tuple((f"{i}\n", f"{i}\n") for i in range(10)))
    assert run_program(program, pairs, ANYWHERE) == Verdict(10, 10, "")
    assert run_program("print(3)", pairs, ANYWHERE, share=True) == Verdict(1, 10, "wrong")


def test_a_long_input_does_not_block():
    program = "print('x' * 1000000)\nprint(len(input()))"
    pairs = Streams((("y" * 1_000_000, "x" * 1_000_000 + "\n1000000"),))
    assert run_program(program, pairs, ANYWHERE).right


def test_a_program_is_read_as_the_first_that_is_python():
    tests = calls("assert f(1) == 2")
    assert run_program(["def f(x:", "def f(x): return 2"], tests, ANYWHERE).right


# --- limits, one flag each --------------------------------------------------------------------

LOOP = """
    import time
    def f(x):
        end = time.process_time() + x
        while time.process_time() < end: pass
        return 1
"""


def test_cpu_seconds():
    assert run(LOOP, "assert f(0.6) == 1", cpu_seconds=3, wall_seconds=5).right
    assert run(LOOP, "assert f(0.6) == 1", cpu_seconds=0.2, wall_seconds=5).reason == "cpu"


def test_cpu_seconds_are_those_of_all_tests():
    tests = ["assert f(0.2) == 1"] * 4
    assert run(LOOP, *tests, cpu_seconds=0.5, wall_seconds=5).reason == "cpu"
    program = textwrap.dedent(LOOP) + "print(f(0.2))"
    pairs = Streams((("", "1"),) * 4)
    verdict = run_program(program, pairs, SandboxConfig(cpu_seconds=0.5, unsafe=True))
    assert verdict.reason == "cpu" and 1 <= verdict.passed <= 3


def test_wall_seconds():
    program = "import time\ndef f(x):\n    time.sleep(0.5)\n    return 1"
    assert run(program, "assert f(0) == 1", wall_seconds=5).right
    assert run(program, "assert f(0) == 1", wall_seconds=0.2).reason == "wall"


def test_a_test_that_never_ends_costs_the_program_its_verdict_and_no_more():
    assert run("def f(x): return 1", "while f(1): pass", wall_seconds=0.5).reason == "wall"
    assert run("def f(x): return 1", "while 1: pass", wall_seconds=0.5).reason == "wall"
    assert run("def f(x): return 1", "assert f(1)").right


@pytest.mark.skipif(host.sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
def test_memory_mb():
    program = "def f(x): return len(bytearray(x << 20))"
    assert run(program, "assert f(100)", memory_mb=256).right
    assert not run(program, "assert f(100)", memory_mb=96).right


def test_file_mb():
    program = """
        def f(x):
            with open("a", "wb") as file: file.write(bytes(x << 20))
            return 1
    """
    assert run(program, "assert f(3) == 1", file_mb=5).right
    assert not run(program, "assert f(3) == 1", file_mb=2).right


@isolated
def test_file_mb_counts_all_files_together():
    program = """
        def f(x):
            for i in range(x):
                with open(str(i), "wb") as file: file.write(bytes(1 << 20))
            return 1
    """
    assert run(program, "assert f(4) == 1", file_mb=6).right
    assert not run(program, "assert f(9) == 1", file_mb=6).right


@isolated
def test_processes():
    program = """
        import threading
        def f(x):
            done = threading.Event()
            team = [threading.Thread(target=done.wait) for _ in range(x)]
            for one in team: one.start()
            done.set()
            return 1
    """
    assert run(program, "assert f(7) == 1", processes=8).right
    assert not run(program, "assert f(8) == 1", processes=8).right
    assert run(program, "assert f(8) == 1", processes=12).right


@pytest.mark.parametrize(
    "name", ["cpu_seconds", "wall_seconds", "memory_mb", "file_mb", "processes"]
)
def test_senseless_limits_are_refused(name):
    with pytest.raises(UserError, match=f"--sandbox.{name.replace('_', '-')} 0: must be above 0"):
        SandboxConfig(**{name: 0})


def test_programs_that_cannot_be_isolated_are_refused_unless_asked_for(monkeypatch):
    monkeypatch.setattr(host, "isolation_error", lambda: "unshare: Operation not permitted")
    with pytest.raises(UserError, match="isolated here .unshare.* --sandbox.unsafe$") as caught:
        run_program("def f(x): return 2", calls("assert f(1) == 2"))
    assert "\n" not in str(caught.value)
    assert run("def f(x): return 2", "assert f(1) == 2").right
    assert run("import os\nos.fork()\ndef f(x): return 3", "assert f(1) == 2").reason == "wrong"
    assert run("while True: pass", "assert f(1) == 2", cpu_seconds=0.3).reason == "cpu"


def test_a_run_is_refused_whose_limits_leave_a_program_no_room():
    from r1jax.problem import Problem

    programs = [Problem("p", "?", "", "code", {"tests": [{"input": "", "output": ""}]})]
    config = RLConfig(
        sandbox=SandboxConfig(wall_seconds=20, unsafe=True), reward=RewardConfig(wall_seconds=10)
    )
    config.check_programs([Problem("n", "?", "1", "number")])
    with pytest.raises(UserError, match="--sandbox.wall-seconds 20: .* --reward.wall-seconds"):
        config.check_programs(programs)
    RLConfig(sandbox=ANYWHERE).check_programs(programs)


# --- values that cross ------------------------------------------------------------------------

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.complex_numbers(allow_nan=False) | st.integers(-(10**40), 10**40)
)  # fmt: skip
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.integers())
    ),
    max_leaves=20,
)


def refuse(value):
    raise TypeError(type(value))


@given(plain)
def test_plain_values_come_back_as_they_were(value):
    import json

    back = decode(json.loads(json.dumps(encode(value, refuse))))
    assert type(back) is type(value) and back == value


def test_subclasses_lose_their_class_and_iterators_stay_iterators():
    class Always(int):
        def __eq__(self, other):
            return True

    import json
    from collections import Counter, OrderedDict

    def through(value):
        return decode(json.loads(json.dumps(encode(value, refuse))))

    back = through([Always(3), Counter("aa"), OrderedDict(a=1), math.nan, range(0, 9, 2)])
    assert [type(v) for v in back] == [int, dict, dict, float, range] and back[0] != 4
    found = through(x for x in (1, 2))
    assert found != [1, 2] and list(found) == [1, 2]
    assert through({1: 2}.items()) == {1: 2}.items() and through({1: 2}.keys()) == {1}


@pytest.mark.parametrize(
    "data",
    [
        {"exec": "1"},
        {"int": 3},
        {"int": "x"},
        {"set": [[1]]},
        {"dict": [[1]]},
        {"dict": [[[], 1]]},
        {"tuple": 3},
        {"bytes": "0"},
        {"complex": ["x", 1]},
        {"range": [1, 2, 0]},
        {"a": 1, "b": 2},
        {},
    ],
)
def test_strange_values_are_refused(data):
    with pytest.raises(Strange):
        decode(data)


def test_what_is_not_plain_stays_there_and_can_be_handed_back():
    program = """
        class Pair:
            def __init__(self, a): self.a = a
            def __eq__(self, other): return True
        def f(pairs): return sum(p.a for p in pairs)
    """
    names = ("f", "Pair")
    tests = calls("assert f([Pair(1), Pair(2)]) == 3", names=names)
    assert run_program(textwrap.dedent(program), tests, ANYWHERE).right
    tests = calls("assert Pair(1) == 3", names=names)
    assert not run_program(textwrap.dedent(program), tests, ANYWHERE).right
    assert isinstance(decode({"opaque": 3}), Opaque)


def test_exceptions_cross_by_name():
    program = "def f(x): raise ValueError('no')"
    test = "try:\n    f(1)\nexcept ValueError as e:\n    assert str(e) == 'no'\n"
    assert run(program, test).right
    assert not run("def f(x): raise KeyError('no')", test).right


def test_no_test_is_in_the_memory_of_the_program(monkeypatch):
    """Searched in the open sandbox, where a program can read its own memory."""
    if host.sys.platform != "linux":
        pytest.skip("needs /proc")
    monkeypatch.setattr(host, "isolation_error", lambda: "made up")
    program = """
        {more}
        def f(x):
            secret, found = str(9182736454 + 1).encode(), 0
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    first, last = (int(n, 16) for n in line.split()[0].split("-"))
                    if " rw" in line and "[v" not in line:
                        memory.seek(first)
                        data = memory.read(last - first)
                        found += data.count(secret) - data.count(b"=" + secret)
            return found > 1
    """
    # The search itself makes the secret once, and may copy it once.
    test = "assert f(0) is False  # 9182736455 9182736455 9182736455 9182736455"
    assert run(program.format(more=""), test, cpu_seconds=5).right
    known = "known = ' '.join(str(9182736455) for _ in range(50))"
    assert run(program.format(more=known), test, cpu_seconds=5).reason == "wrong"
