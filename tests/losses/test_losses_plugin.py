"""A user's own loss by name: found, or refused in one line that says why."""

from __future__ import annotations

import pytest

from r1jax.errors import UserError
from r1jax.losses import load_loss

SOURCE = """
import jax.numpy as jnp
def reinforce(stats, batch):
    return -jnp.sum(stats.logp * batch.advantages * batch.mask) / batch.n_tokens, {}
def with_option(stats, batch, power=2):
    return 0.0, {}
def of_one(stats):
    return 0.0, {}
number = 3
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


def test_a_bug_in_the_module_is_said_with_its_place(module):
    with pytest.raises(UserError, match=r"ZeroDivisionError: .*\(broken.py, line 1\)") as caught:
        load_loss("broken:loss")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
