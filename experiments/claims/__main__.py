"""The paper's claims in miniature, all or some of them, their runs in one pool.

    python -m experiments.claims --only random g --devices 1 --jobs 14 --memory-fraction 0.06 \\
        --minutes 9.5
    python -m experiments.claims.page

Each claim is a file here that reads as its protocol: what is measured, its sign, the smallest
effect that counts, fixed before its runs. It is run on five bases, trained for it by
`experiments.pretraining.base`, with two seeds or more; each arm's rate is chosen beforehand from
the same grid, on another base, other seeds and other problems. Runs that claims share are run once.
What is finished is not run again, what was stopped (by --minutes, or a kill) goes on where it
stood; `--figures`, a line for each run, and --bases-in are all that has to be kept: a run with a
line is made again only where another needs its weights. A run of 60 updates took 30 to 55 seconds
beside thirteen others on an H200 under CUDA's multi-process service, once what they share was
compiled (it is kept in <out>/compiled); `--preset smoke` runs everything in miniature on a CPU.
docs/claims.md is written by the second command, and says what each claim would take.
"""

from __future__ import annotations

from experiments.claims.runs import Config
from experiments.claims.study import PRESETS, main
from r1jax.commands import cli

if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), description=__doc__, presets=PRESETS))
