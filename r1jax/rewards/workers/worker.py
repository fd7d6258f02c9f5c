"""What runs outside the trainer: a small process that forks reward workers, and the worker itself.

The forking process is started afresh (never forked from the trainer, whose threads and devices
must not be copied), imports the graders once and stays single-threaded, so that a killed worker is
replaced in milliseconds. It and its workers end when the trainer does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import resource
import signal
import sys
from collections.abc import Sequence
from itertools import accumulate
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import psutil

from r1jax.problem import RewardContext
from r1jax.rewards.answers.graders import warm
from r1jax.rewards.sandbox import linux
from r1jax.rewards.workers.board import Board
from r1jax.rewards.workers.sendable import WorkerContext, unpickled
from r1jax.rewards.workers.unit import Status, describe, run_unit, widths


def serve(fd: int, graders: list[str], modules: list[str]) -> None:
    """The forking process: obeys orders on the connection `fd` until the trainer is gone."""
    _reset_signals()
    _adopt()
    _ready(graders, modules)
    control, trainer = Connection(fd), os.getppid()
    children: set[int] = set()
    while os.getppid() == trainer:
        _reap(children)
        if not control.poll(1.0):
            continue
        try:
            order = control.recv()
        except (EOFError, OSError):
            break
        control.send(_obey(control, children, *order))
    for pid in list(children):
        _kill(pid, children)


def _obey(control: Connection, children: set[int], order: str, *arguments: Any) -> int:
    """Carries out an order: fork (two files follow), kill or ready. The new process, or 0."""
    if order == "kill":
        _kill(*arguments, children)
    elif order == "ready":
        _ready(*arguments)
    if order != "fork":
        return 0
    files = [reduction.recv_handle(control) for _ in range(2)]
    pid = _fork(files, control, *arguments)
    children.add(pid)
    for file in files:
        os.close(file)
    return pid


def _ready(graders: list[str], modules: list[str]) -> None:
    """Imports what workers would otherwise import one by one."""
    warm(graders)
    for module in modules:
        with contextlib.suppress(Exception):  # a worker that needs it will say so
            importlib.import_module(module)
    gc.freeze()  # the workers' collections then leave the shared pages alone


def _fork(files: list[int], control: Connection, memory_mb: int, cpu_seconds: float) -> int:
    pid = os.fork()
    if pid:
        try:
            os.setpgid(pid, pid)
        except (PermissionError, ProcessLookupError):
            pass  # the child was faster, or is gone already
        return pid
    try:
        os.setpgid(0, 0)  # a worker is killed together with whatever it started
        control.close()
        for file in files:
            os.set_inheritable(file, False)
        connection, board = Connection(files[0]), Board(files[1])
        os.close(files[1])
        _limit(memory_mb)
        _work(connection, board, cpu_seconds)
    except BaseException as error:
        print(f"reward worker: {describe(error)}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


def _limit(memory_mb: int) -> None:
    """Bounds the address space above what is mapped now; no core files; ends with the parent."""
    _adopt()
    if sys.platform == "linux":
        linux.end_with_parent()
        limit = psutil.Process().memory_info().vms + (memory_mb << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(connection: Connection, board: Board, cpu_seconds: float) -> None:
    """The worker: loads a reward and judges chunks until the trainer closes the connection.

    One that has run out of memory is spent: what it holds would cost every later answer.
    """
    reward: Any = None
    tokenizer, room = b"", 0
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            kind, *parts = pickle.loads(message)
            if kind == "reward":
                reward = pickle.loads(parts[0])
                tokenizer = parts[1]
                if tokenizer and reward.per_token:
                    unpickled(tokenizer)  # no completion has to pay for its imports
                room = _room()
                connection.send_bytes(b"loaded")
                continue
        except BaseException as error:
            connection.send_bytes(b"!" + describe(error).encode("utf-8", "replace"))
            continue
        whole = _judge(board, cpu_seconds, reward, tokenizer, *parts)
        connection.send_bytes(b"done" if whole and _room() >= room // 2 else b"spent")


def _judge(
    board: Board, cpu_seconds: float, reward: Any, tokenizer: bytes, step: int, units: Sequence[Any]
) -> bool:
    """Judges the units of a chunk; False where memory has run out, and the rest is left."""
    worker, slot, at = os.getpid(), 0, 0
    for problems, completions, group_ids in units:
        context: RewardContext = WorkerContext(step, group_ids, tokenizer)
        *starts, at = accumulate(widths(reward, completions) or (), initial=at)
        board.begin(slot)
        outcomes, message = run_unit(reward, problems, completions, context)
        if os.getpid() != worker:  # a copy that the reward has made: the worker itself will answer
            os._exit(0)
        # Over the CPU limit the result does not count, however late that is noticed.
        if board.used_cpu() > cpu_seconds * len(completions):
            outcomes, message = [(Status.CPU, 0.0)] * len(completions), ""
        board.finish(slot, outcomes, message, starts)
        if outcomes[0][0] == Status.MEMORY:
            return False
        slot += len(completions)
    return True


def _room() -> int:
    """Bytes of address space that are left, where they are limited."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return 0 if limit == resource.RLIM_INFINITY else limit - psutil.Process().memory_info().vms


def _adopt() -> None:
    """Orphans of a process below become its children, and end with it."""
    if sys.platform == "linux":
        linux.adopt_orphans()


def _reset_signals() -> None:
    """Default handlers and an empty mask, whatever the trainer had; Ctrl-C is the trainer's."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _reap(children: set[int]) -> None:
    """Collects workers that ended by themselves, and ends what they left running."""
    for pid in list(children):
        if os.waitpid(pid, os.WNOHANG)[0]:
            children.discard(pid)
            _kill_rest(pid, children)


def _kill(pid: int, children: set[int]) -> None:
    if pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        children.discard(pid)
        _kill_rest(pid, children)


def _kill_rest(pid: int, children: set[int]) -> None:
    """Ends what a worker has left: its group, and those in other sessions, by now our children."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left in the group
    while orphans := set(linux.children()) - children:
        for orphan in orphans:
            os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, 0)
