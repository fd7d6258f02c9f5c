"""Right programs in ordinary Python pass, whatever their way of printing, ending and answering."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
import time

import pytest

from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards import check_gold
from r1jax.rewards.code import find_tests
from r1jax.rewards.sandbox import Calls, SandboxConfig, Streams, Verdict, host, run_program
from r1jax.rewards.sandbox.compare import same_output

ANYWHERE = SandboxConfig(unsafe=True)
isolated = pytest.mark.skipif(
    host.isolation_error() is not None, reason="programs cannot be isolated"
)

# Each reads two numbers and prints their sum.
ENDINGS = {
    "exit": "print(sum(map(int, input().split())))\nexit()",
    "quit": "print(sum(map(int, input().split())))\nquit(0)",
    "sys.exit": "import sys\nprint(sum(map(int, input().split())))\nsys.exit()",
    "raise SystemExit": "print(sum(map(int, input().split())))\nraise SystemExit",
    "sys.exit of main": """
        import sys
        def main():
            print(sum(map(int, sys.stdin.readline().split())))
        if __name__ == "__main__":
            sys.exit(main())
    """,
    "os._exit": """
        import os
        print(sum(map(int, input().split())), flush=True)
        os._exit(0)
    """,
    "atexit": """
        import atexit
        total = sum(map(int, input().split()))
        atexit.register(lambda: print(total))
    """,
    "atexit and exit": """
        import atexit, sys
        atexit.register(print, sum(map(int, input().split())))
        sys.exit(0)
    """,
    "thread not joined": """
        import threading, time
        def work():
            time.sleep(0.05)
            print(sum(map(int, input().split())))
        threading.Thread(target=work).start()
    """,
    "thread with a deep stack": """
        import sys, threading
        sys.setrecursionlimit(1 << 25)
        threading.stack_size(1 << 26)
        def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
        def main(): print(deep(50_000) - 50_000 + sum(map(int, input().split())))
        threading.Thread(target=main).start()
    """,
    "daemon that goes on": """
        import threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        print(sum(map(int, input().split())))
    """,
    "executor": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor() as pool:
            print(sum(pool.map(int, input().split())))
    """,
    "asyncio": """
        import asyncio
        async def main():
            await asyncio.sleep(0)
            print(await asyncio.to_thread(sum, map(int, input().split())))
        asyncio.run(main())
    """,
    "timer": """
        import threading
        threading.Timer(0.02, lambda: print(sum(map(int, input().split())))).start()
    """,
    "destructor": """
        class Last:
            def __init__(self, n): self.n = n
            def __del__(self): print(self.n)
        last = Last(sum(map(int, input().split())))
    """,
    "generator's end": """
        def work():
            try: yield sum(map(int, input().split()))
            finally: print(total)
        steps = work()
        total = next(steps)
    """,
    "deep recursion": """
        def add(n): return 0 if n == 0 else 1 + add(n - 1)
        print(add(950) - 950 + sum(map(int, input().split())))
    """,
    "a thread fails": """
        import threading
        threading.Thread(target=lambda: 1 / 0).start()
        print(sum(map(int, input().split())))
    """,
}
PRINTING = {
    "saved stdout": """
        import io, sys
        sys.stdout = io.StringIO()
        print("lost")
        sys.__stdout__.write(str(sum(map(int, input().split()))) + "\\n")
    """,
    "replaced stdout": """
        import io, sys
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", line_buffering=False)
        print(sum(map(int, input().split())))
    """,
    "redirected": """
        import contextlib, io
        with contextlib.redirect_stdout(io.StringIO()) as text:
            print(sum(map(int, input().split())))
        print(text.getvalue(), end="")
    """,
    "fdopen": """
        import os
        out = os.fdopen(1, "w")
        out.write(str(sum(map(int, input().split()))))
    """,
    "open(1)": "f = open(1, 'w')\nf.write(str(sum(map(int, input().split()))))",
    "fdopen in a function": """
        import os
        def main():
            os.fdopen(1, "w").write(str(sum(map(int, input().split()))))
        main()
    """,
    "os.write": "import os\nos.write(1, b'%d' % sum(map(int, input().split())))",
    "buffer": "import sys\nsys.stdout.buffer.write(b'%d' % sum(map(int, input().split())))",
    "raw": "import sys\nsys.stdout.buffer.raw.write(b'%d' % sum(map(int, input().split())))",
    "writelines": "import sys\nsys.stdout.writelines([str(sum(map(int, input().split())))])",
    "no line end": "print(sum(map(int, input().split())), end='')",
    "line ends of Windows": "print(sum(map(int, input().split())), end=' \\r\\n\\r\\n')",
    "logging": """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
        logging.info(sum(map(int, input().split())))
    """,
    "memory handler": """
        import logging, logging.handlers, sys
        out = logging.StreamHandler(sys.stdout)
        log = logging.getLogger("a")
        log.addHandler(logging.handlers.MemoryHandler(100, target=out))
        log.error(sum(map(int, input().split())))
    """,
    "/dev/stdout": "f = open('/dev/stdout', 'w')\nprint(sum(map(int, input().split())), file=f)",
    "stderr besides": """
        import sys
        print("debug", file=sys.stderr)
        print(sum(map(int, input().split())))
    """,
    "pprint": "from pprint import pprint\npprint(sum(map(int, input().split())))",
    "own print": """
        import sys
        print = lambda *a: sys.stdout.write(" ".join(map(str, a)) + "\\n")
        print(sum(map(int, input().split())))
    """,
}
READING = {
    "/dev/stdin": "print(sum(map(int, open('/dev/stdin').read().split())))",
    "/dev/stdin after a look": """
        with open("/dev/stdin") as file: first = file.read(1)
        print(sum(map(int, open("/dev/stdin").read().split())))
    """,
    "/dev/fd/0": "print(sum(map(int, open('/dev/fd/0').read().split())))",
    "path": "import pathlib\nprint(sum(map(int, pathlib.Path('/dev/stdin').read_text().split())))",
    "open(0)": "print(sum(map(int, open(0).read().split())))",
    "io.open(0)": "import io\nprint(sum(map(int, io.open(0, 'rb').read().split())))",
    "os.read": "import os\nprint(sum(map(int, os.read(0, 100).split())))",
    "buffer": "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
    "lines": "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))",
    "readlines": "import sys\nprint(*[sum(map(int, x.split())) for x in sys.stdin.readlines()])",
    "fileinput": "import fileinput\nfor a in fileinput.input(): print(sum(map(int, a.split())))",
    "BytesIO": """
        import io, os, sys
        input = io.BytesIO(os.read(0, os.fstat(0).st_size or 1 << 16)).readline
        print(sum(map(int, input().split())))
    """,
    "until the end": """
        while True:
            try: print(sum(map(int, input().split())))
            except EOFError: break
    """,
    "iter(input)": """
        import sys
        for line in iter(sys.stdin.readline, ""): print(sum(map(int, line.split())))
    """,
    "mmap": """
        import mmap
        print(sum(map(int, mmap.mmap(0, 0, access=mmap.ACCESS_READ).readline().split())))
    """,
}
SOURCES = {
    "byte order mark": "\ufeffprint(sum(map(int, input().split())))",
    "lines of Windows": "n = input()\r\nprint(sum(map(int, n.split())))\r\n",
    "a cookie": "# -*- coding: latin-1 -*-\nprint(sum(map(int, input().split())))",
    "__file__": """
        import os, sys
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
        assert "assert" in open(__file__).read() and sys.argv[0] == __file__
        print(sum(map(int, input().split())))
    """,
    "own source": """
        import inspect
        def f(): return sum(map(int, input().split()))
        assert inspect.getsource(f).startswith("def f")
        print(f())
    """,
    "a module of its own": """
        with open("own.py", "w") as file: file.write("f = lambda t: sum(map(int, t.split()))")
        import own
        print(own.f(input()))
    """,
    "annotations": """
        def f(a: int) -> "str": return a
        assert f.__annotations__ == {"a": int, "return": "str"} and __annotations__ == {}
        print(sum(map(f, map(int, input().split()))))
    """,
    "single dispatch": """
        from functools import singledispatch
        @singledispatch
        def f(x): return 0
        @f.register
        def _(x: int): return x
        print(sum(map(f, map(int, input().split()))))
    """,
    "dataclass": """
        from dataclasses import dataclass, fields
        @dataclass
        class Pair:
            a: int
            b: int
        assert [f.type for f in fields(Pair)] == [int, int]
        pair = Pair(*map(int, input().split()))
        print(pair.a + pair.b)
    """,
    "pickle of its own class": """
        import pickle
        class A: pass
        a = A(); a.n = sum(map(int, input().split()))
        print(pickle.loads(pickle.dumps(a)).n)
    """,
    "big numbers": "print(len(str(10**5000)) - 5001 + sum(map(int, input().split())))",
    "file locks": """
        import fcntl, sqlite3
        with open("lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_EX)
        with sqlite3.connect("base.db") as base:
            base.execute("create table t (n)")
            base.executemany("insert into t values (?)", [(n,) for n in input().split()])
            print(*base.execute("select sum(n) from t").fetchone())
    """,
    "__builtins__": "print(__builtins__.sum(map(int, input().split())))",
}
PROGRAMS = {f"{k}: {n}": p for k, table in (("end", ENDINGS), ("print", PRINTING),
            ("read", READING), ("source", SOURCES)) for n, p in table.items()}  # fmt: skip
