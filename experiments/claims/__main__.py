"""The paper's claims in miniature, all or some of them, their runs in one pool.

    python -m experiments.pretraining.base --out runs/base0 --seed 0
    python -m experiments.pretraining.base --out runs/base1 --seed 1
    python -m experiments.claims --bases runs/base0 runs/base1 --only a b g k \\
        --devices 4 --jobs 9 --memory-fraction 0.1 --deadline 560
    python -m experiments.claims.page

Each claim was declared before it was run: what is measured, its sign, the smallest effect that
counts. Each is run on every base with every seed; runs that claims share are run once. What is
finished is not run again, what was stopped (by --deadline, or a kill) goes on where it stood. One
run takes a minute or two, on an accelerator mostly host time (JAX_COMPILATION_CACHE_DIR, set to a
directory, spares all but the first the compilation); `--preset smoke` runs everything in
miniature on a CPU. Leaves runs in --out and one JSON file for each claim in --results; `--only d`
runs one claim alone.
"""

from __future__ import annotations

from experiments.claims.runs import Config
from experiments.claims.study import PRESETS, main
from r1jax.commands import cli

if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), description=__doc__, presets=PRESETS))
