"""docs/scale.md, made by the formulas of `experiments/plan`: predicted, not measured.

    python -m experiments.pages.scale
    python -m experiments.pages.scale --price.h200 2.2 --run.tokens 9000 --out my_scale.md

Which devices each stage of R1 needs for four models on four kinds of chip, what R1-Zero's updates
take there, and what a million tokens cost. About a minute.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.pages.scale_text import (
    ASSUMED,
    COMPILED_ALSO,
    COMPILING,
    INTRODUCTION,
    MISSED,
)
from experiments.plan import calibration, compiled, stage
from experiments.plan.search import Found, StageNeeds, fewest, fitting, stages
from experiments.plan.shapes import MODELS
from r1jax.commands import cli
from r1jax.errors import check_ranges
from r1jax.models.config import ModelConfig
from r1jax.report.markdown import markdown_table

COMPILED = Path(__file__).parents[2] / "docs" / "scale" / "deepseek-v3.json"
"""As `experiments.plan` keeps it."""
KINDS = ("v5e", "v5p", "v6e", "h200")


@dataclass(frozen=True)
class Prices:
    """Dollars per chip and hour. Examples near list prices on demand, to be replaced by yours."""

    v5e: float = 1.2
    """TPU v5e."""
    v5p: float = 4.2
    """TPU v5p."""
    v6e: float = 2.7
    """TPU v6e."""
    h200: float = 3.5
    """NVIDIA H200."""

    def __post_init__(self) -> None:
        """Raises UserError when a price is below 0."""
        check_ranges(self, "--price.", v5e="[0,]", v5p="[0,]", v6e="[0,]", h200="[0,]")

    def of(self, chip: str) -> float:
        """That of a kind of chip."""
        return {"v5e": self.v5e, "v5p": self.v5p, "v6e": self.v6e, "h200": self.h200}[chip]


@dataclass(frozen=True)
class Config:
    """What is assumed of runs and prices, and where the page goes."""

    out: str = "docs/scale.md"
    """File to write."""
    most: int = 2048
    """Devices to try at most; numbers are powers of two."""
    devices: int = 512
    """Devices on which all models are compared (the paper's R1-Zero: 64 x 8 H800)."""
    run: stage.RunConfig = stage.RunConfig()
    """R1-Zero."""
    price: Prices = field(default_factory=Prices)
    """Per chip and hour."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--", most="[1,]", devices="[1,]")


def main(config: Config) -> None:
    """Writes the page."""
    Path(config.out).write_text(page(config), encoding="utf-8")


def page(config: Config, models: Sequence[str] = tuple(MODELS)) -> str:
    """The whole of it."""
    sizes = [2**i for i in range(config.most.bit_length()) if 2**i <= config.most]
    needs, runs, tokens = [], [], []
    for name in models:
        for chip in KINDS:
            c = MODELS[name]
            found = {s: fewest(c, chip, s, config.run, sizes) for s in stages(config.run)}
            needs.append([name, chip, *(_needed(c, s, f, config) for s, f in found.items())])
            rl = next(s for s in found if s.name == "RL")
            same = fitting(c, chip, config.devices, rl, config.run)
            for ways in (found[rl], same):
                runs += [[name, *_run(c, _fastest(c, ways, config), config)]] if ways else []
            if sampled := _more(c, chip, found, config):
                tokens.append([name, *_price(c, sampled, config)])
    return "\n".join(_lines(config, needs, runs, tokens))


def _more(
    c: ModelConfig, chip: str, found: dict[StageNeeds, list[Found]], config: Config
) -> Found | None:
    """The cheapest way to sample on up to four times the fewest devices."""
    one, ways = next((s, f) for s, f in found.items() if s.name == "sampling")
    if not ways:
        return None
    more = [fitting(c, chip, k * ways[0].devices, one, config.run) for k in (2, 4)]
    each = lambda way: way.tokens_per_second(c, config.run) / way.devices  # noqa: E731
    return max([*ways, *more[0], *more[1]], key=each)


def _lines(config: Config, needs: list[Any], runs: list[Any], tokens: list[Any]) -> list[str]:
    run = config.run
    words = [s.name for s in stages(run)]
    cases = calibration.rows()
    prices = ", ".join(f"{chip} {config.price.of(chip):g}" for chip in KINDS)
    return [
        INTRODUCTION,
        "## Devices that each stage needs\n",
        markdown_table(["model", "chip", *words], needs),
        f"\n## R1-Zero: {run.updates:,} updates of {run.completions} completions\n",
        f"On the fewest devices, and on {config.devices}; dollars per chip and hour: {prices}.\n",
        markdown_table(RUN_HEADS, runs),
        "\n## A million output tokens\n",
        "Sampling alone, all devices always busy, on one to four times the fewest that hold the\n"
        "model, whichever is cheapest.\n",
        markdown_table(PRICE_HEADS, tokens),
        "\n## Compiled for a TPU that is not here\n",
        *_compiled(),
        "\n## What is assumed\n",
        ASSUMED.format(**vars(run), prices=prices),
        "## Predicted beside measured\n",
        markdown_table(list(cases[0]), [list(row.values()) for row in cases]),
        "",
        MISSED,
    ]


def _compiled() -> list[str]:
    """What libtpu has said of the largest model's programs, with where and when."""
    found = json.loads(COMPILED.read_text(encoding="utf-8"))
    rows = [
        compiled.row(one) | {"CPU seconds": one.get("CPU seconds to compile", "")}
        for one in found["programs"]
    ]
    heads = tuple(max(rows, key=len))  # of one that was refused little is known
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return [
        COMPILING.format(versions=versions, date=found["date"]),
        markdown_table(heads, [[row.get(name, "") for name in heads] for row in rows]),
        COMPILED_ALSO,
    ]


def _needed(c: ModelConfig, one: StageNeeds, ways: list[Found], config: Config) -> str:
    """So many devices, and their mesh; more than were tried."""
    if not ways:
        return f"more than {config.most:,}"
    choose = _busiest if one.name == "sampling" else _fastest if one.samples else _first
    best = choose(c, ways, config)
    return f"{best.devices:,} ({best.axes})" if best.devices > 1 else "1"


def _first(c: ModelConfig, ways: list[Found], config: Config) -> Found:
    return ways[0]


def _fastest(c: ModelConfig, ways: list[Found], config: Config) -> Found:
    return min(ways, key=lambda way: way.update(c, config.run).whole)


def _busiest(c: ModelConfig, ways: list[Found], config: Config) -> Found:
    return max(ways, key=lambda way: way.tokens_per_second(c, config.run))


RUN_HEADS = (
    "model", "chip", "devices", "mesh", "slots", "rollout s", "scoring s", "learning s",
    "waits for", "hours", "chip hours", "dollars",
)  # fmt: skip
PRICE_HEADS = ("model", "chip", "devices", "mesh", "slots", "tok/s", "tok/s of a chip", "dollars")


def _run(c: ModelConfig, way: Found, config: Config) -> list[Any]:
    """A row of the table of runs."""
    one, price = way.update(c, config.run), config.price.of(way.chip)
    hours = config.run.updates * one.whole / 3600
    chips = hours * way.devices
    return [
        way.chip, way.devices, way.axes, way.rollout.slots, one.rollout, one.scoring, one.learning,
        one.bound, hours, chips, chips * price,
    ]  # fmt: skip


def _price(c: ModelConfig, way: Found, config: Config) -> list[Any]:
    """A row of the table of tokens."""
    rate, price = way.tokens_per_second(c, config.run), config.price.of(way.chip)
    dollars = stage.dollars(1e6 / rate, way.devices, price)
    each = rate / way.devices
    return [way.chip, way.devices, way.axes, way.rollout.slots, rate, each, float(dollars)]


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
