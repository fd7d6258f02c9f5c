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
from r1jax.models.divergence import Direction, divergence
from r1jax.models.kinds import Told, cast, with_auxiliary
from r1jax.models.logp import aligned, following, score_hidden
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.teacher import NamedTeacher
from r1jax.training.update import join
from r1jax.types import Batch, Mean, Metrics, Params


@dataclass(frozen=True)
class TeacherConfig(NamedTeacher):
    """A model whose next-token distributions are learnt; without one the text alone is."""

    weight: float = 1.0
    """Share of the divergence in the loss; the rest is the text's negative log-likelihood."""
    kind: Direction = "forward"
    """forward: KL(teacher, student), which covers all the teacher may say; reverse: KL(student,
    teacher), which keeps to what it is likely to say."""
    temperature: float = 1.0
    """Both distributions are taken at this temperature."""
    top_k: int = 0
    """Likeliest tokens of the teacher that are told apart, all others as one; 0: all."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range or says something of no teacher."""
        super().__post_init__()
        check_ranges(self, "--teacher.", weight="(0,1]", temperature="(0,]", top_k="[0,]")


def make_share(
    student: ModelConfig,
    teacher: ModelConfig,
    config: TeacherConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    lora: LoraConfig | None = None,
) -> Callable[[Params, Params, Batch], tuple[jax.Array, Metrics]]:
    """(params, {"base", "teacher"}, batch) -> share of (1 − w)·NLL + w·KL per learnt token.

    The head of the model with the larger (padded) vocabulary is cut to the other's.
    """
    size = min(student.vocab_size, teacher.vocab_size)
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
        teacher_params = cast(frozen["teacher"], compute.dtype)
        # Hidden states [B, T, d]; the teacher's d may be another.
        hidden, told = run(student_params, student, batch)
        teacher_hidden = jax.lax.stop_gradient(run(teacher_params, teacher, batch)[0])
        (own, _), (other, _) = (
            following(x, batch.tokens, 1, mesh) for x in (hidden, teacher_hidden)
        )
        kl = divergence(
            own, decoder.head(student_params)[:, :size],
            other, decoder.head(teacher_params)[:, :size],
            kind=config.kind, temperature=config.temperature,
            top_k=config.top_k, chunk=compute.chunk, mesh=mesh,
        )  # fmt: skip
        # f32[B, T - 1] of the positions that predict -> f32[B, T] of the tokens predicted.
        kl = masked(aligned(kl, batch), batch)
        stats = score_hidden(student_params, hidden, batch, 1.0, chunk=compute.chunk, mesh=mesh)
        nll, metrics = sft(stats, batch)
        metrics |= {"distill/kl": Mean(masked_sum(kl, batch), jnp.sum(batch.mask))}
        value = config.weight * token_mean(kl, batch)
        if config.weight < 1:
            value += (1 - config.weight) * nll
        return with_auxiliary(student, told, batch, value, jax.lax.stop_gradient(metrics))

    return share
