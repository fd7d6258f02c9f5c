"""The notebooks run from top to bottom, and what they show came from such a run."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import r1jax

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS, EXECUTE = sorted(FOLDER.glob("*.ipynb")), FOLDER / "execute.py"


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell["outputs"] for cell in cells)
    assert len(json.loads(path.read_text())["cells"]) <= 25
    assert path.stat().st_size < 200_000
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
    assert not [line for line in lines if line.startswith(("%", "!")) or "pip install" in line]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_import_from_the_packages_face(path):
    source = "\n".join(
        line for cell in code_cells(path) for line in "".join(cell["source"]).split("\n")
    )
    asked = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module.startswith(("r1jax", "experiments"))
        for alias in node.names
    ]
    assert asked and {module for module, _ in asked} == {"r1jax"}
    assert {name for _, name in asked} <= set(r1jax.__all__)


def test_they_are_numbered_from_one():
    assert [path.name[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_in_order(path, tmp_path):
    """In a process of its own: a notebook sees the machine as it is, not eight devices.

    What learns does so for a quarter of its updates, the long walk from a quarter of its data.
    """
    copy = shutil.copy(path, tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run([sys.executable, EXECUTE, "FEWER=4", copy], check=True, env=environment)
    kinds = [
        [[output["output_type"] for output in cell["outputs"]] for cell in code_cells(p)]
        for p in (path, tmp_path / path.name)
    ]
    assert kinds[0] == kinds[1]
