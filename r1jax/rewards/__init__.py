"""Rewards: text in, numbers out. Plain Python; jax is never imported here."""

from r1jax.rewards.accuracy import Accuracy, accuracy
from r1jax.rewards.adapters import (
    load_reward,
    named_reward,
    per_answer,
    per_completion,
    per_token,
    random_reward,
)
from r1jax.rewards.answers.extract import AnswerPolicy, extract
from r1jax.rewards.answers.graders import GRADERS, check_gold, grade
from r1jax.rewards.answers.gym import unsafe_reasoning_gym_tasks
from r1jax.rewards.base import BaseReward
from r1jax.rewards.code import CodeReward, code
from r1jax.rewards.format import is_strict_format, strict_format, tag_count
from r1jax.rewards.language import language_consistency, thought_words
from r1jax.rewards.length import soft_overlong
from r1jax.rewards.repetition import repetition_penalty
from r1jax.rewards.sandbox import SandboxConfig
from r1jax.rewards.score import Term, score
from r1jax.rewards.workers.pool import RewardPool
from r1jax.rewards.workers.unit import Counts

__all__ = [
    "GRADERS",
    "Accuracy",
    "AnswerPolicy",
    "BaseReward",
    "CodeReward",
    "Counts",
    "RewardPool",
    "SandboxConfig",
    "Term",
    "accuracy",
    "check_gold",
    "code",
    "extract",
    "grade",
    "is_strict_format",
    "language_consistency",
    "load_reward",
    "named_reward",
    "per_answer",
    "per_completion",
    "per_token",
    "random_reward",
    "repetition_penalty",
    "score",
    "soft_overlong",
    "strict_format",
    "tag_count",
    "thought_words",
    "unsafe_reasoning_gym_tasks",
]
