"""One display over all stages: a panel or plain lines, and runs that draw inside it."""

from __future__ import annotations

import ast
import inspect
import io

import pytest
from rich.console import Console
from runs import save_model, tiny_run

from r1jax.run.display import Stages
from r1jax.stages import (
    cold_start,
    courses,
    dpo,
    general_data,
    opening,
    rejection,
    reward_model,
    supervised,
    zero,
)
from r1jax.stages.harvest import place as data_run
from r1jax.stages.harvest import review
from r1jax.stages.harvest import samples as harvest

NAMES = ("zero", "cold_start", "reasoning_rl")


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


def display(terminal=False, budget=900, **options):
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    return Stages(NAMES, budget, console=console, clock=clock, **options), clock, out


def play(stages, clock):
    """One stage done before, one that trains, one that only begins."""
    with stages:
        stages.skip("zero")
        shown = stages.stage("cold_start")
        shown.note("12 examples\n3 per update")
        with shown.progress(4, "runs/r1/stages/03", 0, True) as progress:
            progress.phase("update")
            clock.now += 30
            progress.update(1, {"sft/nll": 1.5})
            progress.note("update 1: held-out loss 1.4")
            progress.note("warning: it differs")
        shown.result("12 s\nruns/r1/stages/03/report.html")
        clock.now += 42
        stages.done("cold_start", "pass@1 0.55")
        stages.stage("reasoning_rl")
        stages.note("that was all")


def test_without_a_terminal_every_line_names_its_stage():
    stages, clock, out = display()
    play(stages, clock)
    assert out.getvalue().splitlines() == [
        "[1/3 zero] skipped: finished earlier",
        "[2/3 cold_start] started · 0s of 15m00s",
        "[2/3 cold_start] 12 examples",
        "[2/3 cold_start] 3 per update",
        "[2/3 cold_start] 1/4 · nll 1.5000 · left 1m30s",
        "[2/3 cold_start] update 1: held-out loss 1.4",
        "[2/3 cold_start] warning: it differs",
        "[2/3 cold_start] done in 1m12s · pass@1 0.55 · 1m12s of 15m00s",
        "[3/3 reasoning_rl] started · 1m12s of 15m00s",
        "that was all",
    ]


def test_a_terminal_gets_one_panel_over_all_stages():
    stages, clock, out = display(terminal=True)
    play(stages, clock)
    text = out.getvalue()
    for part in ("[2/3 cold_start] warning: it differs", "that was all", "1/4", "nll 1.5000"):
        assert part in text
    assert "report.html" not in text and "[2/3 cold_start] 12 examples" not in text
    last = text[text.rindex("╭") :]  # the panel as it was left
    for part in ("zero", "finished earlier", "✓", "cold_start", "1m12s", "pass@1 0.55", "▸",
                 "reasoning_rl", "1m12s of 15m00s"):  # fmt: skip
        assert part in last
    assert "nll" not in last and "12 examples" not in last


def test_the_latest_note_of_the_running_stage_stands_in_the_panel():
    stages, _, out = display(terminal=True)
    with stages:
        shown = stages.stage("zero")
        shown.note("first")
        shown.note("second")
    last = out.getvalue()[out.getvalue().rindex("╭") :]
    assert "second" in last and "first" not in last


def test_a_stage_that_fails_is_marked():
    stages, _, out = display(terminal=True)
    with pytest.raises(ValueError), stages:
        stages.stage("zero")
        raise ValueError
    last = out.getvalue()[out.getvalue().rindex("╭") :]
    assert "✗" in last and "ValueError" in last


def test_time_over_the_budget_is_said_and_none_needs_no_word():
    stages, clock, _ = display(budget=60)
    clock.now += 61
    assert stages.spent() == "1m01s of 1m00s (over budget)"
    assert display(budget=None)[0].spent() == "0s"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_disabled_display_is_silent(terminal):
    stages, clock, out = display(terminal=terminal, enabled=False)
    play(stages, clock)
    assert out.getvalue() == ""


def test_asking_twice_for_the_display_of_a_stage_does_not_start_it_anew():
    stages, clock, out = display()
    with stages:
        stages.stage("zero")
        clock.now += 5
        stages.stage("zero").note("judging")
        stages.done("zero")
    assert out.getvalue().splitlines()[1:] == [
        "[1/3 zero] judging",
        "[1/3 zero] done in 5s · 5s of 15m00s",
    ]


def test_a_run_inside_prints_nothing_of_its_own(tmp_path, capfd):
    model = save_model(tmp_path / "model")
    config = tiny_run(model, tmp_path / "run", {"updates": 1})
    stages, _, out = display(every=0.0)
    with stages:
        zero.run(config, display=stages.stage("zero"))
        stages.done("zero", "fine")
        zero.run(config, display=stages.stage("cold_start"))  # finished already
    lines = out.getvalue().splitlines()
    assert any(line.startswith("[1/3 zero] 1/1 · reward") for line in lines)
    assert any("prompts x" in line for line in lines)
    assert all(line.startswith(("[1/3 zero] ", "[2/3 cold_start] started")) for line in lines)
    assert not any("report.html" in line for line in lines)
    assert (tmp_path / "run" / "report.html").exists()
    captured = capfd.readouterr()
    assert captured.out == ""


@pytest.mark.parametrize(
    "module",
    [
        cold_start,
        courses,
        data_run,
        dpo,
        general_data,
        harvest,
        opening,
        rejection,
        review,
        reward_model,
        supervised,
        zero,
    ],
    ids=lambda module: module.__name__,
)
def test_runs_speak_through_their_display_alone(module):
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module)))
             if isinstance(node, ast.Name) and node.id == "print"]  # fmt: skip
    assert not calls


@pytest.mark.parametrize(
    "module", [zero, supervised, reward_model, dpo, rejection, cold_start, general_data]
)
def test_every_run_takes_its_flags_alone(module):
    config, display = inspect.signature(module.run).parameters.values()
    assert config.default is inspect.Parameter.empty and display.default is None
