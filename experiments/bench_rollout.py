"""How fast completions are written: tokens a second, time of a decode step, share of the roofline.

    python -m experiments.bench_rollout --shape 1.5b --cases 256x256 1024x256 256x1024 --kernels 20
    python -m experiments.bench_rollout --write-requests requests.jsonl
    python -m experiments.bench_rollout --requests requests.jsonl --slots 256

Weights and prompts are random, nothing else is: tokens are drawn at temperature 1 from the whole
vocabulary, stop tokens count, log-probabilities come back, and prefill and the way to the host are
inside the time. Random weights draw a stop token about once in a vocabulary, so nearly every
completion has its full length; `stopped` counts the others. The roofline's rates are measured
first; `reached` is the share of the tokens per second at which every slot would step at the
roofline. A request list has prompts of 64 to 512 tokens and log-normal completions (mean 300, at
most 2,048); its rate stands beside that of equal lengths at the same mean cache. `peak GB` is the
most held since the start, by any case so far. Fails when anything is compiled after
warm-up. A few minutes on an H200.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from experiments.bench.ceilings import measured_ceilings
from experiments.bench.kernels import Kernel, shares, top
from experiments.bench.loads import Workload, equal_cache, fixed, mixed, parse_case
from experiments.bench.requests import draw_requests, read_requests, write_requests
from experiments.bench.rollout import Measured, Setup, measure, roofline, row
from experiments.bench.shapes import ShapeFlags, chosen
from experiments.bench.table import emit
from r1jax.commands import cli
from r1jax.errors import UserError, check_ranges
from r1jax.mesh import make_mesh
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.quantized import WeightFormat, require
from r1jax.report.markdown import readable
from r1jax.rollout.engine import EngineConfig
from r1jax.training.weights import drawn


@dataclass(frozen=True)
class Config(ShapeFlags):
    """What is measured."""

    cases: tuple[str, ...] = ("256x256", "1024x256", "256x1024")
    """Completions side by side and tokens of each, SLOTSxTOKENS."""
    prompt: int = 128
    """Tokens of a prompt."""
    groups: tuple[int, ...] = (16, 1)
    """Completions per prompt; each case runs with each, and 1 means distinct prompts."""
    requests: str = ""
    """A request list to run instead of the cases."""
    write_requests: str = ""
    """File to write a request list to; nothing is run."""
    count: int = 4096
    """Requests to write."""
    slots: int = 256
    """Slots for a request list."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Arithmetic of the model."""
    weights: WeightFormat = "same"
    """Matrices of the layers: same (as dtype says), or float8."""
    repeats: int = 3
    """Timed rollouts of each case; medians are shown."""
    kernels: int = 0
    """Trace one more rollout of each shape of equal lengths and show its longest kernels."""
    rollout: EngineConfig = EngineConfig()
    """Engine; its slots, max_prompt and max_tokens follow from what is run."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(
            self, "--", prompt="[1,]", repeats="[1,]", count="[1,]", slots="[1,]", kernels="[0,]"
        )


def main(config: Config) -> None:
    """Writes a request list, or measures and prints."""
    check(config)
    name, c = chosen(config.shape, config.model)
    if config.write_requests:
        requests = draw_requests(config.count, c.vocab_size, config.seed)
        write_requests(config.write_requests, requests)
        print(
            f"{len(requests):,} requests, {sum(r.max_tokens for r in requests):,} tokens to write"
        )
        return
    loads = list(chosen_loads(config, c))
    mesh = make_mesh(config.mesh)
    ceilings = measured_ceilings(config.dtype)
    params = drawn(c, mesh, config.seed)
    setup = Setup(
        c, mesh, params, config.rollout, config.dtype, config.seed, config.repeats, config.weights
    )
    results: list[Measured] = []
    rows: list[dict[str, Any]] = []
    for load in loads:
        results.append(measure(setup, load, trace=config.kernels > 0))
        rows.append(row(load, results[-1], roofline(setup, load, ceilings)))
        print(f"{load.name}, groups of {load.group}: {results[-1].rate:,.0f} tok/s", flush=True)
        if kernels := results[-1].kernels:
            show_kernels(load, kernels, config.kernels)
            rows[-1] |= {"kinds": shares(kernels), "kernels": top(kernels, config.kernels)}
    if config.requests:
        rows[0]["of equal lengths"] = results[0].rate / results[1].rate
    rates = f"{ceilings.flops_per_s / 1e12:.3g} TFLOP/s, {ceilings.bytes_per_s / 1e12:.3g} TB/s"
    how = config.dtype if config.weights == "same" else f"{config.dtype} ({config.weights} weights)"
    emit(f"rollout of {name} in {how}; ceilings {rates} a device", rows, config.out)
    for load, result in zip(loads, results, strict=True):
        result.later.require_none(load.name)


def check(config: Config) -> None:
    """Raises UserError for flags that mean nothing or that nothing would read."""
    require(config.weights, "--weights")
    for name in ("slots", "max_prompt", "max_tokens"):
        if getattr(config.rollout, name) != getattr(EngineConfig(), name):
            flag = name.replace("_", "-")
            raise UserError(f"--rollout.{flag}: follows from --cases, --prompt or --requests")
    if not config.requests and not (config.cases and config.groups):
        raise UserError("--cases, --groups: name at least one of each, as in --cases 256x256")
    if config.requests and config.write_requests:
        raise UserError("--requests, --write-requests: give one of them; writing runs nothing")
    if config.requests and config.kernels:
        raise UserError("--kernels: a request list is too long a trace; give it with --cases")


def chosen_loads(config: Config, c: ModelConfig) -> Iterator[Workload]:
    """A request list and the equal lengths beside it, or every case with every group."""
    if config.requests:
        listed = mixed(config.slots, read_requests(config.requests, c.vocab_size))
        yield listed
        yield equal_cache(listed, c.vocab_size, config.seed)
        return
    for slots, tokens in map(parse_case, config.cases):
        for group in config.groups:
            yield fixed(slots, tokens, config.prompt, group, c.vocab_size, config.seed)


def show_kernels(load: Workload, found: list[Kernel], count: int) -> None:
    """Prints the longest kernels of the traced rollout, and the share of each kind."""
    kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in shares(found).items())
    busy = readable(sum(kernel.seconds for kernel in found))
    title = f"kernels of {load.name}, groups of {load.group}: {busy} s, {kinds}"
    emit(title, top(found, count), "")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
