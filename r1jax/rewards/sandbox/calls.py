"""A filter of system calls: no processes, sockets or locks; nothing reaches another process."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from r1jax.rewards.sandbox.linux import call, no_new_rights

# name -> number on (x86_64, aarch64); None where there is no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # New processes and sockets.
    "fork": (57, None), "vfork": (58, None), "socket": (41, 198), "socketpair": (53, 199),
    # What reaches into another process.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    # Namespaces, mounts and files behind them.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    # Parts of the kernel that had holes and that no program here needs.
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "fanotify_init": (300, 262), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "personality": (135, 92), "syslog": (103, 116),
    # Of what they use the whole system, or the user, has only so much.
    "io_setup": (206, 0), "inotify_init": (253, None), "inotify_init1": (294, 26),
    # Memory outside the limits, or shared with others.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip

_FLOCK, _FCNTL = (73, 32), (72, 25)
_LOCKS = (6, 7, 37, 38)
"""Ways to lock a file by fcntl: said to be done, since nobody is there to lock it against, and not
done, since the libraries are files of the host."""
_REFUSED_FCNTL = (1024, 1026)  # to be told, and asked, what others do with a file

_ARCHITECTURES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT, _SECOND_AT = 0, 4, 16, 24
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def filter_calls() -> None:
    """From now on this process may start threads but no processes, and none of `DENIED`.

    Raises OSError where the kernel or the machine has no such filter.
    """
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter of system calls for {machine}")
    no_new_rights()
    code = ctypes.create_string_buffer(_filter(machine))
    program = _Program(len(code) // 8, ctypes.cast(code, ctypes.c_void_p))
    call("prctl", _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0, what="seccomp")


def _filter(machine: str) -> bytes:
    place, architecture, clone = _ARCHITECTURES[machine]
    refuse = _ERRNO | errno.EPERM
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, refuse)]
    for numbers in DENIED.values():
        if numbers[place] is not None:
            steps += [(_EQUAL, 0, 1, numbers[place]), (_RETURN, 0, 0, refuse)]
    steps += [(_EQUAL, 0, 1, _FLOCK[place]), (_RETURN, 0, 0, _ERRNO)]
    by_command = [(number, _ERRNO) for number in _LOCKS]
    by_command += [(number, refuse) for number in _REFUSED_FCNTL]
    steps += [(_EQUAL, 0, 2 + 2 * len(by_command), _FCNTL[place]), (_LOAD, 0, 0, _SECOND_AT)]
    for number, answer in by_command:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, answer)]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    # Its flags lie in memory, out of a filter's sight; glibc falls back to clone.
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    steps += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
