"""The display: plain lines at intervals without a terminal, a panel with one."""

import io

import pytest
from rich.console import Console

from r1jax.run.progress import Progress, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def display(total, terminal=False, **options):
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    return Progress(total, "zero", console=console, clock=clock, **options), clock, out


def test_plain_lines_come_at_intervals_and_for_the_last_update():
    progress, clock, out = display(10, every=5.0)
    with progress:
        for update in range(1, 11):
            clock.now += 2.0
            progress.update(update, {"reward/mean": update / 10, "unknown": 3.0})
    assert out.getvalue().splitlines() == [
        "zero 1/10 · reward 0.100 · left 18s",
        "zero 4/10 · reward 0.400 · left 12s",
        "zero 7/10 · reward 0.700 · left 6s",
        "zero 10/10 · reward 1.000 · left 0s",
    ]


def test_a_line_is_not_wrapped_and_rows_keep_their_last_value():
    progress, clock, out = display(2, every=0.0)
    clock.now += 30
    first = {"completion/length_mean": 24.4, "perf/rollout_tokens_per_s": 14321.0}
    progress.update(1, first | {"reward/accuracy": 0.5})
    progress.update(2, {"perf/train_tokens_per_s": 1e6})
    progress.note("x" * 150)
    assert out.getvalue().splitlines() == [
        "zero 1/2 · accuracy 0.500 · length 24 · rollout tok/s 14,321 · left 30s",
        "zero 2/2 · accuracy 0.500 · length 24 · rollout tok/s 14,321"
        " · train tok/s 1,000,000 · left 0s",
        "x" * 150,
    ]


def test_a_title_is_no_markup_and_what_is_said_speaks_to_no_terminal():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    with Progress(2, "algebra [/x]", console=console) as progress:
        progress.note("\x1b]0;mine\x07\u202egnorw \u00e9\u4e2d\U0001f600")
    text = out.getvalue()
    assert "algebra [/x]" in text
    assert "\\x1b]0;mine\\x07\\u202egnorw \u00e9\u4e2d\U0001f600" in text
    assert "\x07" not in text and "\x1b]" not in text


def test_time_left_of_a_resumed_run_is_its_own_speed():
    progress, clock, out = display(100, start=90, every=0.0)
    with progress:
        clock.now += 4.0
        progress.update(92, {})
    assert out.getvalue() == "zero 92/100 · left 16s\n"


def test_a_terminal_gets_one_panel():
    progress, clock, out = display(4, terminal=True)
    with progress:
        progress.phase("rollout")
        clock.now += 60
        progress.update(1, {"reward/mean": 0.125})
        progress.note("[evaluation] pass@1 0.5")
    text = out.getvalue()
    for part in ("zero", "1/4", "rollout", "reward 0.125", "left 3m00s", "[evaluation] pass@1 0.5"):
        assert part in text
    assert "\x1b[" in text


def test_a_disabled_display_is_silent():
    progress, _, out = display(1, terminal=True, enabled=False)
    with progress:
        progress.update(1, {"reward/mean": 1.0})
        progress.note("hello")
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    "seconds, text", [(0, "0s"), (59.6, "1m00s"), (185, "3m05s"), (3600, "1h00m"), (7620, "2h07m")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
