"""SimpleRL-reason: 8,000 MATH problems, a rule for a reward, a base model (2503.18892).

    r1jax simplerl --model QWEN2.5-7B-DIRECTORY \\
      --data.train MATH_3_TO_5.jsonl

`--preset simplerl-zoo` (the default) is SimpleRL-Zoo: GRPO, +1 right, 0 wrong, no format term.
`--preset simplerl-v0` is the first version: 1 right, -0.5 wrong, -1 without a box; it trained with
PPO, which comes later: GRPO in its place is ours, and so is scoring at its temperature of 0.6.
`--data.template abel` is the plain prompt for weak bases.

Published, average of six sets: 0.5B 12 -> 21, 1.5B 18 -> 36, 7B 40 -> 55 (baselines greedy, trained
models sampled), after 100 steps of 8,192 completions, 15 hours on 16 H100 for 7B and 14B; time and
result here are not measured yet. 2,934 of v0's 8,523 problems are MATH test problems: run
`r1jax decontaminate` against MATH-500 first, and report no MATH-test figure. Leaves
runs/simplerl.
"""

from r1jax.commands import Command
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.stages import zero

PRESETS = {name: REPRODUCTIONS[name] for name in ("simplerl-zoo", "simplerl-v0")}
main = zero.run
COMMAND = Command(main, PRESETS["simplerl-zoo"], PRESETS)
