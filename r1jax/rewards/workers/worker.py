"""What runs outside the trainer: a small process that forks reward workers, and the worker itself.

The forking process is started afresh (never forked from the trainer, whose threads and devices
must not be copied), imports the graders once and stays single-threaded, so that a killed worker is
replaced in milliseconds. It and its workers end when the trainer does.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import Any

import psutil

from r1jax.problem import RewardContext
from r1jax.rewards.answers.graders import warm
from r1jax.rewards.workers.board import Board
from r1jax.rewards.workers.sendable import WorkerContext, unpickled
from r1jax.rewards.workers.unit import Status, describe, run_unit, widths

ORDER = struct.Struct("<8sqd40s")
"""What the trainer sends: (order, number, number, grader name) with two files for a fork."""

_PR_SET_PDEATHSIG = 1


def serve(fd: int, graders: list[str]) -> None:
    """The forking process: obeys orders on socket `fd` until the trainer is gone."""
    _reset_signals()
    warm(graders)
    gc.freeze()  # the workers' collections then leave the shared pages alone
    control, trainer = socket.socket(fileno=fd), os.getppid()
    children: set[int] = set()
    while os.getppid() == trainer:
        _reap(children)
        if not select.select([control], [], [], 1.0)[0]:
            continue
        message, files, _, _ = socket.recv_fds(control, ORDER.size, 2)
        if not message:
            break
        while len(message) < ORDER.size:
            message += control.recv(ORDER.size - len(message))
        control.sendall(_obey(message, files, control, children))
    for pid in list(children):
        _kill(pid, children)


def _obey(message: bytes, files: list[int], control: socket.socket, children: set[int]) -> bytes:
    """Carries out one order; the answer is 8 bytes: a process id, or 0."""
    order, number, seconds, text = ORDER.unpack(message)
    order, answer = order.rstrip(b"\0"), 0
    if order == b"fork":
        answer = _fork(files, control, memory_mb=number, cpu_seconds=seconds)
        children.add(answer)
        for file in files:
            os.close(file)
    elif order == b"kill":
        _kill(number, children)
    elif order == b"warm":
        warm([text.rstrip(b"\0").decode()])
    return struct.pack("<q", answer)


def _fork(files: list[int], control: socket.socket, memory_mb: int, cpu_seconds: float) -> int:
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
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        limit = psutil.Process().memory_info().vms + (memory_mb << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(connection: Connection, board: Board, cpu_seconds: float) -> None:
    """The worker: loads rewards and judges chunks until the trainer closes the connection."""
    reward: Any = None
    tokenizer = b""
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
                connection.send_bytes(b"loaded")
                continue
        except BaseException as error:
            connection.send_bytes(b"!" + describe(error).encode("utf-8", "replace"))
            continue
        step, units = parts
        slot = at = 0
        for problems, completions, group_ids in units:
            context: RewardContext = WorkerContext(step, group_ids, tokenizer)
            *starts, at = accumulate(widths(reward, completions) or (), initial=at)
            _call(board, slot, starts, cpu_seconds, reward, problems, completions, context)
            slot += len(completions)
        connection.send_bytes(b"done")


def _call(
    board: Board,
    slot: int,
    starts: list[int],
    cpu_seconds: float,
    reward: Any,
    problems: Any,
    completions: Any,
    context: RewardContext,
) -> None:
    """One call; over the CPU limit its result does not count, however late that is noticed."""
    board.begin(slot)
    outcomes, message = run_unit(reward, problems, completions, context)
    if board.used_cpu() > cpu_seconds * len(completions):
        outcomes, message = [(Status.CPU, 0.0)] * len(completions), ""
    board.finish(slot, outcomes, message, starts)


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
            _kill_group(pid)


def _kill(pid: int, children: set[int]) -> None:
    if pid in children:
        _kill_group(pid)
        os.waitpid(pid, 0)
        children.discard(pid)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left in the group
