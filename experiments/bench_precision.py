"""How far sampler and trainer are apart in each arithmetic, and which rounding is to blame.

    python -m experiments.bench_precision --model DIRECTORY
    python -m experiments.bench_precision --shape 1.5b --tokens 128

The first table has the two programs as a run has them: the engine writes completions at temperature
1 in one arithmetic, the trainer scores them in the same or another; differences of the tokens'
log-probabilities are in nats, `ratio` is the largest π_old/μ and `k3` the mean estimate of the
divergence. Of a model with experts a row says how many choices of experts the two make otherwise
(`routes`, of the tokens that predict), and one more what is left where the trainer replays the
sampler's. A GPU rounds float32 products too, unless JAX_DEFAULT_MATMUL_PRECISION=highest says
otherwise.

The second table has one decoder in exact float32 that rounds results of an operation (its weights
are rounded once, as both programs' are), and beside it the same with the sums of its products cut
otherwise: two programs of one arithmetic. `alone` rounds one operation's results, `without` those
of all others. "as programmed" leaves the residual stream in float32; "operands of products" is what
no 16-bit product can do without: the floor of that type. A model's own weights answer sums; random
weights of a shape continue random tokens. Under 3 minutes on one GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from experiments.bench.loads import fixed
from experiments.bench.roundings import OPERANDS, POINTS, codes, logp
from experiments.bench.shapes import ShapeFlags, chosen
from experiments.bench.table import emit
from r1jax.commands import cli
from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.errors import UserError, check_ranges
from r1jax.losses.sft import sft
from r1jax.mesh import make_mesh, row_devices
from r1jax.models.config import ModelConfig
from r1jax.problem import Problem
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.rollout.sampling import Sampling
from r1jax.training.batches import ComputeConfig, over_completions, place_batch
from r1jax.training.metrics import finish
from r1jax.training.rl.collect import to_sequences
from r1jax.training.rl.setup import with_sampled
from r1jax.training.update import cast, make_functions, token_logp
from r1jax.training.weights import drawn
from r1jax.types import Params

Arithmetic = Literal["float32", "bfloat16", "float16"]
PAIRS = (
    "bfloat16/bfloat16", "bfloat16/float32", "float16/float16", "float16/float32", "float32/float32"
)  # fmt: skip
PIECES = 3  # of the sums of the second program


@dataclass(frozen=True)
class Config(ShapeFlags):
    """What is measured."""

    model: str = ""
    """Model whose own weights are measured, on sums it is asked; empty: --shape, random weights."""
    pairs: tuple[str, ...] = PAIRS
    """Arithmetic of the sampler and of the trainer, SAMPLER/TRAINER; none: only roundings."""
    dtype: Arithmetic = "bfloat16"
    """What the second table rounds to; float32: no second table."""
    prompts: int = 16
    """Prompts, each with `group` completions."""
    group: int = 4
    """Completions per prompt."""
    tokens: int = 96
    """Longest completion; of a shape, whose prompts have 64 tokens, the length of all."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", prompts="[1,]", group="[1,]", tokens="[2,]")
        wrong = [pair for pair in self.pairs if pair not in PAIRS]
        if wrong:
            raise UserError(f"--pairs {wrong[0]}: choose from {', '.join(PAIRS)}")


def main(config: Config) -> None:
    """Measures and prints."""
    mesh = make_mesh(config.mesh)
    name, c, params, prompts = asked(config, mesh)
    sequences: dict[str, Sequences] = {}
    rows = []
    for pair in config.pairs:
        sampler, trainer = pair.split("/")
        if sampler not in sequences:
            sequences[sampler] = completed(config, c, mesh, params, prompts, sampler)
        for replay in (False, True) if c.experts else (False,):
            found = compared(c, mesh, params, sequences[sampler], trainer, replay)
            rows.append(found | {"arithmetic": pair + (", routes replayed" if replay else "")})
    rows = [{"arithmetic": row.pop("arithmetic"), **row} for row in rows]
    if rows:
        emit(f"sampler against trainer, {name}", rows, config.out)
    if config.dtype == "float32":
        return
    given = next(iter(sequences.values()), None)
    given = given or completed(config, c, mesh, params, prompts, config.dtype)
    roundings = list(
        by_point(c, cast(cast(params, config.dtype), jnp.float32), given, config.dtype)
    )
    out = config.out and f"{config.out.removesuffix('.json')}-roundings.json"
    emit(f"{config.dtype} by what is rounded, {name}", roundings, out)


