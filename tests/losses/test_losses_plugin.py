"""A user's own loss by name: found, or refused in one line that says why."""

from __future__ import annotations

import pytest

from r1jax.errors import UserError
from r1jax.losses import load_loss

SOURCE = """
from dataclasses import dataclass
import jax.numpy as jnp
from r1jax.types import Mean
def reinforce(stats, batch):
    return -jnp.sum(stats.logp * batch.advantages * batch.mask) / batch.n_tokens, {}
def with_option(stats, batch, power=2):
    return 0.0, {}
def of_one(stats):
    return 0.0, {}
def fails(stats, batch):
    return batch["logp"], {}
def leaves(stats, batch):
    raise SystemExit(0)
def alone(stats, batch):
    return jnp.float32(1)
def rows(stats, batch):
    return jnp.zeros(3), {}
def none(stats, batch):
    return None, {}
def whole(stats, batch):
    return jnp.int32(1), {}
def nothing(stats, batch):
    return jnp.float32(1), None
def plain(stats, batch):
    return jnp.float32(1), {"a": 1.0}
def numbered(stats, batch):
    return jnp.float32(1), {3: Mean(1.0, 1.0)}
number = 3
@dataclass
class Scaled:  # equal to others and changeable, so that it has no hash
    scale: float
    def __call__(self, stats, batch):
        return self.scale, {}
scaled = Scaled(2.0)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_losses.py").write_text(SOURCE)
    (tmp_path / "needs_more.py").write_text("import a_module_nobody_has\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["reinforce", "with_option"])
def test_a_loss_is_found(module, name):
    assert load_loss(f"own_losses:{name}").__name__ == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_losses", "not of the form package.module:function"),
        ("./own_losses.py:reinforce", "not of the form package.module:function"),
        ("own_losses:", "not of the form package.module:function"),
        ("nowhere.at_all:reinforce", r"cannot import nowhere.at_all \(No module named 'nowhere'\)"),
        ("needs_more:loss", "cannot import needs_more .*a_module_nobody_has"),
        ("own_losses:reinforced", "own_losses has no function reinforced"),
        ("own_losses:number", r"must be a function of 2 arguments, \(stats, batch\)"),
        ("own_losses:of_one", r"must be a function of 2 arguments, \(stats, batch\)"),
    ],
)
def test_mistakes_are_named(module, name, message):
    with pytest.raises(UserError, match=message) as caught:
        load_loss(name, flag="--train.loss")
    assert str(caught.value).startswith(f"--train.loss {name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", r"failed with TypeError: .* \(own_losses\.py, line 12\); expected \(share,"),
        ("leaves", r"failed with SystemExit: 0 \(own_losses\.py, line 14\)"),
        ("alone", r"returned a \w+; expected"),
        ("rows", r"returned a share of shape \(3,\) and float32; expected"),
        ("whole", r"returned a share of shape \(\) and int32"),
        ("none", r"returned a share of shape \(\) and NoneType"),
        ("nothing", "returned metrics of type NoneType"),
        ("plain", "returned metrics with 'a' a float"),
        ("numbered", "returned metrics with 3 a Mean"),
    ],
)  # fmt: skip
def test_a_loss_that_breaks_its_contract_is_one_line(module, name, said):
    with pytest.raises(UserError, match=rf"\A--loss own_losses:{name}: {said}[^\n]*\Z"):
        load_loss(f"own_losses:{name}")(None, 3)
    assert load_loss("own_losses:with_option") is load_loss("own_losses:with_option")
    assert load_loss("own_losses:with_option")(None, None) == (0.0, {})


def test_a_loss_may_lack_a_hash_and_what_takes_its_place_is_taken(module, monkeypatch):
    import own_losses

    first = load_loss("own_losses:scaled")
    assert first(None, None) == (2.0, {}) and load_loss("own_losses:scaled") is first
    monkeypatch.setattr(own_losses, "scaled", own_losses.Scaled(3.0))
    assert load_loss("own_losses:scaled")(None, None) == (3.0, {})


def test_a_bug_in_the_module_is_said_with_its_place(module):
    with pytest.raises(UserError, match=r"ZeroDivisionError: .*\(broken.py, line 1\)") as caught:
        load_loss("broken:loss")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
