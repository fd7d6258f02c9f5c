"""Rejection sampling: keeps what a checkpoint gets right and says readably (paper, 2.3.3).

    python -m experiments.rejection --preset demo --parent runs/demo/checkpoints
    python -m experiments.sft --preset demo --data.train runs/rejection/kept.jsonl

Draws several completions of each problem, judges them by rules, by a model behind an
OpenAI-compatible address (`--judge endpoint --endpoint.base-url http://HOST:8000/v1
--endpoint.model NAME`) or by your own function, drops what repeats itself, mixes languages, lacks
thought or summary, and balances by pass rate. Leaves kept.jsonl and kept.parquet (ready for
experiments.sft), dropped.jsonl with the reasons, and datasheet.md; killed anywhere, the same
command goes on. The demo takes a minute on a laptop; a real model 2 x parameters operations per
token sampled.
"""

from __future__ import annotations

from r1jax import cli
from r1jax.data import DataConfig
from r1jax.data.filters import FilterConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.stages import rejection
from r1jax.stages.rejection import RejectionConfig

PRESETS: dict[str, RejectionConfig] = {
    # A real model on one large accelerator; everything here is ours.
    "research": RejectionConfig(
        prompts=20_000,
        batch=128,
        dtype="bfloat16",
        rollout=EngineConfig(slots=256, max_prompt=512, max_tokens=4096),
    ),
    # A checkpoint of the embedded base on two CPU cores; everything here is ours.
    "demo": RejectionConfig(
        prompts=1024,
        samples=4,
        workers=2,
        data=DataConfig(template="mini"),
        rollout=EngineConfig(slots=64, prefill=8, max_prompt=64, max_tokens=128),
        filters=FilterConfig(strict=True, shortest=4),
    ),
}

main = rejection.run

if __name__ == "__main__":
    raise SystemExit(cli.run(main, PRESETS["research"], presets=PRESETS, description=__doc__))
