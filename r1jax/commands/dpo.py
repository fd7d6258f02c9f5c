"""Direct preference optimisation on pairs: the baseline that needs no reward model.

    r1jax dpo --model DIRECTORY --data.train PAIRS.jsonl --data.eval-count 200

Rows are those of `r1jax reward_model`: prompt, chosen, rejected. The reference is the policy
as it starts; its log-probabilities are computed once. `--loss.kind` sigmoid, ipo or hinge. Both
responses of a pair share a row, so --train.width holds two of them. Held out by prompt: the share
of pairs whose implicit reward ranks them right, and its margin. Leaves runs/dpo with checkpoints,
report.html and the model in hf/; `r1jax zero --parent runs/dpo/checkpoints` goes on from it.
"""

from r1jax.commands import Command
from r1jax.presets.dpo import PRESETS
from r1jax.stages import dpo

main = dpo.run
COMMAND = Command(main, PRESETS["research"], PRESETS)
