"""What an installed package has: its commands, its names, what it imports, where things went."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

import r1jax
from r1jax import __main__, commands
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.plugin import load_function

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MOVED = [line.split() for line in (ROOT / "r1jax/assets/moved.txt").read_text().splitlines()]
NAMES = list(commands.paths())

ONLY_FOR_OTHERS = {"antlr4-python3-runtime"}
"""Declared for its version alone: math-verify leaves the choice open, and only one parses."""


def distributions(requirements):
    return {re.match(r"[\w.-]+", text)[0].lower().replace("_", "-") for text in requirements}


def imported(folder):
    """Distributions that the modules of a folder import, the standard library left out."""
    found, known = set(), importlib.metadata.packages_distributions()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0] for name in names}
    found -= {*sys.stdlib_module_names, "r1jax", "experiments"}
    return {known.get(name, [name])[0].lower().replace("_", "-") for name in found}


def test_what_is_imported_is_declared_and_the_other_way_round():
    needed = distributions(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    chosen = distributions(sum((extras[name] for name in extras if name != "parity"), []))
    used = imported("r1jax")
    assert used <= needed | chosen
    assert imported("experiments") <= needed
    assert needed - used == ONLY_FOR_OTHERS


def test_every_command_is_named_with_its_first_line(capsys):
    assert __main__.main([]) == 0
    said = capsys.readouterr().out
    assert {"zero", "zero_demo", "r1", "chat", "openr1"} <= {*NAMES} and len(NAMES) == 21
    for name, path in commands.paths().items():
        assert re.search(rf"^  {name} +{re.escape(commands.summary(path))}$", said, flags=re.M)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_the_lab_book_is_the_command(name):
    """`experiments.<name>` says in its docstring how it is run, and runs the function of r1jax."""
    room = ROOT / "experiments" / commands.paths()[name].relative_to(commands.HERE)
    page = room.read_text()
    assert f'raise SystemExit(run("{name}"))' in page
    dotted = ".".join(room.relative_to(ROOT).with_suffix("").parts)
    assert f"python -m {dotted}" in page
    assert page.split("\n")[0] == f'"""{commands.summary(commands.paths()[name])}'
    assert f"    r1jax {name}" in commands.paths()[name].read_text()


