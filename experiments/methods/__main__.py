"""Every method once on the embedded base, beside GRPO and at equal operations of the student.

    python -m experiments.methods --devices 2 --jobs 5 --memory-fraction 0.15 --minutes 9.5
    python -m experiments.methods.page

GRPO runs first: what its writing, scoring and learning take is what every other method may spend.
`--only NAME ...` runs some of them (docs/methods.md has their names). What is finished is not run
again, what was stopped goes on; `--figures`, a line for each run, is all that has to be kept. Meant
for a card or two that five runs share; `--preset smoke` runs everything in miniature on a CPU.
docs/methods.md is written by the second command.
"""

from __future__ import annotations

from experiments.methods.arms import Config
from experiments.methods.study import SMOKE, main
from r1jax.commands import cli

if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), description=__doc__, presets={"smoke": SMOKE}))
