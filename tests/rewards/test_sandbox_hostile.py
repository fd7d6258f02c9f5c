"""Hostile programs: each fails its tests, in bounded time, and touches nothing outside."""

from __future__ import annotations

import os
import textwrap
import time

import psutil
import pytest

from r1jax.rewards.sandbox import Calls, SandboxConfig, Streams, run_program
from r1jax.rewards.sandbox.host import isolation_error

pytestmark = pytest.mark.skipif(isolation_error() is not None, reason="programs cannot be isolated")

LIMITS = SandboxConfig(cpu_seconds=0.5, wall_seconds=1.2, memory_mb=256, file_mb=4, processes=8)
TESTS = Calls(("assert f(3) == 10", "assert f(4) == 17"), ("f",))
RIGHT = "def f(x): return x * x + 1"
PAIRS = Streams((("3\n", "10\n"), ("4\n", "17\n")))

EQUAL = """
    class E:
        __hash__ = None
        def __eq__(self, other): return True
        def __ne__(self, other): return False
        def __bool__(self): return True
    def f(x): return {value}
"""
NEVER = "    def f(x): return -1\n"

# Each defines f wrongly, or never: what it tries instead must not earn it anything.
CALLS = {
    "wrong": "def f(x): return 10",
    "nothing": "",
    "not python": "def f(x: return",
    "early exit": "import sys\nsys.exit(0)",
    "early os exit": "import os\nos._exit(0)",
    "exit in the call": "import sys\ndef f(x): sys.exit(0)",
    "os exit in the call": "import os\ndef f(x): os._exit(0)",
    "exit at exit": "import atexit, os\natexit.register(os._exit, 0)\n" + NEVER.strip(),
    "equal to everything": EQUAL.format(value="E()"),
    "equal inside a list": EQUAL.format(value="[E()]"),
    "int that equals": """
        class I(int):
            def __eq__(self, other): return True
        def f(x): return I(0)
    """,
    "float that equals": """
        class F(float):
            __eq__ = lambda self, other: True
        def f(x): return F(0)
    """,
    "not a number": "def f(x): return float('nan')",
    "patched builtins": """
        import builtins
        for name in ("len", "all", "any", "isinstance", "type", "int", "AssertionError"):
            setattr(builtins, name, lambda *a, **k: True)
        def f(x): return True
    """,
    "no AssertionError": """
        import builtins
        class Quiet(Exception): pass
        builtins.AssertionError = Quiet
        builtins.Exception = Quiet
        def f(x): raise Quiet
    """,
    "patched import": """
        import builtins
        builtins.__import__ = lambda *a, **k: builtins
        def f(x): import ast; return ast
    """,
    "patched json": """
        import json
        json.dumps = lambda *a, **k: '{"passed": 2, "total": 2, "reason": ""}'
        def f(x): return 0
    """,
    "patched protocol": """
        from r1jax.rewards.sandbox import wire, judge
        judge.run = lambda *a: {"passed": 2, "total": 2, "reason": ""}
        judge.Cases.__exit__ = lambda *a: True
        wire.encode = lambda *a: {"passed": 2}
        def f(x): return 0
    """,
    "caller's frame": """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for space in (frame.f_locals, frame.f_globals):
                    for value in list(space.values()):
                        if "assert f(3)" in str(value) or "f(3) ==" in str(value):
                            return int(str(value).split("==")[1 if x == 3 else 2].split("'")[0])
                frame = frame.f_back
            return 0
    """,
    "garbage collector": """
        import gc
        def f(x):
            gc.unfreeze()
            for thing in gc.get_objects():
                if isinstance(thing, (list, tuple, dict)) and "f(%d) ==" % x in str(thing)[:10000]:
                    return int(str(thing).split("f(%d) ==" % x)[1].split("'")[0])
            return 0
    """,
    "own memory": """
        def f(x):
            data = open("/proc/self/mem", "rb").read(1 << 20)
            return 10 if b"assert f(" in data and x == 3 else 17
    """,
    "ctypes memory": """
        import ctypes, gc
        def f(x):
            for thing in gc.get_objects():
                ctypes.string_at(id(thing), 64)
            ctypes.string_at(0)
    """,
    "caller's files": """
        import os
        def f(x):
            for pid in os.listdir("/proc"):
                open(f"/proc/{pid}/environ").read()
            return 10
    """,
    "success mark": """
        import os
        for fd in range(1024):
            try: os.write(fd, b'{"passed": 2, "total": 2, "reason": ""}')
            except OSError: pass
        def f(x): return 0
    """,
    "forged frames": """
        import os, json, struct
        data = json.dumps({"passed": 2, "total": 2, "reason": ""}).encode()
        for fd in range(1024):
            try: os.write(fd, (struct.pack("<I", len(data)) + data) * 5)
            except OSError: pass
        def f(x): return 0
    """,
    "endless frame": """
        import os
        for fd in range(3, 1024):
            try: os.write(fd, b"\\xff\\xff\\xff\\xff" * 1000)
            except OSError: pass
        def f(x): return 0
    """,
    "deep value": """
        def f(x):
            value = []
            for _ in range(100000): value = [value]
            return value
    """,
    "deep forged value": """
        import os, struct
        data = b'{"value": ' + b"[" * 100000 + b"]" * 100000 + b"}"
        for fd in range(3, 1024):
            try: os.write(fd, struct.pack("<I", len(data)) + data)
            except OSError: pass
        def f(x): return 0
    """,
    "value that holds itself": "def f(x):\n    v = []\n    v.append(v)\n    return v",
    "huge value": "def f(x): return 'x' * (1 << 27)",
    "huge number": "def f(x): return 1 << (1 << 29)",
    "endless generator": "import itertools\ndef f(x): return itertools.count()",
    "pickle bomb": """
        class P:
            def __reduce__(self): return exec, ("raise SystemExit(0)",)
        import pickle
        def f(x): return pickle.dumps(P())
    """,
    "odd repr": """
        class R:
            def __repr__(self): return "10"
            __str__ = __repr__
            def __int__(self): return 10
            __index__ = __int__
        def f(x): return R()
    """,
    "nul and unicode": "def f(x): return '\\0\\ud800\\u202e' * 1000",
    "nul in the source": "def f(x): return 1\0",
    "assertion of its own": "def f(x): raise AssertionError",
    "interrupt": "def f(x): raise KeyboardInterrupt",
    "base exception": "class B(BaseException): pass\ndef f(x): raise B",
    "error that fails to print": """
        class B(Exception):
            def __str__(self): raise SystemExit
        def f(x): raise B
    """,
    "fork bomb": "import os\nwhile True: os.fork()",
    "fork bomb that goes on": """
        import os
        while True:
            try: os.fork()
            except OSError: pass
    """,
    "clone by hand": """
        import ctypes
        libc = ctypes.CDLL(None)
        while libc.syscall(56, 17, 0, 0, 0, 0) >= 0 or libc.syscall(57) >= 0 or libc.vfork() >= 0:
            pass
        def f(x): return 0
    """,
    "thread bomb": """
        import threading, time
        while True: threading.Thread(target=time.sleep, args=(60,)).start()
    """,
    "threads that never end": """
        import threading
        def spin():
            while True: pass
        for _ in range(4): threading.Thread(target=spin).start()
        def f(x): return 0
    """,
    "daemon": """
        import os
        if os.fork() == 0:
            os.setsid()
            while True: pass
        def f(x): return 0
    """,
    "subprocess": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'sleep 60'])",
    "another program in its place": "import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 60'])",
    "memory bomb": "a = 'x'\nwhile True: a += a",
    "memory bomb by list": "a = []\nwhile True: a.append(bytearray(1 << 20))",
    "memory bomb by map": "import mmap\na = [mmap.mmap(-1, 1 << 26) for _ in range(1000)]",
    "recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)",
    "recursion in a repr": "def f(x): return eval('(' * 10000 + ')' * 10000)",
    "endless loop": "while True: pass",
    "endless loop in the call": "def f(x):\n    while True: pass",
    "loop beyond Python": "def f(x): return 3 ** 3 ** 17 % 7 + sum(range(10**12))",
    "slow pattern": "import re\ndef f(x): return re.match('(a*)*b', 'a' * 60)",
    "sleep": "import time\ntime.sleep(3600)",
    "sleep in the call": "import time\ndef f(x): time.sleep(3600)",
    "signals ignored": """
        import signal
        for n in range(1, 65):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: pass
    """,
    "stopped": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\ndef f(x): return 0",
    "parent death unset": """
        import ctypes, time
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        time.sleep(3600)
    """,
    "kills its parent": "import os\nos.kill(os.getppid(), 9)\ndef f(x): return 0",
    "kills its group": "import os\nos.killpg(0, 9)\ndef f(x): return 0",
    "kills everyone": "import os\nos.kill(-1, 9)\ndef f(x): return 0",
    "endless output": "while True: print('x' * 65536)",
    "reads its input": "import sys\nsys.stdin.read()\ninput()",
    "huge file": "with open('a', 'wb') as f:\n    while True: f.write(bytes(1 << 20))",
    "many files": """
        for i in range(10**9):
            with open(f"{i}", "wb") as file: file.write(bytes(1 << 16))
    """,
    "open files": "a = [open(f'{i}', 'w') for i in range(10**6)]",
    "memory files": "import os\na = [os.memfd_create('x') for i in range(10**6)]",
    "raised limits": """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        a = bytes(1 << 30)
    """,
    "new user": "import os\nos.setuid(0)\nopen('/etc/shadow').read()",
    "mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
    "new namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "trace the parent": """
        import ctypes, os
        assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0
    """,
    "socket": "import socket\nsocket.create_connection(('127.0.0.1', 22))",
    "datagram": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "download": "import urllib.request\nurllib.request.urlopen('http://example.com')",
    "imports the tests": "import tests.rewards.test_sandbox_hostile as t\nf = t.RIGHT",
    "imports what is installed": "import numpy, pytest",
}  # fmt: skip

STREAMS = {
    "prints every answer": "print(10)\nprint(17)",
    "reads what comes next": "import sys\nprint(10, sys.stdin.read(), 17)",
    "exit before the answer": "import os\nprint(10)\nos._exit(0)",
    "right but fails": "x = int(input())\nprint(x * x + 1)\nraise SystemExit(3)",
    "endless": "while True: print(1)",
    "writes to every file": """
        import os
        for fd in range(1024):
            try: os.write(fd, b"10\\n")
            except OSError: pass
    """,
    "closes and hangs": """
        import os, sys
        print(int(input()) ** 2 + 1, flush=True)
        os.close(1)
        while True: pass
    """,
    "remembers": """
        import os
        open("n", "a").write("x")
        print([0, 10, 17][os.path.getsize("n")])
    """,
    "kills its parent": "import os\nos.kill(os.getppid(), 9)\nos.kill(1, 9)\nprint(0)",
    "fork bomb": "import os\nwhile True: os.fork()",
    "garbage": "import os\nos.write(1, bytes(range(256)) * 1000)",
}


@pytest.fixture
def outside(tmp_path):
    """A file and a directory beyond a program's reach, as it would be without the sandbox."""
    (tmp_path / "kept").write_text("kept")
    return tmp_path


