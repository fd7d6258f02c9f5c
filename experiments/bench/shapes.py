"""The models that are measured: shapes of Qwen2.5, a toy and a V3, with random weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from r1jax.errors import SEEDS, UserError, check_ranges
from r1jax.mesh import MeshConfig
from r1jax.models.config import Experts, Latent, ModelConfig
from r1jax.models.hub import directory as hub
from r1jax.models.hub.find import model_directory
from r1jax.run.flags import Flags


@dataclass(frozen=True)
class ShapeFlags(Flags):
    """Which model is measured, where, and where the result goes."""

    shape: str = "1.5b"
    """Shape of the model, with random weights: tiny, 0.5b, 1.5b, 7b (Qwen2.5), or v3-3b, a small
    DeepSeek-V3: 2.9B parameters, 64 experts of which a token takes 8."""
    model: str = ""
    """Directory whose config.json (and tokenizer, for text) is taken instead; never its weights."""
    seed: int = 0
    """Seed of the weights and of whatever is drawn."""
    out: str = ""
    """JSON file for the results; empty: none."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """Devices."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", seed=SEEDS)


def _qwen(
    d_model: int, d_ff: int, layers: int, heads: int, kv_heads: int, head_dim: int, **fields: Any
) -> ModelConfig:
    given = dict(vocab_size=151936, max_position=131072, eos_ids=(151643,), tied=True) | fields
    return ModelConfig(
        family="qwen2",
        d_model=d_model,
        d_ff=d_ff,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        rope_theta=1e6,
        attention_bias=True,
        **given,
    )


SHAPES: dict[str, ModelConfig] = {
    "tiny": _qwen(64, 128, 2, 4, 2, 16, vocab_size=512, max_position=4096, eos_ids=(511,)),
    "0.5b": _qwen(896, 4864, 24, 14, 2, 64, max_position=32768),
    "1.5b": _qwen(1536, 8960, 28, 12, 2, 128),
    "7b": _qwen(3584, 18944, 28, 28, 4, 128, vocab_size=152064, tied=False),
    "v3-3b": replace(
        _qwen(2048, 8192, 13, 16, 16, 64, vocab_size=65536, eos_ids=(1,), tied=False),
        family="deepseek_v3", attention_bias=False, dense_layers=1,
        latent=Latent(q_rank=768, kv_rank=512, nope=128, value=128),
        experts=Experts(count=64, chosen=8, width=512, shared=1, scale=2.5),
    ),
}  # fmt: skip
"""A toy for the CPU, the base models of Qwen2.5 as their config.json describes them, and a V3."""


def chosen(shape: str, model: str = "") -> tuple[str, ModelConfig]:
    """(name, shape): one of `SHAPES`, or that of the config.json in the directory `model`.

    Raises UserError for another name and for a directory without a readable config.json.
    """
    if model:
        return model, hub.read_config(model_directory(model))
    if shape not in SHAPES:
        raise UserError(f"--shape {shape}: no such shape; choose from {', '.join(SHAPES)}")
    return shape, SHAPES[shape]
