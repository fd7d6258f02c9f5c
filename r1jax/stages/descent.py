"""lineage.json of a run that goes on from another one: whose weights, by hash, and what changed."""

from __future__ import annotations

from r1jax.run.directory import RunDirectory
from r1jax.run.names import LINEAGE
from r1jax.stages.pipeline.lineage import Entry, add_entry, weights_digest
from r1jax.training.rl.setup import Parts
from r1jax.types import Params


def began(directory: RunDirectory, parts: Parts, params: Params) -> None:
    """Writes down what the run starts from, where that is another run; every process calls it."""
    if parts.source is None:
        return
    digest = weights_digest(params)
    if directory.write:
        add_entry(directory.path / LINEAGE, parts.source.name, Entry(weights=digest))


def ended(directory: RunDirectory, parts: Parts, params: Params, by: str) -> None:
    """Writes down what the run made of it, and what ended it; every process calls it."""
    if parts.source is None:
        return
    digest, parent = weights_digest(params), parts.source.name
    if directory.write:
        entry = Entry(
            parent=parent,
            weights=digest,
            data=parts.data,
            ended=by,
            changed=list(parts.source.changed),
        )
        add_entry(directory.path / LINEAGE, str(directory.path), entry)