def run(program, tests=TESTS, limits=LIMITS):
    start = time.monotonic()
    verdict = run_program(textwrap.dedent(program), tests, limits)
    return verdict, time.monotonic() - start


def descendants():
    return psutil.Process().children(recursive=True)


def test_there_are_at_least_thirty():
    assert len(CALLS) + len(STREAMS) >= 30


def test_the_right_program_passes():
    assert run(RIGHT)[0].right
    assert run("print(int(input()) ** 2 + 1)", PAIRS)[0].right


@pytest.mark.parametrize("name", CALLS)
def test_a_hostile_program_fails_and_the_next_one_does_not_notice(name):
    before = len(descendants())
    verdict, seconds = run(CALLS[name])
    assert not verdict.right and verdict.reason
    assert seconds < LIMITS.wall_seconds + 1.5
    assert run(RIGHT)[0].right
    assert len(descendants()) <= max(before, 2)  # the box and its first process


@pytest.mark.parametrize("name", STREAMS)
def test_a_hostile_whole_program_fails_and_the_next_one_does_not_notice(name):
    verdict, seconds = run(STREAMS[name], PAIRS)
    assert not verdict.right and verdict.reason
    assert seconds < LIMITS.wall_seconds + 1.5
    assert run("print(int(input()) ** 2 + 1)", PAIRS)[0].right


