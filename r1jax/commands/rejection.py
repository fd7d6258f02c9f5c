"""Rejection sampling: keeps what a checkpoint gets right and says readably (paper, 2.3.3).

    r1jax rejection --preset demo --parent runs/demo/checkpoints
    r1jax sft --preset demo --data.train runs/rejection/kept.jsonl

Draws several completions of each problem, judges them by rules, by a model behind an
OpenAI-compatible address (`--judge endpoint --endpoint.base-url http://HOST:8000/v1
--endpoint.model NAME`) or by your own function, drops what repeats itself, mixes languages, lacks
thought or summary, and balances by pass rate. Leaves kept.jsonl and kept.parquet (ready for
`r1jax sft`), dropped.jsonl with the reasons, and datasheet.md; killed anywhere, the same
command goes on. The demo takes a minute on a laptop; a real model 2 x parameters operations per
token sampled.
"""

from r1jax.commands import Command
from r1jax.presets.rejection import PRESETS
from r1jax.stages import rejection

main = rejection.run
COMMAND = Command(main, PRESETS["research"], PRESETS)
