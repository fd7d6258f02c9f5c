"""The README's picture of a run: held-out accuracy, response length, parts of the reward.

python docs/picture.py runs/demo docs/images/demo.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1jax.report.chart import LIGHT, Chart, Line, lines, picture
from r1jax.report.curves import ends, held_out, series
from r1jax.run.directory import read_json, read_jsonl

Rows = Sequence[dict[str, Any]]


def panels(metrics: Rows, evaluations: Rows) -> list[Chart]:
    """The first held-out set beside the base's majority vote, tokens of a completion, rewards."""
    first, *_ = held_out(evaluations, "pass_at_1").values()
    vote = next(key for key in first[0] if key.startswith("cons_at_"))
    base = [(row["update"], first[0][vote]) for row in first]
    learnt = {part: Line(part, series(metrics, f"reward/{part}"), "-", color)
              for part, color in (("accuracy", 0), ("format", 2))}  # fmt: skip
    length = [Line("", series(metrics, "completion/length_mean"), "-")]
    found = [
        lines("accuracy", "Held-out accuracy", "", "", [
            Line("pass@1", series(first, "pass_at_1"), ends=ends(first, "pass_at_1")),
            Line(f"the base’s {vote.replace('_at_', '@')}", base, "--"),
        ], span=(0, 1), share=True),
        lines("length", "Response length (tokens)", "", "", length, span=(0, None)),
        lines("reward", "Reward parts in training", "", "", learnt.values(), span=(0, 1),
              share=True),
    ]  # fmt: skip
    return [chart for chart in found if chart is not None]


def main(run: str, out: str) -> None:
    """Draws the panels side by side."""
    charts = panels(read_jsonl(Path(run) / "metrics.jsonl"), read_json(Path(run) / "eval.json"))
    Path(out).write_bytes(picture(charts, LIGHT, (11, 3.1), dpi=130, titles=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
