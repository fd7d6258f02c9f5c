"""Bytes of one device by what holds them, from the layout of the weight table alone.

As `r1jax.training.rl.memory.plan`, which compiles for the devices at hand, has them; what an update
holds beside its weights is counted by formula here.
"""

from __future__ import annotations

from jax.sharding import Mesh

from experiments.plan import counts
from experiments.plan.chips import shards
from experiments.plan.config import Config
from experiments.plan.counts import Assumed
from r1jax.models.config import ModelConfig
from r1jax.rollout.ladder import EngineConfig, ladder
from r1jax.training.batches import ComputeConfig

MOMENTS = {"adamw": 8, "adafactor": 0}
"""Bytes per weight; adafactor's means of rows and columns are a few per mille."""
STAYS = ("weights", "optimizer", "reference", "reward models")
LEARNING = ("gradients", "weights in 16 bits", "update")
SAMPLING = ("rollout weights", "cache", "rollout logits")
ADVICE = {
    "update": "lower --train.rows (a multiple of the devices that rows are spread over), "
    "--train.width or --train.chunk, use --train.remat full",
    "state": "more devices (--topology) that cut the weights (--mesh.fsdp, --mesh.expert, "
    "--mesh.tensor), --optimizer adafactor, or --no-reference",
    "sampling": "lower --rollout.slots or --rollout.max-tokens, or cut the model for decoding "
    "(--mesh.tensor, --mesh.expert)",
}


def of(c: ModelConfig, mesh: Mesh, config: Config) -> dict[str, float]:
    """All that a plan's run holds, and the most while learning and while sampling."""
    how = config.assumed
    learning = training(c, mesh, config.train, config.optimizer, config.reference, how)
    return peak(learning | sampling(c, mesh, config.rollout.engine, how))


def training(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    optimizer: str,
    reference: bool,
    how: Assumed,
) -> dict[str, float]:
    """Of the weights, what stays with them, and an update of one micro-batch."""
    held = counts.held(c, mesh)
    return {
        "weights": 4 * held,
        "optimizer": MOMENTS[optimizer] * held,
        "reference": 4 * held if reference else 0,
        "gradients": 8 * held,  # of the micro-batches so far, and of the one at hand
        "weights in 16 bits": 2 * held,
        "update": update(c, mesh, compute, how),
    }


def update(c: ModelConfig, mesh: Mesh, compute: ComputeConfig, how: Assumed) -> float:
    """What a micro-batch leaves for its backward pass, one layer's work, and the logits.

    A layer's weights are gathered, those of the head for all pieces of logits; without fused
    attention its scores are held, in f32, before and behind the softmax.
    """
    tokens, cut = compute.rows * compute.width / counts.token_devices(mesh), shards(mesh, "ffn")
    run, layers = counts.experts_run(c, mesh), c.n_layers
    kept = 4 * layers * tokens * c.d_model  # the stream in front of every layer
    if compute.remat != "full":
        times = 1 if compute.remat == "dots" else 3
        kept += 2 * times * tokens * counts.outputs(c, run) / cut
    one_layer = 2 * 2 * tokens * counts.passing(c, run) / cut / layers
    gathered = 2 * counts.products(c, 0) / cut / layers
    rows = compute.rows / shards(mesh, "batch")
    vocab = c.vocab_size / shards(mesh, "vocab")
    logits = 3 * 4 * rows * min(compute.chunk, compute.width) * vocab
    head = (2 + 4) * c.d_model * vocab
    scores = 0.0 if counts.fused(c, mesh, compute, how) else 8 * counts.scores(c, mesh, compute)
    return kept + one_layer + gathered + logits + head + scores


def sampling(c: ModelConfig, mesh: Mesh, rollout: EngineConfig, how: Assumed) -> dict[str, float]:
    """Of decoding: its own weights in 16 bits, the longest shape's cache, logits of a step."""
    shapes = ladder(rollout, counts.copies(mesh))
    tokens = max(slots * length for slots, length in shapes)
    slots, vocab = rollout.slots / counts.copies(mesh), c.vocab_size / shards(mesh, "vocab")
    return {
        "rollout weights": 2 * counts.decoded(c, mesh, how.own),
        "cache": tokens / counts.copies(mesh) * counts.cache_bytes(c, mesh),
        "rollout logits": 4 * 4 * slots * vocab,
    }


def peak(rows: dict[str, float]) -> dict[str, float]:
    """The rows, and the most that is held at a time: while learning or while sampling."""
    learning = _sum(rows, STAYS + LEARNING)
    return rows | {"while learning": learning, "while sampling": _sum(rows, STAYS + SAMPLING)}


def _sum(rows: dict[str, float], names: tuple[str, ...]) -> float:
    return sum(rows.get(name, 0) for name in names)


def advice(rows: dict[str, float], limit: float) -> str:
    """What to change where the rows exceed the limit: by what is the most too large."""
    if _sum(rows, (*STAYS, "gradients")) > limit:
        return ADVICE["state"]
    return ADVICE["update" if rows["while learning"] > limit else "sampling"]
