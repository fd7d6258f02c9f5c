"""Direct preference optimisation on pairs: the baseline that needs no reward model.

    python -m experiments.dpo --model DIRECTORY --data.train PAIRS.jsonl --data.eval-count 200

Rows are those of experiments.reward_model: prompt, chosen, rejected. The reference is the policy
as it starts; its log-probabilities are computed once. `--loss.kind` sigmoid, ipo or hinge. Both
responses of a pair share a row, so --train.width holds two of them. Held out by prompt: the share
of pairs whose implicit reward ranks them right, and its margin. Leaves runs/dpo with checkpoints,
report.html and the model in hf/; `experiments.zero --parent runs/dpo/checkpoints` goes on from it.
"""

from __future__ import annotations

from r1jax import cli
from r1jax.stages import dpo
from r1jax.stages.dpo import DPORunConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.update import ComputeConfig

PRESETS: dict[str, DPORunConfig] = {
    # A real model on one large accelerator; DeepSeek-R1 has no DPO, so everything here is ours.
    "research": DPORunConfig(
        epochs=1,
        batch=64,
        optimizer=OptimizerConfig(lr=5e-7, schedule="linear", warmup=20, final=0.0),
        train=ComputeConfig(
            rows=4, width=4096, max_segments=16, dtype="bfloat16", remat="full", chunk=256
        ),
    ),
    # The embedded base on two CPU cores.
    "demo": DPORunConfig(
        run="runs/dpo_demo",
        epochs=1,
        batch=32,
        eval_every=20,
        optimizer=OptimizerConfig(lr=1e-5, schedule="linear", warmup=5, final=0.0),
        train=ComputeConfig(rows=4, width=512, max_segments=12, remat="none", unroll=4, chunk=256),
    ),
}

main = dpo.run

if __name__ == "__main__":
    raise SystemExit(cli.run(main, PRESETS["research"], presets=PRESETS, description=__doc__))
