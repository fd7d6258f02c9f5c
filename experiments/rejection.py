"""Rejection sampling: keeps what a checkpoint gets right and says readably (paper, 2.3.3).

    python -m experiments.rejection --preset demo --parent runs/demo/checkpoints
    python -m experiments.sft --preset demo --data.train runs/rejection/kept.jsonl

Draws several completions of each problem, judges them by rules, by a model behind an
OpenAI-compatible address (`--judge endpoint --endpoint.base-url http://HOST:8000/v1
--endpoint.model NAME`) or by your own function, drops what repeats itself, mixes languages, lacks
thought or summary, and balances by pass rate. Leaves kept.jsonl and kept.parquet (ready for
experiments.sft), dropped.jsonl with the reasons, and datasheet.md; killed anywhere, the same
command goes on. The demo takes a minute on a laptop; a real model 2 x parameters operations per
token sampled.
"""

from __future__ import annotations

from r1jax.commands import cli
from r1jax.presets.rejection import PRESETS
from r1jax.stages import rejection

main = rejection.run

if __name__ == "__main__":
    raise SystemExit(cli.run(main, PRESETS["research"], presets=PRESETS, description=__doc__))
