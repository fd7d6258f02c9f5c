"""What a checkpoint holds, and in which parts it lies on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import orbax.checkpoint as ocp

from r1jax.errors import UserError
from r1jax.types import Params, TrainState

TOWERS = ("critic", "prime", "value")
"""Models that may learn beside the policy, as a checkpoint names them."""
ARRAYS = ("state", "reference", *TOWERS, "pending")


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    `pending` is a tree of numpy arrays, often empty between rollouts: `scored`, the rollout whose
    updates are not all done, and `carried`, what goes over to the next. `meta` holds counters and
    the description of model and tokenizer.
    """

    state: TrainState
    reference: Params | None
    pending: dict[str, Any]
    meta: dict[str, Any]
    towers: Mapping[str, TrainState] = field(default_factory=dict)  # by names of `TOWERS`

    def items(self) -> dict[str, Any]:
        """What Orbax is to write, by part."""
        trees = {"state": vars(self.state), "reference": self.reference, "pending": self.pending}
        trees |= {name: vars(tower) for name, tower in self.towers.items()}
        written = {k: ocp.args.StandardSave(dict(tree)) for k, tree in trees.items() if tree}
        return written | {"meta": ocp.args.JsonSave(self.meta)}

    @classmethod
    def read(cls, got: Any, pending: dict[str, Any], meta: dict[str, Any]) -> Saved:
        """From what Orbax has read of the parts that `targets` names."""
        there = (name for name in TOWERS if got.get(name) is not None)
        towers = {name: TrainState(**got[name]) for name in there}
        return cls(TrainState(**got["state"]), got.get("reference"), pending, meta, towers)


def targets(
    like: TrainState, towers: Mapping[str, TrainState], there: Callable[[str], bool]
) -> dict[str, Any]:
    """What Orbax is to read, laid out as these are: the state, and what else is `there`."""
    trees: dict[str, Any] = {"state": dict(vars(like))}
    if there("reference"):
        trees["reference"] = like.params
    trees |= {name: dict(vars(tower)) for name, tower in towers.items() if there(name)}
    return {name: ocp.args.StandardRestore(_abstract(tree)) for name, tree in trees.items()}


def check_same(meta: Mapping[str, Any], expected: Mapping[str, Any], where: Any) -> None:
    """Raises UserError, showing the difference, where `meta` of a checkpoint is not `expected`."""
    for name, value in comparable(meta, expected).items():
        saved = meta.get(name)
        if saved == value:
            continue
        if isinstance(saved, Mapping) and isinstance(value, Mapping):
            keys = [k for k in {*saved, *value} if saved.get(k) != value.get(k)]
            shown = "; ".join(f"{k}: {saved.get(k)} -> {value.get(k)}" for k in sorted(keys))
        else:
            shown = f"{saved} -> {value}"
        raise UserError(
            f"{where}: saved with another {name} ({shown}); use the same one or --overwrite"
        )


def comparable(meta: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """What `meta` of a checkpoint must hold to agree with `expected`, as JSON gives it back.

    Of a tokenizer, a teacher's as well, an older one says less: it is held to what it says.
    """
    found = json.loads(json.dumps(expected))  # lists, no tuples
    for name, value in found.items():
        said = meta.get(name)
        if isinstance(said, Mapping) and isinstance(value, dict):
            known = {k: v for k, v in value.items() if k in said}
            found[name] = known if name == "tokenizer" else comparable(said, value)
    return found


def _abstract(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
