"""What is saved of a run whose policy collapsed: the best checkpoint as a model, and the report."""

from __future__ import annotations

from r1jax.checkpoint import restore_params
from r1jax.errors import Collapsed
from r1jax.run.names import EXPORT
from r1jax.stages.opening import Run
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.state import Files
from r1jax.training.update import trained_rows
from r1jax.training.weights import export


def rescued(run: Run, parts: Parts, files: Files, collapsed: Collapsed) -> Collapsed:
    """Exports the best checkpoint to <run>/hf and draws the report; says where they are.

    The best is the one with the highest held-out pass@1. Every process calls it.
    """
    files.checkpoints.wait()
    best, kept = files.checkpoints.best(), "no checkpoint was judged before"
    if best is not None:
        where = run.directory.checkpoints
        params = restore_params(
            where, best, trained_rows(parts.policy.config, parts.lora), parts.mesh
        )
        made = parts.policy, params, parts.base, parts.lora
        export(run.directory, *made, gguf=parts.config.export_gguf)
        kept = f"the best checkpoint (update {best}{_judged(run, best)}) is in {run.path / EXPORT}"
    page = f"; curves: {run.written(anew=True)}" if run.directory.write else ""
    return Collapsed(f"{collapsed}; {kept}{page}; docs/training.md says what to change")


def _judged(run: Run, update: int) -> str:
    """What the first held-out set said after `update`; only the first process has it."""
    found = run.directory.evaluations() if run.directory.write else []
    scores = [record["pass_at_1"] for record in found if record["update"] == update]
    return f", held-out pass@1 {scores[0]:.3f}" if scores else ""
