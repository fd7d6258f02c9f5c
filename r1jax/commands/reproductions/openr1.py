"""Open-R1's GRPO recipe: an instruct model, three rewards, TRL's loss (huggingface/open-r1).

    r1jax openr1 --model QWEN2.5-1.5B-INSTRUCT-DIRECTORY \\
      --data.train FILE.jsonl

`--preset openr1` (the default) is recipes/Qwen2.5-1.5B-Instruct/grpo/config_demo.yaml: accuracy,
format and tag_count with weight 1 each, chat template with its system prompt. `--preset
openr1-distill` is the recipe for R1-Distill-Qwen-1.5B, whose chat template must not open <think>
itself (it would break the format reward). Further rewards by name:

    --reward.user r1jax.rewards.open_r1:accuracy "r1jax.rewards.open_r1:cosine?max_len=4000=0.5"

Named there: reasoning_steps, length, cosine, repetition_penalty, soft_overlong_punishment,
code_format; exact semantics, oddities included, in their docstrings. No result is published for the
demo recipe; one epoch of 93.7k problems is 3,300 updates of 448 completions, time here not
measured yet. Leaves runs/openr1.
"""

from r1jax.commands import Command
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.stages import zero

PRESETS = {name: REPRODUCTIONS[name] for name in ("openr1", "openr1-distill")}
main = zero.run
COMMAND = Command(main, PRESETS["openr1"], PRESETS)
