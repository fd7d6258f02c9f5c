"""Distillation (paper, section 2.4): the 800k samples, or a teacher's logits, into dense students.

The paper's students are fine-tuned on samples alone, without reinforcement learning. A teacher with
the student's own tokens can be learnt from directly (`--teacher.model`), or judge what the student
writes (`--on-policy`), which are ours.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.losses import PRESETS as LOSSES
from r1jax.presets.zero import PRESETS as ZERO
from r1jax.stages.students import STUDENTS
from r1jax.stages.supervised import SFTConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.teacher import PolicyTeacher

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

_TAUGHT = {
    "reward": RewardConfig().only(),  # the teacher alone
    "loss": replace(LOSSES["research"], reduction="token_mean"),  # every token is judged alike
}

# On the student's own samples; everything here is ours.
ON_POLICY: dict[str, RLConfig] = {
    "research": replace(
        ZERO["research"],
        **_TAUGHT,
        run="runs/distill-on-policy",
        updates=150,
        look=0,  # judges what a rule would reward
        rollout=replace(ZERO["research"].rollout, prompts=64, group=4),
    ),
    # Its own teacher, TRL's defaults (experimental/sdpo at 03718eb; arXiv 2601.20802, whose own
    # loss compares the hundred likeliest tokens); lengths and batch are those of zero's research.
    "sdpo": replace(
        ZERO["research"],
        run="runs/sdpo",
        look=0,  # ours: as above
        reward=RewardConfig().only(),  # TRL: distillation_only
        loss=replace(
            LOSSES["research"],
            objective="cispo_cap",  # TRL: log p by the ratio, without its gradient
            clip_high=2.0,  # TRL: distillation_is_clip
            reduction="token_mean",  # TRL: loss_type dapo, there of tokens that have a teacher
            importance_cap=None,  # TRL: none
        ),
        teacher=PolicyTeacher(shown="reference"),  # TRL: teacher_model_kind ema
        train=replace(
            ZERO["research"].train,
            reference_every=1,  # TRL: teacher_sync_steps
            reference_rate=0.05,  # TRL: teacher_update_rate
            width=2816,  # ours: a prompt, its answer and the other one
        ),
    ),
    "demo": replace(ZERO["demo"], **_TAUGHT, run="runs/distill-on-policy-demo"),
}
