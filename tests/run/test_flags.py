"""Every flag of every command is read by code that the command leads to, or it is no flag."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import runpy
import sys
import types
import warnings
from pathlib import Path

import pytest
import reads

import experiments
from r1jax.commands import cli, paths
from r1jax.errors import UserError
from r1jax.presets.zero import PRESETS
from r1jax.rewards import SandboxConfig, sandbox
from r1jax.run.flags import part

FOLDER = Path(experiments.__file__).parent
COMMANDS = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if "raise SystemExit(" in path.read_text()
)
PLANNED = "memory_plan"  # takes the command line of experiments.zero as it is, to plan for it
REFUSED = {"bench_step": "--train.max-skipped", "reward_model": "--train.chunk"}
"""A flag of a shared part that a command takes only as it comes, and says so in a line."""


@functools.cache
def command(name):
    """(the function behind `python -m experiments.<name>`, its default flags)."""
    seen, real, argv = [], cli.run, sys.argv

    def watch(main, default, *rest, **more):
        seen.append((main, default))
        return 0

    try:
        cli.run, sys.argv = watch, [name]
        with pytest.raises(SystemExit), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a page imported before by another
            runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    finally:
        cli.run, sys.argv = real, argv
    main, default = seen[0]
    home = importlib.import_module(f"experiments.{name}")  # not once more as __main__
    if main.__module__ == "__main__":
        main = getattr(home, main.__name__)
    if type(default).__module__ == "__main__":
        default = part(getattr(home, type(default).__name__), default)
    return main, default


def handed_on(name):
    """Parts of a gate's flags that become command lines of other commands, where they are read."""
    if not name.startswith(("gates.", "claims.", "sweep", "smollm2.study", "methods.")):
        return ()
    known = {type(command(other)[1]) for other in COMMANDS}
    known.add(type(command("gates.rejection_sft")[1].sft))
    default = command(name)[1]
    parts = [f.name for f in dataclasses.fields(default) if type(getattr(default, f.name)) in known]
    return tuple(f"--{own.replace('_', '-')}." for own in parts)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != PLANNED])
def test_every_flag_is_read(name):
    main, default = command(name)
    own = [(path, owner) for path, owner in reads.fields(default) if owner is not SandboxConfig]
    lost = reads.unread(own, reads.reads(main))
    refused = {REFUSED[name]} if name in REFUSED else set()
    assert {flag for flag in lost if not flag.startswith(handed_on(name))} <= refused


@pytest.mark.parametrize("name", REFUSED)
def test_a_flag_that_would_be_ignored_is_refused(name):
    flag = REFUSED[name]
    with pytest.raises(UserError, match=flag):
        cli.parse(command(name)[1], [flag, "7"])


@pytest.mark.parametrize("name, argv, otherwise", [
    ("zero", "--lora.alpha 8", "--lora.rank 2"),
    ("sft", "--lora.targets wq", "--lora.rank 2"),
    ("r1", "--reasoning-rl.reward.language-target en --reasoning-rl.reward.language 0",
     "--reasoning-rl.reward.language 1"),
    ("zero", "--reward.language-identifier langid", "--reward.language 1"),
    ("zero", "--reward.overlong-cache 4", "--reward.overlong 1"),
    ("zero", "--train.reference-every 4", "--loss.beta 0.1"),
    ("r1", "--zero.train.reference-every 3 --zero.loss.beta 0", "--zero.loss.beta 0.1"),
    ("zero", "--train.reference-every 1 --train.reference-rate 0.5", "--teacher.shown reference"),
    ("zero", "--loss.clip_low=0.1 --user-loss my:loss", "--user-loss="),
    ("zero", "--loss.entropy-bonus 0.1 --user-loss my:loss", "--loss.entropy-target 0.3"),
    ("zero", "--loss.reduction token_mean --user-loss my:loss --updates 9",
     "--loss.advantage-baseline critic"),
    ("zero", "--loss.reduction token_mean --user-loss my:loss",
     "--teacher.kind forward --teacher.model m"),
    ("zero", "--loss.covariance-weight 2 --user-loss my:loss --loss.covariance kl", "--user-loss="),
    ("zero", "--loss.kl-estimator k1 --user-loss my:loss --loss.beta 0.1", "--loss.kl-as return"),
    ("zero", "--loss.kl-estimator k1", "--loss.beta 0.1"),
    ("r1", "--zero.loss.kl-gradient importance", "--zero.loss.beta 0.1"),
    ("zero", "--loss.kl-as return", "--loss.beta 0.1"),
    ("zero", "--loss.clip-high 0.3 --loss.objective reinforce", "--loss.objective cispo_cap"),
    ("zero", "--loss.clip-high 0.3 --loss.objective sapo", "--loss.objective clip"),
    ("zero", "--loss.clip-low 0.3 --loss.objective cispo_cap", "--loss.objective gmpo"),
    ("zero", "--loss.advantage-epsilon 0.1", "--loss.advantage-std batch"),
    ("zero", "--loss.importance token_mask --loss.importance-cap None", "--loss.importance-cap 3"),
    ("zero", "--optimizer.final 0.2", "--optimizer.schedule linear"),
])  # fmt: skip
def test_a_flag_that_the_others_leave_without_effect_is_refused(name, argv, otherwise, capsys):
    _, default = command(name)
    assert cli.run(lambda config: 0, default, argv.split()) == 2
    flag = argv.split()[0].partition("=")[0].replace("_", "-")
    assert capsys.readouterr().err.startswith(f"error: {flag}: is read only with")
    assert cli.run(lambda config: 0, default, [*argv.split(), *otherwise.split()]) == 0


