"""What a run shows while it works: a live panel in a terminal, plain lines anywhere else.

A run draws on the `Display` it is given: by default its own, or its place among other runs'
(`r1jax.run.display`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r1jax.run.visible import line, visible

SHOWN = {
    "reward/mean": ("reward", "{:.3f}"),
    "reward/accuracy": ("accuracy", "{:.3f}"),
    "completion/length_mean": ("length", "{:.0f}"),
    "sft/nll": ("nll", "{:.4f}"),
    "preference/accuracy": ("pairs right", "{:.3f}"),
    "perf/rollout_tokens_per_s": ("rollout tok/s", "{:,.0f}"),
    "perf/train_tokens_per_s": ("train tok/s", "{:,.0f}"),
}
"""Metric name -> label and format; metrics not named here are not shown."""


class Screen:
    """A panel that is redrawn in place in a terminal, plain lines anywhere else."""

    def __init__(
        self,
        enabled: bool,
        console: Console | None,
        clock: Callable[[], float],
        live: Live | None = None,
    ) -> None:
        """Draws the panel, so that whatever it shows must be there already.

        `live` is a panel that somebody else opened, and that is not to be opened again.
        """
        self.enabled, self.console, self.clock = enabled, console or Console(), clock
        self._began = clock()
        self._owns = enabled and live is None and self.console.is_terminal
        if self._owns:
            live = Live(console=self.console, get_renderable=self._panel)
        self.live = live

    def __enter__(self) -> Self:
        """Shows the display; its clock starts here."""
        self._began = self.clock()
        if self.live and self._owns:
            self.live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Leaves the last state on the screen."""
        if self.live and self._owns:
            self.live.stop()

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        if self.enabled:
            # soft_wrap: a log file has no width.
            self.console.print(Text(visible(text)), soft_wrap=self.live is None)

    def _panel(self) -> Panel:
        raise NotImplementedError


class Progress(Screen):
    """`with Progress(total, title) as p: p.update(update, metrics)`.

    Updates count from 1; `start` is the restored counter of a resumed run, so that the time left
    is judged by this process's own speed. Keys absent from a row keep their last value. In a
    terminal the panel is redrawn in place; otherwise a line appears at most every `every` seconds,
    and for the last update. `enabled=False` (every process but the first) shows nothing.
    """

    def __init__(
        self,
        total: int,
        title: str,
        *,
        start: int = 0,
        every: float = 10.0,
        enabled: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        live: Live | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """`live` is a panel that somebody else opened and that shows `body` among other things.

        `say` takes the notes then.
        """
        self._total, self._title, self._every = total, title, every
        self._first = self._update = start
        self._printed = float("-inf")
        self._values: dict[str, float] = {}
        self._phase = ""
        self._say = say or super().note
        super().__init__(enabled, console, clock, live)

    def update(self, update: int, metrics: Mapping[str, float]) -> None:
        """Shows the metrics of `update`."""
        self._update = update
        self._values |= {name: metrics[name] for name in SHOWN if name in metrics}
        if self.live:
            self.live.refresh()
            return
        now = self.clock()
        if self.enabled and (now - self._printed >= self._every or update >= self._total):
            self._printed = now
            super().note(" · ".join([f"{self._title} {update}/{self._total}", *self._facts()]))

    def phase(self, name: str) -> None:
        """Says what the run is busy with: rollout, reward, update, evaluation."""
        self._phase = name
        if self.live:
            self.live.refresh()

    @property
    def doing(self) -> str:
        """The phase the run is in; empty before the first."""
        return self._phase

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        if self.enabled:
            self._say(text)

    def _facts(self) -> list[str]:
        facts = [
            f"{label} {form.format(self._values[name])}"
            for name, (label, form) in SHOWN.items()
            if name in self._values
        ]
        return [*facts, f"left {self._left()}"]

    def _left(self) -> str:
        done = self._update - self._first
        if done <= 0:
            return "?"
        each = (self.clock() - self._began) / done
        return duration(each * max(0, self._total - self._update))

    def body(self) -> Group:
        """Bar, phase and facts, as they are now."""
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column()
        head.add_column(ratio=1)
        head.add_column()
        bar = ProgressBar(total=max(self._total, 1), completed=self._update)
        head.add_row(f"{self._update}/{self._total}", bar, Text(self._phase, style="dim"))
        return Group(head, Text(" · ".join(self._facts())))

    def _panel(self) -> Panel:
        return Panel(self.body(), title=Text(line(self._title)))


class Display(Protocol):
    """Where a run shows what it does; only the first process writes lines."""

    def progress(self, total: int, title: str, start: int, enabled: bool) -> Progress:
        """The progress of `total` updates, of which `start` are done; see `Progress`."""

    def note(self, line: str) -> None:
        """Says something on the way, before there is a progress to say it."""

    def result(self, text: str) -> None:
        """Says how the run ended, and where its report is."""


class Alone:
    """The display of a run by itself: its own progress, all else printed."""

    def progress(self, total: int, title: str, start: int, enabled: bool) -> Progress:
        """A panel, or lines, of its own."""
        return Progress(total, title, start=start, enabled=enabled)

    def note(self, line: str) -> None:
        """Prints it."""
        print(visible(line))

    def result(self, text: str) -> None:
        """Prints it."""
        print(visible(text))


def duration(seconds: float) -> str:
    """Seconds as 8s, 3m05s or 2h07m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
