"""Settings of search over steps; where a number comes from stands beside it.

paper: AlphaMath (2405.03553, section 4.1 and table 6); code: its configs/mcts_sft_round.yaml at
MARIO-Math-Reasoning/Super_MARIO c11d2f2.
"""

from __future__ import annotations

from r1jax.data.config import DataConfig
from r1jax.evaluate.measures import EvalConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.search.config import SearchConfig
from r1jax.stages.search.config import SearchRunConfig, ValueConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig

PRESETS: dict[str, SearchRunConfig] = {
    # AlphaMath's rounds on a 7B model; policy and value are two models here, one there.
    "alphamath": SearchRunConfig(
        method="mcts",  # paper: of its training; --method beam is its inference
        rounds=3,  # paper: K = 3
        prompts=15_000,  # paper: about 15k questions; here each round takes the next ones
        batch=256,  # ours
        steps="line",  # ours: there a tag of the prompt ends a step
        temperature=1.0,  # code: temperature
        dtype="bfloat16",  # ours
        search=SearchConfig(
            tokens=200_000,  # ours: none there; more than 40 x 5 steps can take
            branch=5,  # code: n_generate_sample
            simulations=40,  # code: iterations
            c=1.25,  # paper: c_puct
            depth=8,  # code: max_depth
            step_tokens=256,  # ours: 2,000 for all of a call there
            solutions=4,  # inferred: a few of each kind
        ),
        value=ValueConfig(
            lr=4e-5,  # ours: the policy's; one loss there, the value's weighing 0.01
            epochs=10,  # paper
        ),
        epochs=10,  # paper
        examples=1024,  # paper: batch size
        optimizer=OptimizerConfig(
            lr=4e-5,  # paper
            schedule="cosine",  # paper
            warmup=20,  # inferred: a share of 0.03
            final=0.0,  # inferred
        ),
        train=ComputeConfig(rows=4, width=3072, dtype="bfloat16"),  # ours
        rollout=EngineConfig(slots=256, max_prompt=1024, max_tokens=2048),  # ours
    ),
    # The embedded base on two CPU cores in some minutes; everything here is ours.
    "demo": SearchRunConfig(
        rounds=3,
        prompts=192,
        batch=64,
        steps="sentence",
        search=SearchConfig(tokens=192, solutions=2),
        value=ValueConfig(lr=3e-4, epochs=1),
        examples=32,
        optimizer=OptimizerConfig(lr=1e-4),
        train=ComputeConfig(rows=12, width=192, max_segments=8, remat="none"),
        rollout=EngineConfig(slots=64, max_prompt=64, max_tokens=128),
        data=DataConfig(template="mini", eval_count=64),
        eval=EvalConfig(samples=4, greedy=False),
        workers=2,
    ),
}
