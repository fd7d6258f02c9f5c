"""Supervised fine-tuning of any model on prompts with completions, or on chats (paper, 2.3.3).

    r1jax sft --model DIRECTORY --data.train TRACES.jsonl --data.eval-count 200

Rows hold prompt and completion, messages, ShareGPT conversations, or text; only completions and the
assistant's turns are learnt, thoughts and stop token included. `--data.train` takes several files,
.parquet and hf:OWNER/NAME as well; `--lora.rank 16` trains low-rank factors alone; `--parent
runs/NAME/checkpoints` starts from another run's weights. The default suits 0.5 to 3 billion
parameters on one 80 GB accelerator (16 bytes a parameter without LoRA); a pass takes 6 x parameters
x tokens operations, at about 0.4 of an H200's peak 4 minutes per 10 million tokens at 1.5 billion.
`--preset r1` has the paper's numbers, `demo` those of the embedded base on a laptop (seconds).
Leaves runs/sft with loss curves, checkpoints, report.html and the model in hf/.
"""

from r1jax.commands import Command
from r1jax.presets.sft import PRESETS
from r1jax.stages import supervised

main = supervised.run
COMMAND = Command(main, PRESETS["research"], PRESETS)