def test_what_a_preset_or_a_file_says_may_do_nothing(tmp_path):
    """They are made to be changed."""
    _, default = command("zero")
    presets = {"r1-zero": PRESETS["r1-zero"]}  # with a reference that is replaced
    argv = ["--preset", "r1-zero", "--loss.beta", "0"]
    assert cli.run(lambda config: 0, default, argv, presets=presets) == 0
    file = tmp_path / "flags.yaml"
    file.write_text("lora:\n  alpha: 8\n")
    assert cli.run(lambda config: 0, default, ["--config", str(file)]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_calls_idle_are_flags(name):
    _, default = command(name)
    assert cli.idle_flags(default).keys() <= cli.flag_types(default).keys()


def test_no_command_of_the_package_is_left_out():
    assert paths().keys() <= {name.rpartition(".")[2] for name in COMMANDS}


def test_what_a_gate_hands_on_is_what_another_command_takes():
    assert handed_on("gates.arithmetic") == ("--zero.",)
    assert "--zero." in handed_on("claims.__main__") and not handed_on("zero")


def test_a_plan_takes_the_flags_of_the_run_it_plans():
    planned, run = (set(cli.flag_types(command(name)[1])) for name in (PLANNED, "zero"))
    assert planned == run | {"--device-gb"}


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(SandboxConfig)])
def test_the_sandbox_reads_its_limits(field):
    """They cross into another process as JSON, where no type tells whose they are."""
    folder = Path(sandbox.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    assert f'order["{field}"]' in text or f"sandbox.{field}" in text or f"limits.{field}" in text


MADE_UP = """
import dataclasses
from dataclasses import dataclass, field, replace
from r1jax.run.flags import Flags, RunFlags, part
from r1jax.training.rl.config import RolloutConfig

@dataclass(frozen=True)
class Inner(RolloutConfig):
    used: int = 0
    seed: int = 0

@dataclass(frozen=True)
class Config(Flags):
    read: int = 0
    looped: int = 0
    helped: int = 0
    inside: int = 0
    elsewhere: int = 0
    checked: int = 0
    copied: int = 0
    unreached: int = 0
    rollout: Inner = field(default_factory=Inner)

    def __post_init__(self):
        super().__post_init__()
        assert self.checked == 0

    @property
    def double(self):
        return 2 * self.inside

    def nobody(self):
        return self.unreached

@dataclass(frozen=True)
class Other:
    elsewhere: int = 0

def main(config: Config) -> None:
    config = replace(config, copied=1)
    print(config.read, dataclasses.asdict(config), [getattr(config, n) for n in ("looped",)])
    print(help(config), Other().elsewhere, config.double)

def help(config: Config) -> int:
    shapes = config.rollout
    return config.helped + shapes.used

def not_called(config: Config) -> int:
    return config.unreached + config.rollout.seed
"""


def test_a_flag_that_nothing_reads_is_found(monkeypatch):
    """Nor is it read by a check, a copy, a field of that name elsewhere, or uncalled code."""
    made = types.ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", made)
    monkeypatch.setitem(reads.modules(), "made_up", reads.Module("made_up", MADE_UP))
    exec(compile(MADE_UP, "made_up", "exec"), made.__dict__)
    lost = reads.unread(reads.fields(made.Config()), reads.reads(made.main))
    shapes = {f"--rollout.{f.name}".replace("_", "-") for f in dataclasses.fields(made.Inner)}
    assert set(lost) == {"--elsewhere", "--checked", "--copied", "--unreached"} | shapes - {
        "--rollout.used"
    }


def test_a_flag_added_to_a_command_is_found():
    """A field of a class below the real ones, whose name many classes have."""
    main, default = command("zero")
    rollout = dataclasses.make_dataclass(
        "More", [("count", int, 0)], bases=(type(default.rollout),), frozen=True
    )
    grown = dataclasses.replace(default, rollout=rollout(**vars(default.rollout)))
    lost = reads.unread(reads.fields(grown), reads.reads(main))
    assert [flag for flag in lost if not flag.startswith("--sandbox.")] == ["--rollout.count"]
