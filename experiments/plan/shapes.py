"""The models a plan knows by name, as their config.json describes them; never their weights."""

from __future__ import annotations

from dataclasses import replace

from experiments.bench.shapes import SHAPES
from r1jax.errors import UserError
from r1jax.models.config import Experts, Latent, ModelConfig
from r1jax.models.hub import directory as hub
from r1jax.models.hub.find import model_directory
from r1jax.models.rope import Yarn

QWEN_32B = replace(SHAPES["7b"], d_model=5120, d_ff=27648, n_layers=64, n_heads=40, n_kv_heads=8)
LLAMA_70B = ModelConfig(
    family="llama",
    vocab_size=128256,
    d_model=8192,
    d_ff=28672,
    n_layers=80,
    n_heads=64,
    n_kv_heads=8,
    head_dim=128,
    max_position=131072,
    rope_theta=5e5,
    tied=False,
    eos_ids=(128001,),
)
DEEPSEEK_V3 = ModelConfig(
    family="deepseek_v3",
    vocab_size=129280,
    d_model=7168,
    d_ff=18432,
    n_layers=61,
    n_heads=128,
    n_kv_heads=128,
    head_dim=64,
    max_position=163840,
    rope_scaling=Yarn(40.0, 4096, 32.0, 1.0, 1.0, 1.0),
    latent=Latent(q_rank=1536, kv_rank=512, nope=128, value=128),
    experts=Experts(256, 8, 2048, 1, groups=8, groups_kept=4, scale=2.5),
    dense_layers=3,
    tied=False,
    eos_ids=(1,),
)
MODELS = {
    "qwen2.5-7b": SHAPES["7b"],
    "qwen2.5-32b": QWEN_32B,
    "llama-70b": LLAMA_70B,
    "deepseek-v3": DEEPSEEK_V3,
}
"""What docs/scale.md is about; V3 without its layer ahead, which decoding leaves out too."""


def named(model: str) -> ModelConfig:
    """One of `MODELS`, a shape of the benches (1.5b), or the config.json of a model directory."""
    known = MODELS | SHAPES
    if model in known:
        return known[model]
    try:
        return hub.read_config(model_directory(model))
    except UserError as error:
        raise UserError(f"{error}; or a plan's own: {', '.join(known)}") from None
