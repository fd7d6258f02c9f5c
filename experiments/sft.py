"""Supervised fine-tuning of any model on prompts with completions, or on chats (paper, 2.3.3).

    python -m experiments.sft --model DIRECTORY --data.train TRACES.jsonl --data.eval-count 200

Rows hold prompt and completion, messages, ShareGPT conversations, or text; only completions and the
assistant's turns are learnt, thoughts and stop token included. `--data.train` takes several files,
.parquet and hf:OWNER/NAME as well; `--lora.rank 16` trains low-rank factors alone; `--parent
runs/NAME/checkpoints` starts from another run's weights. The default suits 0.5 to 3 billion
parameters on one 80 GB accelerator (16 bytes a parameter without LoRA); a pass takes 6 x parameters
x tokens operations, at about 0.4 of an H200's peak 4 minutes per 10 million tokens at 1.5 billion.
`--preset r1` has the paper's numbers, `demo` those of the embedded base on a laptop (seconds).
Leaves runs/sft with loss curves, checkpoints, report.html and the model in hf/.
"""

from __future__ import annotations

from r1jax import cli
from r1jax.stages import supervised
from r1jax.stages.supervised import SFTConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.update import ComputeConfig

PRESETS: dict[str, SFTConfig] = {
    # A real model on one large accelerator; everything here is ours.
    "research": SFTConfig(
        optimizer=OptimizerConfig(lr=1e-5, schedule="cosine", warmup=20),
        train=ComputeConfig(
            rows=4, width=4096, max_segments=16, dtype="bfloat16", remat="full", chunk=256
        ),
    ),
    # DeepSeek-R1's two supervised stages (cold start and the 800k samples).
    "r1": SFTConfig(
        epochs=2,  # paper (v1 2.3.3): two for the 800k; (v2 B.4.2): 2 to 3
        batch=128,  # paper (v2 B.4.2)
        optimizer=OptimizerConfig(
            lr=5e-5,  # paper (v2 B.4.2)
            schedule="cosine",  # paper (v2 B.4.2)
            final=0.1,  # paper (v2 B.4.2): to 5e-6
            warmup=0,  # ours: not given; as are Adam's decays, weight decay and clipping
        ),
        train=ComputeConfig(
            rows=1,  # ours
            width=32_768,  # paper (v2 B.4.2)
            max_segments=64,  # ours: packing is not given
            dtype="bfloat16",  # ours: not given
            remat="full",  # ours
            chunk=256,  # ours
        ),
    ),
    # The embedded base on two CPU cores, in a minute; everything here is ours.
    "demo": SFTConfig(
        run="runs/sft_demo",
        optimizer=OptimizerConfig(lr=1e-4, schedule="cosine", warmup=5),
        eval_every=20,
        train=ComputeConfig(rows=2, width=192, max_segments=8, remat="none", unroll=4, chunk=96),
    ),
}

main = supervised.run

if __name__ == "__main__":
    raise SystemExit(cli.run(main, PRESETS["research"], presets=PRESETS, description=__doc__))
