"""TinyZero's countdown: an equation from 3 or 4 numbers, learnt by trial (Jiayi-Pan/TinyZero).

    r1jax tinyzero_countdown --model QWEN2.5-3B-DIRECTORY

Prompt (base template with <think> already open), task and reward (0 no answer, 0.1 wrong, 1 right)
are TinyZero's; problems are generated, training and evaluation disjoint by numbers and target. The
published problems: `--data.train hf:Jiayi-Pan/Countdown-Tasks-3to4`. Traps of the reward are
options, on as published:

    --reward.user "r1jax.rewards.tinyzero:countdown?last_line_only=false&loose_syntax=false"

TinyZero trained with PPO; its PPO comes later, and GRPO here is ours. Published: models from 1.5B
on learn to search and to check themselves, 0.5B guesses and stops, for less than 30 dollars of GPU
time; 200 rollouts by default, time and result here are not measured yet. Leaves
runs/tinyzero_countdown.
"""

from r1jax.commands import Command
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.stages import zero

main = zero.run
COMMAND = Command(main, REPRODUCTIONS["tinyzero-countdown"])
