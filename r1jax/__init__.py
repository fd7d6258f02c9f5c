"""r1jax: the DeepSeek-R1 training system as pure JAX functions.

What a notebook needs is here by name, imported when it is first asked for: `r1jax.load_policy`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

_FACE = {
    "r1jax.problem": "Completion Problem RewardContext",
    "r1jax.types": "Batch Mean Stats",
    "r1jax.errors": "UserError",
    "r1jax.mesh": "MeshConfig make_mesh",
    "r1jax.data.packing": "Denominators Sequences pack",
    "r1jax.data.world": "",
    "r1jax.data.world.gold": "reply_of",
    "r1jax.rollout.engine": "EngineConfig Prompt",
    "r1jax.rollout.policy": "load_policy load_weights make_engine",
    "r1jax.rollout.sampling": "Sampling",
    "r1jax.rewards": "RewardPool Term accuracy per_answer per_completion score strict_format",
    "r1jax.advantages": "group_advantages rollout_advantages",
    "r1jax.losses": "GRPO grpo load_loss",
    "r1jax.losses.reduce": "masked masked_sum",
    "r1jax.training.train_state": "init_state",
    "r1jax.training.update": "ComputeConfig make_functions make_score update",
    "r1jax.training.rl.collect": "",
    "r1jax.training.rl.reward_model": "load_reward_model",
    "r1jax.stages.pipeline.plan": "plan",
    "r1jax.stages.pipeline.lineage": "ancestors read_lineage",
    "r1jax.run": "read_json read_jsonl",
    "r1jax.run.names": "CHECKPOINTS",
    "r1jax.commands.r1": "",
    "r1jax.commands.zero": "",
}
"""Module -> what of it is `r1jax.NAME`; where nothing is said, the module is."""

_PLACES = {
    name: module
    for module, names in _FACE.items()
    for name in names.split() or [module.rpartition(".")[2]]
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'r1jax' has no attribute {name!r}")
    module = importlib.import_module(_PLACES[name])
    return getattr(module, name) if _FACE[module.__name__] else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Moved:
    """Asked for a module that no other finder knows: says where it is now, if it has moved."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] not in ("r1jax", "experiments"):
            return
        text = Path(__file__).with_name("assets").joinpath("moved.txt").read_text(encoding="utf-8")
        moved = dict(line.split() for line in text.splitlines())
        package, _, last = name.rpartition(".")
        new = moved.get(name) or moved.get(f"{package}.*", "").replace("*", last)
        if new:
            raise ModuleNotFoundError(f"{name} has moved: see {new}")


sys.meta_path.append(_Moved)
