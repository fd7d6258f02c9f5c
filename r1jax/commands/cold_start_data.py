"""Data for the cold start: readable chains of thought, by the paper's four routes (2.3.1).

    r1jax cold_start_data --preset demo --parent runs/demo/checkpoints
    r1jax sft --preset demo --data.train runs/cold_start_data/kept.jsonl

`--source zero` (the default) samples an R1-Zero and rewrites what is right: by rules in the
embedded world, or by a model behind an OpenAI-compatible address (`--rewriter endpoint
--endpoint.base-url http://HOST:8000/v1 --endpoint.model NAME`; its key comes from an environment
variable). `few_shot` shows long chains of thought, `direct` asks for reflection and verification;
both ask the local model or, with `--generator endpoint`, the one there. `human` writes a file for
review and takes it back: `--source human --review FILE.jsonl --review-from runs/cold_start_data`,
twice. Leaves kept.jsonl, dropped.jsonl and datasheet.md; killed anywhere, the same command goes
on. The demo takes a minute on a laptop; a real model 2 x parameters operations per token sampled.
"""

from r1jax.commands import Command
from r1jax.presets.cold_start_data import PRESETS
from r1jax.stages import cold_start

main = cold_start.run
COMMAND = Command(main, PRESETS["research"], PRESETS)
