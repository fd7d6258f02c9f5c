"""Runs the notebooks from top to bottom and stores what they print and draw.

    python notebooks/execute.py [NAME=NUMBER ...] [NOTEBOOK ...]

Every cell is executed in order in one fresh namespace, in a temporary folder; text, the value of a
cell's last expression and matplotlib figures become its outputs. `FEWER=4` runs with another number
than the notebook gives a name in a line of its own.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def execute(path: Path, given: Mapping[str, str]) -> None:
    """Rewrites `path` with fresh outputs and execution counts 1, 2, …; errors pass through.

    A line `NAME = number` takes the number `given`; the source is stored as it was.
    """
    notebook = json.loads(path.read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for count, cell in enumerate(cells, 1):
            cell["execution_count"] = count
            cell["outputs"] = run_cell(with_numbers("".join(cell["source"]), given), names, count)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def with_numbers(source: str, given: Mapping[str, str]) -> str:
    """The source of a cell with the numbers given for names that it sets."""
    for name, number in given.items():
        source = re.sub(rf"^{name} = [0-9]+\b", f"{name} = {number}", source, flags=re.MULTILINE)
    return source


def run_cell(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Executes one cell in the namespace `names`; returns its outputs as nbformat 4 has them."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said, value = io.StringIO(), None
    with contextlib.redirect_stdout(said):
        exec(compile(tree, f"<cell {count}>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"<cell {count}>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if said.getvalue():
        text = said.getvalue().splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": text})
    outputs += map(_picture, plt.get_fignums())
    plt.close("all")
    if value is not None and not source.rstrip().endswith(";"):  # as Jupyter does
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        outputs.append(
            {"output_type": "execute_result", "execution_count": count, "metadata": {}}
            | {"data": data}
        )
    return outputs


def _picture(number: int) -> dict[str, Any]:
    stream = io.BytesIO()
    plt.figure(number).savefig(stream, format="png", dpi=80, bbox_inches="tight")
    data = {"image/png": base64.b64encode(stream.getvalue()).decode()}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def main(argv: Sequence[str]) -> None:
    """Executes the notebooks named, or all of them."""
    matplotlib.use("agg")
    given = dict(arg.split("=", 1) for arg in argv if "=" in arg)
    paths = [Path(arg).absolute() for arg in argv if "=" not in arg] or sorted(HERE.glob("*.ipynb"))
    for path in paths:
        execute(path, given)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main(sys.argv[1:])