def test_a_command_takes_its_flags_also_with_dashes(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["/usr/bin/r1jax", "zero-demo", "--help"])
    assert __main__.main() == 0
    said = capsys.readouterr().out
    assert "R1-Zero end to end on a laptop" in said and "--rollout.group" in said
    assert __main__.main(["compare", "--runs", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"error: --runs {tmp_path}: holds no config.json; name run directories\n"
    )


@pytest.mark.parametrize(
    "argv, called",
    [
        (["/usr/bin/r1jax", "zero-demo"], "r1jax zero-demo"),
        (["mine.py", "--updates", "1"], "mine.py"),
    ],
)
def test_the_usage_line_says_how_it_was_called(argv, called, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert cli._prog() == called


@pytest.mark.parametrize(
    "asked, said",
    [
        ("zero-dmo", "error: r1jax zero-dmo: no such command; did you mean zero_demo?\n"),
        ("nosuch", "error: r1jax nosuch: no such command; r1jax alone lists them\n"),
    ],
)
def test_an_unknown_command_is_one_line(asked, said, capsys):
    assert __main__.main([asked]) == 2
    assert capsys.readouterr().err == said


def test_importing_the_package_brings_next_to_nothing():
    """What makes it quick (10 ms): a handful of the project's own modules, and no library."""
    code = "import sys; before = {*sys.modules}; import r1jax, r1jax.__main__; "
    code += "print(*sorted({name.partition('.')[0] for name in {*sys.modules} - before}))"
    code += "; print(sum(name.startswith('r1jax') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    brought, own = done.stdout.splitlines()
    assert {*brought.split()} <= {"r1jax", *sys.stdlib_module_names}
    assert int(own) <= 5


def test_every_name_of_the_face_is_there():
    assert {*r1jax.__all__} <= {*dir(r1jax)}
    for name in r1jax.__all__:
        assert getattr(r1jax, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        r1jax.no_such_name  # noqa: B018


@pytest.mark.parametrize("old, new", MOVED, ids=[old for old, _ in MOVED])
def test_what_moved_says_where_it_is(old, new):
    """The old place is gone and says so, as a plug-in sees it too; the new one is there."""
    if not old.endswith(".*"):
        with pytest.raises(ModuleNotFoundError, match=re.escape(f"has moved: see {new}")):
            importlib.import_module(old)
    new = new.removesuffix(".*")
    room, _, last = new.rpartition(".")
    assert (
        importlib.util.find_spec(new)
        if last.islower() and not hasattr(importlib.import_module(room), last)
        else hasattr(importlib.import_module(room), last)
    )


def test_a_name_of_a_module_that_became_a_folder_is_found():
    assert r1jax.read_json is importlib.import_module("r1jax.run").read_json
    with pytest.raises(ModuleNotFoundError, match=r"see r1jax\.training\.rl\.loop\.train"):
        from r1jax.training.rl import train  # noqa: F401
    with pytest.raises(UserError, match=r"see r1jax\.losses|see r1jax\.advantages\.group"):
        load_function("r1jax.losses.advantages:group_advantages", "--user-loss", ("a", "b"))
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'r1jax.nowhere'"):
        importlib.import_module("r1jax.nowhere")


def outside():
    """The environment of a process that knows of no checkout and reaches no network."""
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")} | nowhere


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of programs of an environment that has r1jax as a wheel, and nothing of here."""
    room = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "r1jax", room / "source" / "r1jax")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, room / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", room, room / "source"]
    subprocess.run(build, check=True, cwd=room)
    (wheel,) = room.glob("r1jax-*.whl")
    venv.create(room / "env")
    python = room / "env" / "bin" / "python"
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, cwd=room, env=outside())
    # The libraries of this environment, without the link to the checkout that lies among them.
    place = Path(sysconfig.get_path("purelib", vars={"base": str(room / "env")}))
    (place / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return room / "env" / "bin"


def call(folder, program, *argv):
    """Runs a program in `folder`, outside the checkout."""
    return subprocess.run(
        [program, *argv], cwd=folder, env=outside(), capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_wheel_has_the_commands_outside_the_checkout(installed, tmp_path):
    """One update of R1-Zero from the embedded base, a user's reward in worker processes."""
    (tmp_path / "mine.py").write_text(
        "import r1jax\n\n\n@r1jax.per_completion\ndef brief(problem, completion):\n"
        "    return -len(completion.text) / 1000\n"
    )
    flags = (
        "--run runs/toy --updates 1 --data.eval-count 2 --eval.samples 2 --eval.every 0"
        " --rollout.prompts 2 --rollout.group 4 --rollout.slots 8 --train.rows 8"
        " --reward.workers 2 --reward.user mine:brief=0.1 --mesh.data 1"
    )
    program = str(installed / "r1jax")
    where = call(tmp_path, str(installed / "python"), "-c", "import r1jax; print(r1jax.__file__)")
    assert where.stdout.startswith(str(installed.parent))
    done = call(tmp_path, program, "zero_demo", *flags.split())
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "runs/toy/metrics.jsonl").read_text())
    assert row["reward/brief"] < 0 and row["reward_lost/brief"] == 0
    assert (tmp_path / "runs/toy/report.html").exists()
    ran_on = json.loads((tmp_path / "runs/toy/environment.json").read_text())
    assert ran_on["packages"]["r1jax"] == r1jax.__version__


@pytest.mark.slow
def test_the_console_script_explains_itself(installed, tmp_path):
    program = str(installed / "r1jax")
    assert call(tmp_path, program, "--version").stdout == f"r1jax {r1jax.__version__}\n"
    shown = call(tmp_path, program, "chat", "--help")
    assert shown.returncode == 0 and shown.stdout.startswith("usage: r1jax chat [-h] [OPTIONS]")
    unknown = call(tmp_path, program, "nosuch")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "error: r1jax nosuch: no such command; r1jax alone lists them\n"
