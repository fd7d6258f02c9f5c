"""What a run would need of each device's memory, before any weights are loaded.

    r1jax memory_plan --model QWEN2.5-7B-DIRECTORY --lora.rank 16 --device-gb 80

Takes the flags of `r1jax zero`, compiles the update for the devices at hand, and prints how
many GB hold what and the peak of both phases; exit status 2 where that is more than there is. Of
the model directory only config.json and the tokenizer are read, and data files are opened as the
run would open them. Under a minute on an accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.commands import Command
from r1jax.errors import UserError, check_ranges
from r1jax.presets.ppo import PPO
from r1jax.presets.prime import PRIME
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.presets.zero import PRESETS
from r1jax.run.visible import line
from r1jax.training.rl import memory
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.setup import build


@dataclass(frozen=True)
class Config(RLConfig):
    """The run whose memory is planned."""

    device_gb: float = 0.0
    """Memory of one device in GB (10^9 bytes); 0: what the device at hand has."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", device_gb="[0,]")


def main(config: Config) -> None:
    """Prints the plan; UserError where it does not fit."""
    rows = memory.plan(build(config, note=print))
    limit = config.device_gb * 1e9 or memory.capacity()
    table = Table(title=Text(line(f"memory per device: {config.model}")))
    table.add_column("")
    table.add_column("GB", justify="right")
    for name, size in rows.items():
        table.add_row(name, f"{size / 1e9:,.2f}", style="bold" if name == "peak" else None)
    Console(width=100).print(table)
    if rows["peak"] > limit:
        raise UserError(f"{rows['peak'] / 1e9:,.2f} GB exceed {limit / 1e9:,.2f}; {memory.ADVICE}")
    print(f"fits {limit / 1e9:,.2f} GB")


RUNS = PRESETS | REPRODUCTIONS | PPO | PRIME
PLANS = {name: Config(**vars(run)) for name, run in RUNS.items()}
COMMAND = Command(main, PLANS["research"], PLANS)
