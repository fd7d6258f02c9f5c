"""Rotary positions as a config.json says them, in either layout of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from r1jax.errors import UserError
from r1jax.models.hub.keys import Asked, number, refuse, shown
from r1jax.models.rope import ORIGINAL, Dynamic, Linear, Llama3, RopeScaling, Yarn

ScalingOf = Callable[[Mapping[str, Any], int], RopeScaling | None]
"""(keys of a rope type, the original length) -> the rule."""


def _llama3(keys: Mapping[str, Any], length: int) -> RopeScaling:
    names = ("factor", "low_freq_factor", "high_freq_factor")
    factor, low, high = (number(keys, name, float) for name in names)
    if low >= high:
        raise UserError(f"high_freq_factor {high} must be above low_freq_factor {low}")
    return Llama3(factor, low, high, length)


def _yarn(keys: Mapping[str, Any], length: int) -> RopeScaling:
    truncate = keys.get("truncate", True)
    if not isinstance(truncate, bool):
        raise UserError(f"truncate is {shown(truncate)}; it must be true or false")
    if keys.get("attention_factor") == 0:
        raise UserError("attention_factor is 0; it must be a number above 0")
    names = ("beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor")
    # transformers takes a 0 for none.
    said = {n: number(keys, n, float) if keys.get(n) else None for n in names}
    fast, slow = said["beta_fast"] or 32.0, said["beta_slow"] or 1.0
    if fast < slow:
        raise UserError(f"beta_fast {fast} must not be below beta_slow {slow}")
    return Yarn(number(keys, "factor", float), length, truncate=truncate, **said)


TYPES: dict[str, ScalingOf] = {
    "default": lambda keys, length: None,
    "linear": lambda keys, length: Linear(number(keys, "factor", float)),
    "dynamic": lambda keys, length: Dynamic(number(keys, "factor", float)),
    "llama3": _llama3,
    "yarn": _yarn,
}


def read(raw: Mapping[str, Any], longest: int) -> tuple[float, RopeScaling | None]:
    """Rotary base and scaling; as in transformers, `rope_scaling` goes before `rope_parameters`.

    `longest` is the model's `max_position_embeddings`, the original length where none is said.
    """
    older, newer = raw.get("rope_scaling"), raw.get("rope_parameters")
    where, found = ("rope_scaling", older) if older else ("rope_parameters", newer or {})
    if not isinstance(found, Mapping):
        raise UserError(f"{where} is {shown(found)}; it must be an object or null")
    apart = [name for name, value in found.items() if isinstance(value, Mapping)]
    if apart:
        raise UserError(f"{where} has rules for {apart[0]} alone; only one for all is supported")
    nested = Asked(found)
    refuse(nested, partial_rotary_factor=(None, 1.0))
    kind = _type(nested)
    theta = number(_first("rope_theta", nested, raw), "rope_theta", float, 10000.0)
    if raw.get("rope_theta") not in (None, theta):
        raise UserError(
            f"rope_theta is {shown(raw['rope_theta'])}, and in {where} {theta}; take one out"
        )
    if kind == "yarn" and theta <= 1:
        raise UserError(f"rope_theta is {theta}; yarn needs one above 1")
    length = longest
    if kind in ("llama3", "yarn"):
        length = number(_first(ORIGINAL, raw, nested), ORIGINAL, int, longest)
    scaling = TYPES[kind](nested, length)
    if nested.unread:
        raise UserError(f"{where} holds {nested.unread[0]}, which rope type {kind} does not have")
    return theta, scaling


def _type(nested: Mapping[str, Any]) -> str:
    """The rope type, under its newer name, its older one, or both."""
    said = [k for k in map(nested.get, ("rope_type", "type")) if k is not None]
    kind, *others = said or ["default"]
    for name in (kind, *others):
        if not isinstance(name, str) or name not in TYPES or name != kind:
            known = ", ".join(TYPES)
            raise UserError(f"rope type {shown(name)} is not supported; use one of {known}")
    return kind


def _first(key: str, *objects: Mapping[str, Any]) -> dict[str, Any]:
    """A key with the first value that objects have for it."""
    values = [each.get(key) for each in objects]
    return {key: next((value for value in values if value is not None), None)}
