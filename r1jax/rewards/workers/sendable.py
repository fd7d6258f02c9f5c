"""Bytes of a reward for a worker: functions go by value, so that a notebook's function works."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import cloudpickle

from r1jax.errors import UserError
from r1jax.problem import RewardContext


def reward_name(reward: Any) -> str:
    """The name of a reward for messages: its function's, or its class's."""
    inner = next((f for f in _layers(reward) if hasattr(f, "__name__")), None)
    return inner.__name__ if inner is not None else type(reward).__name__


def dumps(reward: Any) -> bytes:
    """cloudpickle of `reward`, with the modules of its own functions pickled by value.

    By value, a module that also imports jax does not bring it into a worker unless the reward
    itself uses it. Raises UserError where the reward holds what cannot be pickled.
    """
    with ExitStack() as stack:
        for module in {_module(layer) for layer in _layers(reward)} - {None}:
            cloudpickle.register_pickle_by_value(module)
            stack.callback(cloudpickle.unregister_pickle_by_value, module)
        try:
            return cloudpickle.dumps(reward)
        except Exception as error:
            raise UserError(
                f"reward {reward_name(reward)} cannot be sent to a worker "
                f"({type(error).__name__}: {error}); open files, locks and clients inside it"
            ) from error


def _layers(reward: Any) -> Iterator[Any]:
    """`reward` and the functions it wraps: lifted, partial, decorated or bound."""
    while reward is not None:
        yield reward
        names = ("function", "func", "__wrapped__", "__func__")
        inner = (getattr(reward, name, None) for name in names)
        reward = next(filter(callable, inner), None)


def _module(layer: Any) -> Any:
    """The module to pickle by value: none for r1jax, the standard library and `__main__`.

    cloudpickle sends what lives in `__main__` by value without being told.
    """
    owner = layer if hasattr(layer, "__name__") else type(layer)
    if isinstance(owner, functools.partial):
        return None
    name = getattr(owner, "__module__", None) or "__main__"
    package = name.partition(".")[0]
    if package in ("__main__", "r1jax") or package in sys.stdlib_module_names:
        return None
    module = sys.modules.get(name)
    known = module is not None and name not in cloudpickle.list_registry_pickle_by_value()
    return module if known else None


class WorkerContext(RewardContext):
    """The context inside a worker: the tokenizer is unpickled when it is first asked for."""

    def __init__(self, step: int, group_ids: tuple[int, ...], tokenizer: bytes) -> None:
        vars(self).update(step=step, group_ids=group_ids, _pickled=tokenizer)

    @property
    def tokenizer(self) -> Any:  # type: ignore[override]
        """The run's tokenizer, or None."""
        return unpickled(self._pickled) if self._pickled else None  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=1)
def unpickled(tokenizer: bytes) -> Any:
    """The tokenizer; importing its library takes seconds that most rewards need not pay."""
    return pickle.loads(tokenizer)
