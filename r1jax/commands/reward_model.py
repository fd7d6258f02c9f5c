"""A reward model from pairs (helpfulness), labelled responses (safety) or the steps of solutions.

    r1jax reward_model --model DIRECTORY --data.train PAIRS.jsonl \\
        --data.eval-count 200
    r1jax reward_model --kind pointwise --data.train LABELLED.jsonl
    r1jax reward_model --kind process --steps line --data.train SOLUTIONS.jsonl

Rows hold prompt, chosen, rejected (text or messages; LLaMA-Factory's and TRL's layouts), or
prompt, response, label (safe, unsafe, 1, 0). A scalar head reads the decoder's state at the stop
token; pairs are judged by their summaries, what follows </think>, labelled responses as a whole
(--data.view; paper v2, section 3.1). Both responses of a pair share a row, so --train.width holds
two of them. Steps come as TRL (prompt, completions, labels), PRM800K or ProcessBench write them;
each is scored at its last token. Held out by prompt: accuracy, calibration and, for labels, AUC,
with bootstrap intervals; of steps ProcessBench's F1 too. Leaves
runs/reward_model with checkpoints and report.html; in reinforcement learning `--reward.model
runs/reward_model=0.5` adds it to the reward.
"""

from r1jax.commands import Command
from r1jax.presets.reward_model import PRESETS
from r1jax.stages import reward_model

main = reward_model.run
COMMAND = Command(main, PRESETS["research"], PRESETS)
