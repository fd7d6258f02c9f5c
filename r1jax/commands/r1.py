"""The whole of R1 (paper, section 3): four stages, rejection sampling, distillation, one command.

    r1jax r1 --preset demo
    r1jax r1 --model DIRECTORY --data.train PROBLEMS.jsonl --data.eval TEST.jsonl

zero -> cold_start_data -> cold_start (Dev1) -> reasoning_rl (Dev2) -> rejection -> general_data ->
general_sft (Dev3, from the base again) -> helpfulness, safety -> general_rl (R1) -> distill. Every
stage leaves a directory with its own report, every checkpoint is judged on the same problems, and
lineage.json says by hash what came from what. Killed anywhere, the same command goes on; --from,
--to and --only choose stages. `demo` is the embedded world on two CPU cores in at most 15 minutes;
`research` (the default) suits 1.5 billion parameters on one 80 GB device; `paper` has the paper's
numbers, for whoever has the machines. Leaves runs/r1 with report.html.
"""

from r1jax.commands import Command
from r1jax.presets.r1 import PRESETS
from r1jax.stages.pipeline import run as pipeline

main = pipeline.run
COMMAND = Command(main, PRESETS["research"], PRESETS)
