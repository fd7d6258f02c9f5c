"""Flags from a file: what a run was is read back, and what no flag could take ends in one line."""

import dataclasses
from pathlib import Path

import pytest
from test_cli import PRESET, Experiment, Rollout

from r1jax import commands
from r1jax.commands import cli
from r1jax.run.directory import RunDirectory, write_json


def run(text, argv="", presets=None):
    """(status, what main got) of a file's text with more flags beside it."""
    Path("run.yaml").write_text(text)
    got = []
    status = cli.run(got.append, PRESET, ["--config", "run.yaml", *argv.split()], "", presets)
    return status, got[0] if got else None


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "text, argv, expected",
    [
        ("", "", PRESET),
        ("rollout:\n  group: 16\n", "", Experiment(Rollout(group=16))),
        ("rollout.group: 16\n", "", Experiment(Rollout(group=16))),
        ("rollout:\n  max_tokens: 9\n", "", Experiment(Rollout(group=4, max_tokens=9))),
        ("rollout: {max-tokens: 9}\n", "", Experiment(Rollout(group=4, max_tokens=9))),
        ("rollout:\n  top_p: 1e-3\n", "", Experiment(Rollout(group=4, top_p=1e-3))),
        ("rollout:\n  top_p: null\n", "", PRESET),
        ("rollout:\n  # group: 5\n", "", PRESET),
        ("strict: false\n", "", Experiment(Rollout(group=4), strict=False)),
        ("strict: false\n", "--strict", PRESET),
        ("strict: true\n", "--no-strict", Experiment(Rollout(group=4), strict=False)),
        ("train: [a.jsonl, b c]\n", "", Experiment(Rollout(group=4), ("a.jsonl", "b c"))),
        ("train: a.jsonl\n", "", Experiment(Rollout(group=4), ("a.jsonl",))),
        ("train: []\n", "", Experiment(Rollout(group=4), ())),
        ("train: [a]\n", "--train b c", Experiment(Rollout(group=4), ("b", "c"))),
        ("rollout: {group: 2}\n", "--rollout.group 3", Experiment(Rollout(group=3))),
        ('out: "null"\n', "", Experiment(Rollout(group=4), out="null")),
        ("out: off\n", "", Experiment(Rollout(group=4), out="off")),
        ("out: --x y=z\n", "", Experiment(Rollout(group=4), out="--x y=z")),
        ("out: 2026-01-02\n", "", Experiment(Rollout(group=4), out="2026-01-02")),
        ("betas: [-.5, 0.9]\n", "", Experiment(Rollout(group=4), betas=(-0.5, 0.9))),
        ('{"out": "\\u00e9"}', "", Experiment(Rollout(group=4), out="é")),
    ],
)
def test_a_file_changes_the_preset_and_flags_change_both(text, argv, expected):
    assert run(text, argv) == (0, expected)


@pytest.mark.parametrize(
    "text, line",
    [
        ("rollout:\n  grp: 5\n", "run.yaml, line 2: rollout.grp: unknown key; did you mean"),
        ("group: 5\n", "run.yaml, line 1: group: unknown key; did you mean rollout.group?"),
        ("zzzz: 5\n", "run.yaml, line 1: zzzz: unknown key; --help lists"),
        ("no_strict: true\n", "run.yaml, line 1: no_strict: unknown key; did you mean strict?"),
        ("? [a]\n: b\n", "run.yaml, line 1: a key of several words: unknown key; --help"),
        ("preset: x\n", "run.yaml, line 1: preset: unknown key"),
        ("\nrollout:\n  group: five\n", "run.yaml, line 3: --rollout.group five: expected a whole"),
        ("rollout: {group: 0}\n", "run.yaml, line 1: --rollout.group 0: must be at least 1"),
        ("rollout: {mode: best}\n", "run.yaml, line 1: --rollout.mode best: expected one of"),
        ("rollout: 5\n", "run.yaml, line 1: rollout is a section; write"),
        ("rollout: {group: [1, 2]}\n", "run.yaml, line 1: rollout.group takes no list; give one"),
        ("out: {a: b}\n", "run.yaml, line 1: out takes no settings below it; give one"),
        ("out:\n", "run.yaml, line 1: out has no value; give one"),
        ('out: "a\\0b"\n', "run.yaml, line 1: out holds a zero character"),
        ("strict: maybe\n", "run.yaml, line 1: strict: maybe; expected true or false"),
        ("train: [-a]\n", "run.yaml, line 1: train: '-a' begins with -"),
        ("out: a\nout: b\n", "run.yaml, line 2: out is there twice"),
        ("rollout: {}\nrollout: {}\n", "run.yaml, line 2: rollout is there twice"),
        ("rollout: {group: 5, group: 5}\n", "run.yaml, line 1: rollout.group is there twice"),
        ("rollout.group: 5\nrollout: {group: 5}\n", "run.yaml, line 2: rollout.group is there tw"),
        ("betas: [0.5]\n", "run.yaml, line 1: --betas 0.5: expected 2 values: a number, a number"),
        ("- a\n", "--config run.yaml: expected flag: value on each line"),
        ("a: [b\n", "--config run.yaml, line 2: not YAML (expected ',' or ']'"),
        ("a: &x [*x]\n", "run.yaml, line 1: a: unknown key"),
    ],
)  # fmt: skip
def test_what_no_flag_could_take_is_one_line_and_status_2(text, line, capsys):
    assert run(text) == (2, None)
    err = capsys.readouterr().err
    assert err.startswith(f"error: {line}") and err.count("\n") == 1


