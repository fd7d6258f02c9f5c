"""Learning from a teacher's distribution beside, or instead of, the text (paper, section 2.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.errors import UserError, check_ranges
from r1jax.losses.reduce import masked, masked_sum, token_mean
from r1jax.losses.sft import sft
from r1jax.models import attention as attn
from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.models.divergence import divergence
from r1jax.models.kinds import Told, cast, with_auxiliary
from r1jax.models.logp import aligned, following, score_hidden
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.teacher import DistributionTeacher
from r1jax.training.update import join
from r1jax.types import Batch, Mean, Metrics, Params, Stats


@dataclass(frozen=True)
class TeacherConfig(DistributionTeacher):
    """A model whose next-token distributions are learnt; without one the text alone is."""

    weight: float = 1.0
    """Share of the divergence in the loss; the rest is the text's negative log-likelihood."""
    temperature: float = 1.0
    """Both distributions are taken at this temperature."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range or says something of no teacher."""
        super().__post_init__()
        check_ranges(self, "--teacher.", weight="(0,1]", temperature="(0,]")


SCORED, TOKEN, LOGP = "teacher_scored", "teacher_token_{}", "teacher_logp_{}"
"""Columns of a served teacher: whether it has scored the completion, its likeliest tokens."""


def likeliest_columns(batch: Batch, k: int) -> tuple[jax.Array, jax.Array]:
    """i32[B, T, k] and f32[B, T, k], a teacher's likeliest tokens in the place of each token."""
    ids, logp = (
        jnp.stack([batch.column(name.format(i)) for i in range(k)], axis=-1)
        for name in (TOKEN, LOGP)
    )
    return ids.astype(jnp.int32), logp


Added = Callable[[Stats, jax.Array, Batch], tuple[jax.Array, Metrics]]
"""(what the student says, divergence f32[B, T], batch) -> (share of the loss, metrics)."""


def beside_text(config: TeacherConfig) -> Added:
    """(1 − w)·NLL + w·divergence per learnt token."""

    def added(stats: Stats, apart: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        nll, metrics = sft(stats, batch)
        metrics |= {"distill/kl": Mean(masked_sum(apart, batch), jnp.sum(batch.mask))}
        value = config.weight * token_mean(apart, batch)
        return value + (1 - config.weight) * nll if config.weight < 1 else value, metrics

    return added


def make_share(
    student: ModelConfig,
    teacher: ModelConfig | None,
    config: DistributionTeacher,
    added: Added,
    mesh: Mesh,
    compute: ComputeConfig,
    lora: LoraConfig | None = None,
    temperatures: tuple[float, float] = (1.0, 1.0),
) -> Callable[[Params, Params, Batch], tuple[jax.Array, Metrics]]:
    """(params, {"base", "teacher"}, batch) -> what `added` makes of text and divergence.

    Of the two temperatures the first is that of what the student says, the second that of both
    distributions. The head of the model with the larger (padded) vocabulary is cut to the other's.
    Without a model the teacher's likeliest tokens are columns of the batch (`likeliest_columns`).
    """
    size = min(student.vocab_size, teacher.vocab_size) if teacher else student.vocab_size
    if compute.auxiliary.ahead:
        raise UserError(
            "--train.auxiliary.ahead: a student of a teacher's logits is trained without it"
        )
    student = compute.roomy(compute.auxiliary.applied(student, bool(lora)))

    def run(params: Params, c: ModelConfig, batch: Batch) -> tuple[jax.Array, tuple[Told, ...]]:
        segments = attn.Segments(batch.segment_ids, batch.lengths.shape[1])
        return decoder.forward_told(
            params, c, batch.tokens, batch.positions, segments,
            mesh=mesh, remat=compute.remat, unroll=compute.unroll, kernel=compute.kernel,
        )  # fmt: skip

    def share(params: Params, frozen: Params, batch: Batch) -> tuple[jax.Array, Metrics]:
        student_params = cast(join(params, frozen["base"], lora), compute.dtype)
        # Hidden states [B, T, d]; the teacher's d may be another.
        hidden, told = run(student_params, student, batch)
        own, _ = following(hidden, batch.tokens, 1, mesh)
        if teacher is None:
            columns = likeliest_columns(batch, config.top_k)
            other, other_head = tuple(following(hidden, x, 1, mesh)[1] for x in columns), None
        else:
            teacher_params = cast(frozen["teacher"], compute.dtype)
            teacher_hidden = jax.lax.stop_gradient(run(teacher_params, teacher, batch)[0])
            other, _ = following(teacher_hidden, batch.tokens, 1, mesh)
            other_head = decoder.head(teacher_params)[:, :size]
        apart = divergence(
            own, decoder.head(student_params)[:, :size], other, other_head,
            kind=config.kind, temperature=temperatures[1],
            top_k=config.top_k, beta=config.beta, chunk=compute.chunk, mesh=mesh,
        )  # fmt: skip
        # f32[B, T - 1] of the positions that predict -> f32[B, T] of the tokens predicted.
        apart = masked(aligned(apart, batch), batch)
        if teacher is None:
            apart *= batch.column(SCORED)
        stats = score_hidden(
            student_params, hidden, batch, temperatures[0], chunk=compute.chunk, mesh=mesh
        )
        value, metrics = added(stats, apart, batch)
        return with_auxiliary(student, told, batch, value, jax.lax.stop_gradient(metrics))

    return share