def asked(config: Config, mesh: Mesh) -> tuple[str, ModelConfig, Params, list[Prompt]]:
    """(name, shape, f32 weights, prompts): a model's own with sums to answer, or a random one."""
    if not config.model:
        name, c = chosen(config.shape)
        slots = config.prompts * config.group
        load = fixed(slots, config.tokens, 64, config.group, c.vocab_size, config.seed)
        return name, c, drawn(c, mesh, config.seed), load.prompts
    policy = load_policy(config.model, "r1_zero")
    if policy.tokenizer.chat_template:
        policy = load_policy(config.model, "chat")
    numbers = np.random.default_rng(config.seed).integers(10, 99, (config.prompts, 2))
    sums = [Problem(f"{a}+{b}", f"What is {a} + {b}?", str(a + b)) for a, b in numbers]
    prompts = [Prompt(policy.prompt(p), i, config.group) for i, p in enumerate(sums)]
    return config.model, policy.config, load_weights(policy, mesh), prompts


def completed(
    config: Config, c: ModelConfig, mesh: Mesh, params: Params, prompts: list[Prompt], dtype: str
) -> Sequences:
    """What the engine writes in an arithmetic, with its log-probabilities."""
    longest = max(len(prompt.tokens) for prompt in prompts)
    slots = config.prompts * config.group
    engine = Engine(
        c, mesh, EngineConfig(slots=slots, max_prompt=longest, max_tokens=config.tokens),
        stop_ids=c.eos_ids, dtype=dtype,
    )  # fmt: skip
    weights = engine.prepare(params)
    written = engine.generate(weights, prompts, Sampling(1.0), seed=config.seed, rollout=1)
    return to_sequences(sorted(written, key=lambda g: (g.prompt, g.sample)))


def compared(
    c: ModelConfig,
    mesh: Mesh,
    params: Params,
    sequences: Sequences,
    trainer: str,
    replay: bool = False,
) -> dict[str, Any]:
    """The sampler's log-probabilities of its completions against the trainer's."""
    rows = 8 * row_devices(mesh)
    width = 16 * -(-int(sequences.totals.max()) // 16)
    compute = ComputeConfig(rows=rows, width=width, max_segments=4, dtype=trainer)
    c = with_sampled(c, replay)
    values = over_completions(token_logp(c, mesh, compute, 1.0), params, sequences, compute, mesh)
    sampled = sequences.columns["sampler_logp"]
    inside = np.arange(sampled.shape[1]) < sequences.lengths[:, None]
    signed = (values[:, : sampled.shape[1]] - sampled)[inside].astype(np.float64)
    spread = differences(signed) | {"ratio": float(np.exp(signed.max()))}
    if c.experts and not replay:
        spread["routes"] = routed_otherwise(c, mesh, params, sequences, compute)
    return spread | {"k3": float(np.mean(np.expm1(signed) - signed)), "tokens": len(signed)}


def routed_otherwise(
    c: ModelConfig, mesh: Mesh, params: Params, sequences: Sequences, compute: ComputeConfig
) -> float:
    """policy/route_diff_frac of the completions."""
    run = make_functions(c, mesh, compute, sft, optax.identity())
    sums = run.start()
    for batch in pack(sequences, *compute.shape, Denominators.of(sequences, 1)):
        sums = run.accumulate(params, sums, place_batch(batch, mesh))
    return finish(jax.device_get(sums.metrics))["policy/route_diff_frac"]


def differences(signed: np.ndarray) -> dict[str, float]:
    """Mean, 99th percentile and largest of |differences|."""
    size = np.abs(signed)
    return {"mean": size.mean(), "p99": np.quantile(size, 0.99), "max": size.max()}


def by_point(
    c: ModelConfig, params: Params, sequences: Sequences, dtype: str
) -> Iterator[dict[str, Any]]:
    """A row for each operation whose results are rounded, and for sets of them."""
    columns = np.arange(1, sequences.tokens.shape[1])
    begin, end = sequences.prompt_lengths[:, None], sequences.totals[:, None]
    inside = (columns >= begin) & (columns < end)  # bool[N, L - 1], by the token predicted
    tokens = jnp.asarray(np.where(np.arange(sequences.tokens.shape[1]) < end, sequences.tokens, 0))

    def apart(points: Any) -> dict[str, float]:
        runs = (logp(params, c, tokens, codes(dtype, points), n) for n in (1, PIECES))
        one, other = (np.asarray(x, np.float64)[inside] for x in runs)
        return differences(one - other)

    every = [point for point in POINTS if point != "logits"]  # the programs have them in f32
    sets = {"nothing": [], "everything": every, "as programmed": every[1:],
            "operands of products": OPERANDS}  # fmt: skip
    for name, points in sets.items():
        yield {"rounded": name, **apart(points)}
    for point in POINTS:
        rest = {f"without: {k}": v for k, v in apart([p for p in every if p != point]).items()}
        yield {"rounded": point, **apart([point]), **rest}


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
