"""lineage.json of a run that another run or a teacher is behind: whose weights, by hash."""

from __future__ import annotations

from collections.abc import Mapping

from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory
from r1jax.run.names import LINEAGE
from r1jax.stages.pipeline.lineage import Entry, add_entry, read_lineage, weights_digest
from r1jax.training.rl.setup import Parts
from r1jax.types import Params


def began(directory: RunDirectory, parts: Parts, params: Params) -> None:
    """Writes down what the run starts from, where that is another run; every process calls it."""
    if parts.source is None:
        return
    digest = weights_digest(params)
    if directory.write:
        add_entry(directory.path / LINEAGE, parts.source.name, Entry(weights=digest))


def taught(directory: RunDirectory, parts: Parts) -> dict[str, str]:
    """The teacher's digest by its name, on file from the first start; every process calls it.

    UserError where a run that is resumed finds other weights there.
    """
    if parts.remote:  # whose weights nobody here can see: what the server calls them
        flag = "--teacher.endpoint"
        name, digest = parts.remote.name, f"answers as {parts.remote.said}"
    elif parts.teacher:
        flag = "--teacher.model"
        name, digest = parts.teacher.name, weights_digest(parts.teacher.params)
    else:
        return {}
    known = read_lineage(directory.path / LINEAGE).get(name)
    if known and known.weights != digest:
        raise UserError(
            f"{flag} {name}: has other weights than those that this run has learnt from; "
            "put them back, or begin anew with --overwrite"
        )
    if directory.write and not known:
        add_entry(directory.path / LINEAGE, name, Entry(weights=digest))
    return {name: digest}


def ended(
    directory: RunDirectory, parts: Parts, params: Params, by: str, used: Mapping[str, str]
) -> None:
    """Writes down what the run made of it, of `used`, and what ended it; every process calls it."""
    if parts.source is None and not used:
        return
    digest, source = weights_digest(params), parts.source
    if directory.write:
        entry = Entry(
            parent=source and source.name,
            weights=digest,
            used=used,
            data=parts.data,
            ended=by,
            changed=list(source.changed) if source else [],
        )
        add_entry(directory.path / LINEAGE, str(directory.path), entry)
