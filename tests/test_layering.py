"""Imports go one way, rewards know no jax, and importing does no work."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "r1jax"

LAYERS = (
    {"problem", "types", "errors", "plugin", "mesh"},
    {"endpoint", "run"},
    {"data", "models", "rewards", "losses", "advantages"},
    {"rollout", "evaluate", "search"},
    {"checkpoint", "report"},
    {"training"},
    {"stages"},
    {"presets"},
    {"commands"},
    {"__main__"},
    {"experiments"},
)
"""From the bottom up: a room imports rooms of its own layer or below."""

CLOSED = {
    "problem": set(),
    "errors": set(),
    "types": {"errors"},
    "plugin": {"errors"},
    "endpoint": {"errors", "endpoint"},
    "mesh": {"errors"},
    "rewards": {"problem", "errors", "plugin", "rewards"},
    "losses": {"types", "errors", "plugin", "losses"},
    "advantages": {"types", "errors", "losses"},
    "models": {"types", "mesh", "errors", "plugin", "models"},
    "data": {"problem", "types", "errors", "plugin", "data", "rewards"},
}
"""The whole of what these rooms may import of the project; data asks rewards to parse its golds."""

DEVICE_LIBRARIES = {"jax", "jaxlib", "flax", "optax", "orbax", "chex", "grain"}


def imports(path):
    """(imported module, line) of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names if node.module == "r1jax" else [None]:
                yield node.module + (f".{alias.name}" if alias else ""), node.lineno


@functools.cache
def rooms():
    """(room, path) of every module of the project, read once."""
    return tuple(_rooms())


def _rooms():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path
    for path in sorted((ROOT / "experiments").rglob("*.py")):
        yield "experiments", path


@functools.cache
def edges():
    """(importing room, imported room, where) inside the project, read once."""
    return tuple(_edges())


def _edges():
    for room, path in rooms():
        for name, line in imports(path):
            head, *rest = name.split(".")
            if head == "experiments":
                yield room, "experiments", f"{path}:{line}"
            elif head == "r1jax" and rest:
                yield room, rest[0], f"{path}:{line}"


def test_the_walk_sees_the_project():
    found = {(a, b) for a, b, _ in edges()}
    assert {("models", "mesh"), ("rollout", "models"), ("training", "losses")} <= found


def test_no_room_imports_a_room_above_it():
    level = {room: i for i, layer in enumerate(LAYERS) for room in layer}
    wrong = [
        f"{where}: {room} imports {target}"
        for room, target, where in edges()
        if level[room] < level[target]
    ]
    assert not wrong


def test_few_modules_stand_loose():
    """At most seven beside the rooms, `__main__` among them."""
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 7


@pytest.mark.parametrize("room", CLOSED)
def test_the_closed_rooms_import_only_what_is_theirs(room):
    wrong = [f"{w}: {t}" for r, t, w in edges() if r == room and t not in CLOSED[room] | {room}]
    assert not wrong


@pytest.mark.parametrize("room", ["problem", "errors", "rewards"])
def test_rewards_and_problems_import_no_device_library(room):
    wrong = [
        f"{path}:{line}: {name}"
        for r, path in rooms()
        if r == room
        for name, line in imports(path)
        if name.split(".")[0] in DEVICE_LIBRARIES
    ]
    assert not wrong


def test_only_the_mesh_names_a_device_axis():
    names = {"data", "fsdp", "tensor", "expert", "context"}
    for _, path in rooms():
        if path.name == "mesh.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and "PartitionSpec" in ast.unparse(node.func):
                strings = {x.value for x in ast.walk(node) if isinstance(x, ast.Constant)}
                assert not names & strings, f"{path}:{node.lineno}"


def test_a_class_name_is_found_once():
    """Who searches for a class finds one. A command's flags are its module's `Config`."""
    places = {}
    for _, path in rooms():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    del places["Config"]
    twofold = {name: found for name, found in places.items() if len(found) > 1}
    assert not twofold


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_everything_starts_no_device_and_says_nothing():
    code = """
import importlib, pkgutil
import r1jax
for module in pkgutil.walk_packages(r1jax.__path__, "r1jax."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from jax._src import xla_bridge
assert not xla_bridge._backends, xla_bridge._backends
"""
    assert run(code) == ""


def test_importing_rewards_leaves_jax_out():
    code = "import sys, r1jax.problem, r1jax.rewards; print('jax' in sys.modules)"
    assert run(code) == "False\n"
