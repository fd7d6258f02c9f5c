"""Distillation (paper, section 2.4): the 800k samples, or a teacher's logits, into dense students.

The paper's students are fine-tuned on samples alone, without reinforcement learning. A teacher with
the student's own tokens can be learnt from directly (`--teacher.model`), which is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from r1jax.stages.supervised import SFTConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.update import ComputeConfig


@dataclass(frozen=True)
class Student:
    """One of the paper's: which base it is, and its first learning rate (supplement, B.4.3)."""

    base: str
    lr: float


STUDENTS: dict[str, Student] = {
    "qwen-1.5b": Student("Qwen/Qwen2.5-Math-1.5B", 1e-4),
    "qwen-7b": Student("Qwen/Qwen2.5-Math-7B", 8e-5),
    "qwen-14b": Student("Qwen/Qwen2.5-14B", 7e-5),
    "qwen-32b": Student("Qwen/Qwen2.5-32B", 6e-5),
    "llama-8b": Student("meta-llama/Llama-3.1-8B", 5e-5),
    "llama-70b": Student("meta-llama/Llama-3.3-70B-Instruct", 2e-5),
}

_PAPER = SFTConfig(
    epochs=2,  # paper (B.4.3): two to three
    batch=64,  # paper (B.4.3)
    train=ComputeConfig(
        rows=1,  # ours
        width=32_768,  # paper (B.4.3): context
        max_segments=64,  # ours: packing is not given
        dtype="bfloat16",  # ours: not given
        remat="full",  # ours
        chunk=256,  # ours
    ),
)

PRESETS: dict[str, SFTConfig] = {
    name: replace(
        _PAPER,
        run=f"runs/distill-{name}",
        model=student.base,
        optimizer=OptimizerConfig(
            lr=student.lr,  # paper (B.4.3)
            schedule="cosine",  # paper (B.4.3)
            final=0.1,  # paper (B.4.3): to a tenth
        ),
    )
    for name, student in STUDENTS.items()
}
