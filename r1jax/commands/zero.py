"""R1-Zero on any base model and any problems (paper, section 2).

    r1jax zero --model DIRECTORY --data.train FILE.jsonl --data.eval TEST.jsonl

GRPO straight on the base with rule-based rewards; `--preset r1-zero` takes the paper's numbers,
`research` (the default) what a careful user would want today. Leaves runs/zero with curves,
samples, checkpoints and report.html.
"""

from r1jax.commands import Command
from r1jax.presets.ppo import PPO
from r1jax.presets.prime import PRIME
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.presets.zero import PRESETS
from r1jax.stages import zero

main = zero.run
COMMAND = Command(main, PRESETS["research"], PRESETS | REPRODUCTIONS | PPO | PRIME)