@pytest.mark.parametrize(
    "argv, line",
    [
        (["--config"], "--config has no value"),
        (["--config", "--out", "x"], "--config has no value"),
        (["--config", "none.yaml"], "--config none.yaml: cannot be read (No such file"),
    ],
)
def test_a_file_that_is_not_there_is_one_line(argv, line, capsys):
    assert cli.run(print, PRESET, argv) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_a_file_may_name_the_preset_and_later_files_win():
    presets = {"small": Experiment(out="small"), "other": Experiment(out="other")}
    assert run("preset: small\n", "", presets) == (0, presets["small"])
    assert run("preset: small\n", "--preset other", presets) == (0, presets["other"])
    Path("more.yaml").write_text("rollout: {group: 7}\n")
    both = run("out: a\nrollout: {group: 5}\n", "--config more.yaml")
    assert both == (0, Experiment(Rollout(group=7), out="a"))


def test_the_printed_config_reads_back_and_runs_nothing(capsys):
    words = ["--out", "yes", "--rollout.top-p", "1e-7", "--train", "--no-strict", "--print-config"]
    assert run("", " ".join(words)) == (0, None)
    expected = Experiment(Rollout(group=4, top_p=1e-7), (), strict=False, out="yes")
    assert run(capsys.readouterr().out) == (0, expected)


def reads_back(preset, default, capsys):
    """Whether a preset, printed and as a run writes it, is the same again as a file."""
    assert cli.run(print, preset, ["--print-config"]) == 0
    Path("printed.yaml").write_text(capsys.readouterr().out)
    write_json(Path("config.json"), preset)
    for file in ("printed.yaml", "config.json"):
        got = []
        assert cli.run(got.append, default, ["--config", file]) == 0
        assert got == [preset]


def test_no_file_removes_a_run_or_takes_it_from_its_owner(capsys):
    command, _ = commands.load("zero")
    for said in ("overwrite", "take_over"):
        flag = f"--{said.replace('_', '-')}"
        for text in (f"{said}: true\n", f'{{"{said}": true}}'):
            Path("a.yaml").write_text(text)
            assert cli.run(print, command.default, ["--config", "a.yaml"]) == 2
            error = f"error: a.yaml, line 1: {flag[2:]}: only the command line may say {flag}\n"
            assert capsys.readouterr().err == error
        kept = dataclasses.replace(command.default, run="run", **{said: True})
        RunDirectory.start("run", kept, overwrite=True)
        got = []
        assert cli.run(got.append, command.default, ["--config", "run/config.json", flag]) == 0
        assert got == [kept]
        assert cli.run(got.append, command.default, ["--config", "run/config.json"]) == 0
        assert not getattr(got[1], said)


def test_what_a_run_was_made_with_is_read_back(capsys):
    command, _ = commands.load("zero")
    reads_back(command.presets["dapo"], command.default, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(commands.paths()))
def test_every_command_reads_every_preset_back(name, capsys):
    command, _ = commands.load(name)
    for one in [command, *command.instead.values()]:
        for preset in [one.default, *one.presets.values()]:
            reads_back(preset, one.default, capsys)
