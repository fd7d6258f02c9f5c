"""What the sandbox asks of Linux: namespaces, a private root, limits, dropped rights.

Standard library only: it is imported in a process that knows nothing of the project.
"""

from __future__ import annotations

import ctypes
import glob
import math
import os
import resource
import signal
import sys
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
GUEST = 1000
"""User and group that programs have inside their namespace; root outside becomes nobody."""

_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_DETACH = 2
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CAPABILITY_VERSION = 0x20080522

DEVICES = "/dev/fd"
"""Where a program's standard input and output have names."""

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_FILES = ("/dev/null", "/dev/zero", "/dev/urandom", "/etc/ld.so.cache")


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def call(name: str, *arguments: Any, what: str = "") -> None:
    """Calls a function of the C library; OSError naming `what` (or the function) where it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what or name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leaves the namespaces in `flags` for new ones."""
    call("unshare", flags)


def end_with_parent() -> None:
    """This process is killed when its parent ends; to be asked for after a change of user."""
    call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Processes that lose their parent below this one become its children, not process 1's."""
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """Children of this process, where Linux tells."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def make_root() -> None:
    """Replaces the root by an empty one with Python's libraries, read-only, and three devices."""
    base = "/proc"  # a directory that is there, holds no library, and is needed no more
    _mount("none", "/", "", _REC | _PRIVATE)
    links, paths = _library_paths()
    _mount("tmpfs", base, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in paths:
        os.makedirs(base + path, exist_ok=True)
        _mount(path, base + path, "", _BIND | _REC)
        _read_only(base + path, recursive=True)
    for link, target in links.items():
        os.makedirs(os.path.dirname(base + link), exist_ok=True)
        os.symlink(target, base + link)
    for path in _FILES:
        if os.path.exists(path):
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            os.close(os.open(base + path, os.O_CREAT))
            _mount(path, base + path, "", _BIND)
    for path in ("/tmp", DEVICES):
        os.mkdir(base + path)
    for name, target in (("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "null")):
        os.symlink(target, f"{base}/dev/{name}")
    for path in _installed_packages():
        if os.path.isdir(base + path):
            _mount("tmpfs", base + path, "tmpfs", _NOSUID | _NODEV, "size=4k,mode=755")
    os.chdir(base)
    call("syscall", _PIVOT_ROOT[os.uname().machine], b".", b".", what="pivot_root")
    call("umount2", b".", _DETACH)
    os.chdir("/")
    _read_only("/", recursive=False)


def make_directory(megabytes: int, input_mb: int) -> str:
    """A new, empty /tmp of this size, which ends with this process and its children.

    Returns another such directory, for standard input of that size and standard output.
    """
    unshare(NEWNS)
    for path, size in (("/tmp", megabytes), (DEVICES, input_mb)):
        options = f"size={size}m,nr_inodes=4096,mode=1777"
        _mount("tmpfs", path, "tmpfs", _NOSUID | _NODEV, options)
    os.chdir("/tmp")
    return DEVICES


def drop_rights() -> None:
    """Gives up the namespace's root user and every capability, for good."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(GUEST, GUEST, GUEST)
        os.setresuid(GUEST, GUEST, GUEST)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())
    no_new_rights()


def no_new_rights() -> None:
    """No program that this process starts may have more rights than it has."""
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def set_limits(cpu_seconds: float, memory_mb: int, file_mb: int, processes: int) -> None:
    """Limits of this process, which it cannot raise; those that were lower stay."""
    limits = {
        resource.RLIMIT_CPU: math.ceil(cpu_seconds) + 1,
        resource.RLIMIT_AS: memory_mb << 20,
        resource.RLIMIT_FSIZE: file_mb << 20,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        limits |= {resource.RLIMIT_NPROC: processes, resource.RLIMIT_MSGQUEUE: 0}
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = source.encode(), target.encode(), kind.encode()
    call("mount", *texts, flags, options.encode() or None, what=f"mount {target}")


def _read_only(path: str, recursive: bool) -> None:
    attributes = _MountAttr(_ATTR_RDONLY | _ATTR_NOSUID)
    flags = _AT_RECURSIVE if recursive else 0
    arguments = path.encode(), flags, ctypes.byref(attributes), ctypes.sizeof(attributes)
    call("syscall", _MOUNT_SETATTR, _AT_FDCWD, *arguments, what="mount_setattr (Linux 5.12)")


def _library_paths() -> tuple[dict[str, str], list[str]]:
    """(links among the library directories, directories), none inside another."""
    python_dirs = (os.path.dirname(os.__file__), f"{sys.base_prefix}/lib")
    links = {p: os.readlink(p) for p in _LIBRARIES if os.path.islink(p)}
    directories = {os.path.realpath(p) for p in (*_LIBRARIES, *python_dirs) if os.path.isdir(p)}
    inside = {p for p in directories for q in directories if p != q and p.startswith(q + "/")}
    return links, sorted(directories - inside)


def _installed_packages() -> set[str]:
    """Where packages lie that a program must not read: they may hold the answers of a data set."""
    stdlib = os.path.dirname(os.path.realpath(os.__file__))
    places = {f"{stdlib}/site-packages", f"{stdlib}/dist-packages"}
    for root in (os.path.realpath(sys.base_prefix) + "/lib", *_LIBRARIES):
        for name in ("site-packages", "dist-packages"):
            places |= set(glob.glob(f"{root}/python*/{name}"))
    return {os.path.realpath(place) for place in places}
