"""Flags over a preset: what is accepted, and what a mistake says."""

import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.training.rl.config import RLConfig


def test_an_error_is_one_visible_line(capsys):
    def main(config):
        raise UserError("the server says \x1b[2J\nboom\u202e")

    assert cli.run(main, Experiment(), []) == 2
    assert capsys.readouterr().err == "error: the server says \\x1b[2J\\nboom\\u202e\n"


@dataclass(frozen=True)
class Rollout:
    group: int = 8
    """Completions per prompt."""
    max_tokens: int = 64
    """Longest completion, in tokens."""
    top_p: float | None = None
    """Nucleus; None keeps the whole support."""
    mode: Literal["greedy", "sample"] = "sample"
    """How tokens are chosen."""
    unroll: Literal["all"] | int = "all"
    """Layers unrolled in decoding."""


@dataclass(frozen=True)
class Experiment:
    rollout: Rollout = field(default_factory=Rollout)
    """The generation engine."""
    train: tuple[str, ...] = ("world:sum",)
    """Problem sources."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Adam's decay rates."""
    strict: bool = True
    """Refuse data with unusable answers."""
    out: str = "runs/zero"
    """Run directory."""

    def __post_init__(self):
        if self.rollout.group < 1:
            raise UserError(f"--rollout.group {self.rollout.group}: must be at least 1")
        if self.out == "":
            raise ValueError("out must not be empty")


PRESET = Experiment(rollout=Rollout(group=4))


@pytest.mark.parametrize(
    "argv, expected",
    [
        ("", PRESET),
        ("--rollout.group 16", Experiment(rollout=Rollout(group=16))),
        ("--rollout.group=16", Experiment(rollout=Rollout(group=16))),
        ("--rollout.max_tokens 9", Experiment(rollout=Rollout(group=4, max_tokens=9))),
        ("--rollout.max-tokens 9", Experiment(rollout=Rollout(group=4, max_tokens=9))),
        ("--rollout.top-p 0.5", Experiment(rollout=Rollout(group=4, top_p=0.5))),
        ("--rollout.top-p None", PRESET),
        ("--rollout.unroll 2", Experiment(rollout=Rollout(group=4, unroll=2))),
        ("--rollout.group 2 --rollout.group 16", Experiment(rollout=Rollout(group=16))),
        ("--no-strict", Experiment(rollout=Rollout(group=4), strict=False)),
        ("--train a.jsonl b.jsonl", Experiment(Rollout(group=4), ("a.jsonl", "b.jsonl"))),
        ("--betas 0.8 0.9 --out r", Experiment(Rollout(group=4), betas=(0.8, 0.9), out="r")),
    ],
)
def test_flags_change_the_preset(argv, expected):
    assert cli.parse(PRESET, argv.split()) == expected


@pytest.mark.parametrize(
    "argv, line",
    [
        ("--rollout.grp 5", "--rollout.grp: unknown flag; did you mean --rollout.group?"),
        ("--group 5", "--group: unknown flag; did you mean --rollout.group?"),
        ("--rollout.max_tokns=5", "--rollout.max_tokns: unknown flag; did you mean --rollout.max-"),
        ("--zzzz 5", "--zzzz: unknown flag; --help lists the flags"),
        ("--out r --rollout.group five", "--rollout.group five: expected a whole number"),
        ("--rollout.group=five", "--rollout.group five: expected a whole number"),
        ("--rollout.group 5 6", "--rollout.group 5 6: expected a whole number"),
        ("--rollout.group", "--rollout.group has no value: expected a whole number"),
        ("--rollout.mode best", "--rollout.mode best: expected one of greedy, sample"),
        ("--rollout.top-p high", "--rollout.top-p high: expected a number or None"),
        ("--rollout.unroll some", "--rollout.unroll some: expected one of all or a whole number"),
        ("--betas 0.9", "--betas 0.9: expected 2 values: a number, a number"),
        ("--strict maybe", "--strict maybe: expected nothing after it (--strict alone"),
        ("--train a --train b", "--train: given twice; put all its values after one --train"),
        ("stray", "stray: unexpected; every value follows its flag"),
        ("--rollout.group 0", "--rollout.group 0: must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(argv, line, capsys):
    assert cli.run(lambda config: 0, PRESET, argv.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: " + line)
    assert err.count("\n") == 1


def test_a_negation_before_the_section_is_shown_where_it_belongs():
    with pytest.raises(UserError, match=r"did you mean --eval\.no-before\?"):
        cli.parse(RLConfig(), ["--no-eval.before"])


def test_a_value_error_of_the_config_is_one_line_too(capsys):
    assert cli.run(lambda config: 0, PRESET, ["--out", ""]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "--out" in err and err.count("\n") == 1


def test_help_explains_every_flag(capsys):
    called = []
    assert cli.run(called.append, PRESET, ["--help"], description="Trains a model.") == 0
    text = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert called == []
    assert "Trains a model." in text
    for flag in cli.flag_types(PRESET):
        assert flag in text
    for line in ("Completions per prompt.", "(default: 4)", "Nucleus; None keeps", "Run directory"):
        assert line in text


def test_help_opens_with_the_docstring_of_the_module(capsys):
    def main(config):
        raise AssertionError("--help must not run the experiment")

    assert cli.run(main, PRESET, ["-h"]) == 0
    assert "Flags over a preset" in capsys.readouterr().out


def test_main_gets_the_config_and_gives_the_status():
    seen = []
    assert cli.run(seen.append, PRESET, ["--rollout.group", "3"]) == 0
    assert seen[0].rollout.group == 3
    assert cli.run(lambda config: 7, PRESET, []) == 7


@pytest.mark.parametrize(
    "error, status, line",
    [
        (UserError("--data.train x: no such file"), 2, "error: --data.train x: no such file\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_main_raises(error, status, line, capsys):
    def main(config):
        raise error

    assert cli.run(main, PRESET, []) == status
    err = capsys.readouterr().err
    assert err.startswith(line) and err.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    def main(config):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(main, PRESET, [])


def test_flags_are_those_of_the_default_instance():
    assert set(cli.flag_types(Rollout())) == {
        "--group", "--max-tokens", "--top-p", "--mode", "--unroll",
    }  # fmt: skip
    assert {"--strict", "--no-strict", "--rollout.top-p"} <= set(cli.flag_types(PRESET))


def test_a_flag_that_is_no_text_is_refused():
    """Bytes that are no UTF-8 come as lone surrogates, which no file and no tokenizer takes."""
    with pytest.raises(UserError, match=r"^'--out=caf.udce9': is no text in UTF-8; write it in"):
        cli.parse(PRESET, ["--out=caf\udce9"])


def test_home_is_where_it_is_however_the_flag_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/one")
    (tmp_path / "x.yaml").write_text("parent: ~/b\n")
    got = []
    argv = ["--run=~/a", "--config", str(tmp_path / "x.yaml"), "--data.train", "~/c.jsonl", "a~"]
    assert cli.run(lambda config: got.append(config), RLConfig(), argv) == 0
    (config,) = got
    assert (config.run, config.parent) == ("/home/one/a", "/home/one/b")
    assert config.data.train == ("/home/one/c.jsonl", "a~")


def test_a_run_without_a_directory_is_refused(capsys):
    for name in ("", " "):
        assert cli.run(lambda config: 0, RLConfig(), ["--run", name]) == 2
        assert capsys.readouterr().err.startswith("error: --run: has no name; expected a")
