"""Will Brown's GSM8K demonstration: five small rewards, <reasoning> and <answer> (his gist).

    r1jax will_brown --model QWEN2.5-1.5B-INSTRUCT-DIRECTORY \\
        --data.train gsm8k_train.jsonl --data.eval gsm8k_test.jsonl

Rewards: correctness 2, whole number 0.5, strict and soft format 0.5 each, up to 0.5 for the tags
less 0.001 for each character behind them. As published the format patterns do not match thoughts of
several lines; `"r1jax.rewards.will_brown:soft_format?dotall=true"` does. GRPO there as here; an
epoch is 1,868 updates of 64 completions, time and result here are not measured yet. Leaves
runs/will_brown.
"""

from r1jax.commands import Command
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.stages import zero

main = zero.run
COMMAND = Command(main, REPRODUCTIONS["will-brown"])