# What a program does to the file system, and the value it may see at most.
FILES = {
    "deletes": "import shutil\nshutil.rmtree({path!r}, ignore_errors=True)",
    "deletes all": "import os\nfor d, _, fs in os.walk('/'):\n"
    "    for f in fs:\n        try: os.remove(os.path.join(d, f))\n        except OSError: pass",
    "writes": "open({path!r} + '/new', 'w').write('x')",
    "writes upwards": "open('../../../..' + {path!r} + '/new', 'w').write('x')",
    "symlink": "import os\nos.symlink({path!r}, 'link')\nopen('link/kept', 'w').write('x')",
    "hard link": "import os\nos.link({path!r} + '/kept', 'link')",
    "reads": "assert open({path!r} + '/kept').read() == 'kept'",
    "library": "import os\nopen(os.__file__, 'a').write('#')",
    "root": "open('/new', 'w').write('x')",
    "device": "open('/dev/new', 'w').write('x')",
}


@pytest.mark.parametrize("name", FILES)
def test_files_outside_cannot_be_touched_or_read(outside, name):
    verdict, _ = run(FILES[name].format(path=str(outside)) + "\ndef f(x): return x * x + 1")
    if name not in ("deletes", "deletes all"):  # which ask for no success
        assert not verdict.right
    assert sorted(os.listdir(outside)) == ["kept"]
    assert (outside / "kept").read_text() == "kept"
    assert run(RIGHT)[0].right


def test_nothing_of_one_program_is_left_for_the_next():
    assert run("open('mine', 'w').write('x')\n" + RIGHT)[0].right
    assert run("import os\nassert os.listdir('/tmp') == os.listdir() == ['program.py']\n" + RIGHT)[
        0
    ].right


def test_the_environment_is_empty_and_nobody_is_there():
    program = """
        import os, sys
        assert set(os.environ) == {"HOME", "TMPDIR", "PATH", "LANG"}, os.environ
        assert os.getcwd() == os.environ["HOME"] == "/tmp" and os.getpid() == 1 and os.getuid()
        assert os.listdir("/proc") == [] if os.path.exists("/proc") else True
        assert not any("site-packages" in path for path in sys.path)
        def f(x): return x * x + 1
    """
    assert run(program)[0].right
