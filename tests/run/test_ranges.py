"""Every number of every command is checked where it is given: nothing absurd gets to run."""

from __future__ import annotations

import dataclasses
import math
import types
import typing

import pytest
from test_flags import COMMANDS, PLANNED, command

from r1jax.errors import UserError, check_ranges
from r1jax.mesh import MeshConfig

ANY_SIGN = {
    "accuracy", "code", "format", "tag_count", "language", "overlong", "repetition", "random",
    "entropy_bonus", "helpfulness_weight", "safety_weight", "covariance_low",
}  # fmt: skip
"""What may be negative: weights, where a thing is punished, and bounds of a covariance."""


def numbers(config):
    """(config, name, whether whole) of every number among the flags, and of those inside."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value)
        elif not isinstance(config, MeshConfig):  # -1 is the rest; the mesh itself is checked
            kinds = {hints[field.name], *typing.get_args(hints[field.name])}
            if kinds & {int, float} and typing.get_origin(hints[field.name]) is not tuple:
                yield config, field.name, float not in kinds


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != PLANNED])
def test_no_number_is_nan_endless_beyond_float32_or_below_its_range(name):
    for config, field, whole in numbers(command(name)[1]):
        odd = (
            [-1]
            if whole
            else [math.nan, math.inf, 1e-40, 1e39, *([] if field in ANY_SIGN else [-1.0])]
        )
        for value in odd:
            with pytest.raises(UserError, match="^(--)?[a-z]"):
                dataclasses.replace(config, **{field: value})
                pytest.fail(f"{type(config).__name__}.{field} takes {value}")


@pytest.mark.parametrize("text, right", [("(0,1]", "from 1e-37"), ("[0,1]", "0, or from 1e-37")])
def test_what_would_be_right_lies_in_the_range(text, right):
    with pytest.raises(UserError, match=f"^--share 3e-38: must be {right}"):
        check_ranges(types.SimpleNamespace(share=3e-38), "--", share=text)
