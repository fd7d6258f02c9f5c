"""How likely plain English is to a model: what training on sums makes it forget.

    python -m experiments.smollm2.english --checkpoints runs/.../checkpoints

Mean log-probability of a token of english.txt, ten passages of ours that no corpus holds, each read
from its beginning. Seconds. Leaves summary.json.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.commands import cli
from r1jax.data.padding import padded
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import attention, decoder
from r1jax.models.config import ModelConfig
from r1jax.rollout.policy import load_policy
from r1jax.run.flags import PlaceFlags, TrustConfig
from r1jax.run.names import SUMMARY
from r1jax.stages.opening import opened
from r1jax.training.weights import trained_weights
from r1jax.types import Params

TEXT = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True)
class Config(PlaceFlags):
    """Which model reads, in float32."""

    run: str = "runs/smollm2-english"
    model: str = "smollm2"
    """The base, as other commands name it, or a model directory."""
    checkpoints: str = ""
    """Directory of a run's checkpoints, whose newest weights replace the model's."""
    checkpoint: TrustConfig = field(default_factory=TrustConfig)
    """Which of them count, and how this ends when it is asked to."""


def main(config: Config) -> None:
    """Reads the passages and leaves their mean log-probability."""
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        policy = load_policy(config.model, "plain")
        trusted = config.checkpoint.unverified
        params = trained_weights(
            policy, make_mesh(MeshConfig()), config.checkpoints, unverified=trusted
        )
        texts = TEXT.read_text(encoding="utf-8").strip().split("\n\n")
        ids = policy.tokenizer(texts, add_special_tokens=False).input_ids
        logp, tokens = likelihood(params, policy.config, ids)
        said = f"{logp:.4f} nats a token of {tokens}, perplexity {math.exp(-logp):.2f}"
        run.finish({"logp": logp, "tokens": tokens}, said)


def likelihood(params: Params, config: ModelConfig, texts: list[list[int]]) -> tuple[float, int]:
    """(mean log-probability, count) of all tokens but each text's first, in float32."""
    read = jax.jit(lambda params, tokens: _following(params, config, tokens))
    total = 0.0
    for ids, tokens in zip(texts, padded(texts), strict=True):
        logp = np.asarray(read(params, tokens[None]))
        total += float(logp[0, : len(ids) - 1].sum(dtype=np.float64))
    count = sum(len(ids) - 1 for ids in texts)
    return total / count, count


def _following(params: Params, config: ModelConfig, tokens: jax.Array) -> jax.Array:
    """f32[1, L-1]: the log-probability of each next token."""
    ids, positions = jnp.ones_like(tokens), jnp.arange(tokens.shape[1])[None]
    hidden = decoder.forward(params, config, tokens, positions, attention.Segments(ids, 1))
    logp = jax.nn.log_softmax(decoder.logits(params, hidden).astype(jnp.float32))
    return jnp.take_along_axis(logp[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