PAIRS = Streams((("1 2\n", "3\n"), ("40 5", "45")))
OTHERS = Streams((("1 2\n", "4\n"), ("40 5", "5")))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_right_program_passes_whatever_its_ways(name):
    program = textwrap.dedent(PROGRAMS[name])
    assert run_program(program, PAIRS, ANYWHERE) == Verdict(2, 2, "")
    assert run_program(program, OTHERS, ANYWHERE, share=True) == Verdict(0, 2, "wrong")


@pytest.mark.parametrize("name", [n for n in PROGRAMS if "/dev" not in n and "mmap" not in n])
@pytest.mark.slow
def test_python_itself_says_the_same(name, tmp_path):
    """The table is right: a script run by the interpreter prints the sum and ends with 0."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAMS[name]), newline="", encoding="utf-8")
    command = [sys.executable, "-E", "-X", "int_max_str_digits=0", path]
    done = subprocess.run(
        command, input="1 2\n", capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.stdout.strip(), done.returncode) == ("3", 0)


@pytest.mark.parametrize(
    "program",
    [
        "print(3)\nexit(1)",
        "print(3)\nraise ValueError",
        "print(3)\nimport sys\nsys.exit('no')",
        "print(3)\nimport os\nos._exit(2)",
        "print(3)\nimport os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
        "print(3)\nimport atexit\natexit.register(print, 4)",
        "import threading\nprint(3)\nthreading.Thread(target=print, args=(4,)).start()",
        "input('n? ')\nprint(3)",
        "import sys\nsys.stderr.write('3')",
    ],
)
def test_a_wrong_end_or_a_word_too_many_is_wrong(program):
    assert run_program(program, Streams((("1 2\n", "3\n"),)), ANYWHERE).reason == "wrong"


@isolated
def test_compiling_is_inside_the_limits():
    """Nested try/finally doubles the code with each level."""
    nested = "x = 1\n"
    for _ in range(22):
        nested = "try:\n pass\nfinally:\n" + textwrap.indent(nested, " ")
    limits = SandboxConfig(cpu_seconds=1, wall_seconds=3, memory_mb=128)
    for tests in (PAIRS, Calls(("assert f(1) == 2",), ("f",))):
        start = time.monotonic()
        verdict = run_program(nested + "def f(x): return 2\nprint(3)", tests, limits)
        assert not verdict.right and time.monotonic() - start < 4
    assert run_program("print(sum(map(int, input().split())))", PAIRS, limits).right


# --- tolerance --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output, expected, same",
    [
        ("0.3333333333333333\n", "0.333333", True),
        ("0.34", "0.333333", False),
        ("1 2.0000001\nyes", "1 2\nyes", True),
        ("1000000.5", "1000000.4", True),  # as a share
        ("1000000007", "1000000008", False),  # whole numbers are exact
        ("007", "7", True),
        ("1e3", "1000.0", True),
        ("1e400", "1e400", True),
        ("1e400", "1e401", False),
        ("nan", "0.5", False),
        ("inf", "1e400", False),
        ("1_0.0", "10.0", False),
        ("0.5 0.5", "0.5", False),
        ("0.5\n0.5", "0.5", False),
        ("x0.50000001", "x0.5", False),
    ],
)
def test_a_tolerance_is_for_numbers(output, expected, same):
    assert same_output(output, expected, 1e-6) == same
    assert same_output(output, expected, None) == (output == expected)


def test_a_tolerance_is_said_by_the_problem():
    def problem(**data):
        return Problem("third", "?", "", "code", data)

    tests = [{"input": "", "output": "0.333333"}]
    assert run_program(
        "print(1 / 3)", find_tests(problem(tests=tests, tolerance=1e-6)), ANYWHERE
    ).right
    assert not run_program("print(1 / 3)", find_tests(problem(tests=tests)), ANYWHERE).right
    for bad in ("1e-6", 0, -1, 1, True, float("nan")):
        with pytest.raises(UserError, match="problem 'third': tolerance"):
            find_tests(problem(tests=tests, tolerance=bad))
    assert "math.isclose" in check_gold(problem(test_list=["assert f()"], tolerance=0.1))


# --- files of the host ------------------------------------------------------------------------


@isolated
def test_no_lock_reaches_a_file_of_the_host():
    program = """
        import fcntl, os, time
        file = open(os.__file__)
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_SH)
        try: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except PermissionError: pass
        def f(x): return 2
    """
    with open(os.__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held here, and nobody waits for it
        assert run_program(textwrap.dedent(program), Calls(("assert f(1) == 2",), ("f",))).right


@isolated
@pytest.mark.parametrize("call", ["socketpair", "io_setup", "inotify_init1", "syslog"])
def test_calls_that_reach_beyond_are_refused(call):
    from r1jax.rewards.sandbox.calls import DENIED

    place = ("x86_64", "aarch64").index(os.uname().machine)
    program = f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        room = ctypes.create_string_buffer(64)
        def f(x): return [libc.syscall({DENIED[call][place]}, 1, 1, 0, room), ctypes.get_errno()]
    """
    tests = Calls(("assert f(1) == [-1, 1]",), ("f",))
    assert run_program(textwrap.dedent(program), tests).right
