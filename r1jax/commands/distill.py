"""Distils a reasoning model into a dense student (paper, section 2.4).

    r1jax distill --preset qwen-7b --model DIRECTORY --data.train SAMPLES.jsonl

Supervised fine-tuning on the teacher's samples, with the paper's numbers: `--preset qwen-1.5b` (the
default), qwen-7b, qwen-14b, qwen-32b, llama-8b or llama-70b, each with its own learning rate and
its base as --model. Where teacher and student share their tokens, `--teacher.model DIRECTORY`
learns the teacher's distributions as well (`--teacher.kind reverse`, `--teacher.top-k 64`,
`--teacher.weight 0.5`), and `--teacher.parent runs/NAME/checkpoints` takes them from a run. Samples
of a teacher behind an endpoint, or filtered ones, come as files. Time is not measured yet. Leaves
runs/distill-<student> with loss curves, checkpoints, report.html and the model in hf/.
"""

from r1jax.commands import Command
from r1jax.presets.distill import PRESETS
from r1jax.stages import supervised

main = supervised.run
COMMAND = Command(main, PRESETS["qwen-1.5b"], PRESETS)
