"""The flags of experiments.pretraining.base, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from r1jax.errors import SEEDS, UserError, check_ranges
from r1jax.models.config import Experts, Latent
from r1jax.training.auxiliary import AuxiliaryConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig

Architecture = Literal["qwen3", "qwen2", "llama", "deepseek_v3"]
SHAPES: dict[Architecture, dict[str, Any]] = {
    "qwen3": {"tied": True, "qk_norm": True},
    "qwen2": {"tied": True, "attention_bias": True},
    "llama": {"tied": True},
    "deepseek_v3": {
        "tied": False,
        "dense_layers": 1,
        "latent": Latent(q_rank=80, kv_rank=48, nope=24, value=32),
        "experts": Experts(
            count=8, chosen=2, width=56, shared=1, groups=4, groups_kept=2, scale=2.5
        ),
    },
}
"""What tells the families apart, beside the sizes."""
KNOBS = ("habit", "mixing", "general", "chinese")  # shares that make the corpus of the world


@dataclass(frozen=True)
class Config:
    """A small decoder and how it is trained."""

    out: str = "base"
    """Directory to write; must not hold a model yet."""
    corpus: Literal["world", "countdown"] = "world"
    """What is read: the bilingual world, or tries at TinyZero's countdown and arithmetic."""
    steps: int = 3000
    """Optimizer updates."""
    batch: int = 1024
    """Documents per update."""
    documents: int = 1_000_000
    """Size of the corpus; it is read again from the start when used up."""
    seed: int = 0
    """Seed of the corpus and of the first weights."""
    tokenizer: str = "embedded"
    """Directory whose tokenizer is taken over, or embedded; new: train one on the corpus."""
    habit: float = 0.25
    """Share of wrong guesses and short chains that make their family's usual mistake (world)."""
    mixing: float = 0.3
    """Share of documents whose thought switches language (world)."""
    general: float = 0.15
    """Share of documents that answer a general prompt: notes, refusals, compliance (world)."""
    chinese: float = 0.5
    """Share of Chinese documents (world)."""
    vocab: int = 1024
    """Pieces of a new tokenizer."""
    family: Architecture = "qwen3"
    """Whose shape the model has: qwen3 (norms on queries and keys), qwen2 (biases on queries, keys
    and values), llama (neither), deepseek_v3 (latent attention, and 8 experts of width 56 in all
    layers but the first)."""
    d_model: int = 192
    """Width of the residual stream."""
    d_ff: int = 512
    """Width of the feed-forward layers."""
    layers: int = 4
    """Number of layers."""
    heads: int = 6
    """Query heads."""
    kv_heads: int = 2
    """Key and value heads."""
    head_dim: int = 32
    """Dimensions of a head."""
    max_position: int = 512
    """Longest text the model is said to be made for, in tokens."""
    workers: int = 0
    """Processes that write the corpus; 0: one per core."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the exported weights; training keeps them in float32."""
    shard_mb: int = 0
    """Largest weight file in MiB; 0: one file."""
    save_every: int = 0
    """Updates between checkpoints in <out>/checkpoints, from which the same command goes on; 0:
    none."""
    optimizer: OptimizerConfig = OptimizerConfig(
        lr=2e-3, schedule="cosine", warmup=100, final=0.02, weight_decay=0.1
    )
    """The optimizer."""
    train: ComputeConfig = ComputeConfig(
        rows=256, width=256, max_segments=8, remat="none", unroll=4, chunk=256, kernel="xla"
    )
    """How a batch is cut and computed."""

    def __post_init__(self) -> None:
        """Raises UserError when a share is none."""
        ones = ("steps", "batch", "documents", "vocab", "d_model", "d_ff", "layers", "heads")
        ones += ("kv_heads", "head_dim", "max_position")
        ranges = dict.fromkeys(KNOBS, "[0,1]") | dict.fromkeys(ones, "[1,]")
        none = dict.fromkeys(("workers", "shard_mb", "save_every"), "[0,]")
        check_ranges(self, "--", **ranges, **none, seed=SEEDS)
        if "latent" in SHAPES[self.family] and self.kv_heads != self.heads:
            raise UserError(
                f"--kv-heads {self.kv_heads}: {self.family} has a key for each of its {self.heads} "
                "query heads"
            )


STUDENT_QWEN = Config(out="runs/student_qwen", d_model=96, d_ff=256, layers=3, heads=3, kv_heads=1)
STUDENT_LLAMA = replace(STUDENT_QWEN, out="runs/student_llama", family="llama", kv_heads=3)
"""Students of the embedded base, at most a quarter of its size, with its tokenizer."""

V3_TINY = Config(
    out="runs/v3_tiny",
    family="deepseek_v3",
    d_model=160,
    d_ff=432,
    layers=4,
    heads=5,
    kv_heads=5,
    head_dim=8,
    train=ComputeConfig(
        rows=256, width=256, max_segments=8, remat="none", unroll=0, chunk=256, kernel="xla",
        auxiliary=AuxiliaryConfig(balance=1e-4, router_step=1e-3),
    ),
)  # fmt: skip
"""A base of DeepSeek-V3's form: head_dim is that of rotated parts."""

COUNTDOWN = Config(
    out="runs/tinyzero_base",
    corpus="countdown",
    steps=2500,
    batch=512,
    tokenizer="new",
    vocab=620,
    d_model=512,
    d_ff=1408,
    layers=8,
    heads=8,
    kv_heads=4,
    head_dim=64,
    optimizer=OptimizerConfig(lr=1e-3, schedule="cosine", warmup=100, final=0.02, weight_decay=0.1),
    train=ComputeConfig(
        rows=152, width=512, max_segments=24, dtype="bfloat16", remat="none", unroll=4, chunk=256
    ),
)
"""A base for TinyZero's countdown, on one H200: rows hold a batch of 512 documents at a time."""

PRESETS = {
    "student-qwen": STUDENT_QWEN,
    "student-llama": STUDENT_LLAMA,
    "v3-tiny": V3_TINY,
    "countdown": COUNTDOWN,
}
