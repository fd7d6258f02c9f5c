"""One display over all stages of a pipeline: what is done, what runs, and how much time is left.

In a terminal a single panel, redrawn in place; anywhere else plain lines that name their stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from r1jax.run.progress import Progress, Screen, duration
from r1jax.run.visible import visible

State = Literal["waiting", "running", "done", "skipped", "stopped"]

MARKS: dict[State, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "bold"),
    "done": ("✓", "green"),
    "skipped": ("–", "dim"),
    "stopped": ("✗", "red"),
}
"""State of a stage -> its mark and style."""


@dataclass
class Shown:
    """What is known of one stage while the pipeline runs; `said` is its result or latest note."""

    state: State = "waiting"
    began: float = 0.0
    seconds: float | None = None
    said: str = ""
    progress: Progress | None = None


class Stages(Screen):
    """`with Stages(names, budget_seconds=900) as stages: run(config, display=stages.stage(name))`.

    `stage` says that a stage begins and gives the display to hand to its run, `done` that it has
    ended, `skip` that it need not run. Without a budget the time spent is shown alone.
    `enabled=False` (every process but the first) shows nothing.
    """

    def __init__(
        self,
        names: Sequence[str],
        budget_seconds: float | None = None,
        *,
        title: str = "r1",
        every: float = 10.0,
        enabled: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = {name: Shown() for name in names}
        self._budget, self._title, self.every = budget_seconds, title, every
        super().__init__(enabled, console, clock)

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        """Leaves the last state on the screen; a stage that was cut short is marked as stopped."""
        for name, stage in self._shown.items():
            if kind and stage.state == "running":
                self._end(name, "stopped", f"{kind.__name__}, see below")
        super().__exit__(kind, *raised)

    def stage(self, name: str) -> StageDisplay:
        """Marks a stage as running; the display for its run."""
        stage = self._shown[name]
        if stage.state != "running":
            self._shown[name] = Shown("running", began=self.clock())
            self._line(name, f"started · {self.spent()}")
        return StageDisplay(self, name)

    def done(self, name: str, result: str = "") -> None:
        """Marks a stage as done, with its result in a few words."""
        self._end(name, "done", result)
        stage = self._shown[name]
        parts = [f"done in {duration(stage.seconds or 0)}", result, self.spent()]
        self._line(name, " · ".join(part for part in parts if part))

    def skip(self, name: str, why: str = "finished earlier") -> None:
        """Marks a stage as not to be run."""
        self._shown[name] = Shown("skipped", said=why)
        self._line(name, f"skipped: {why}")

    def tell(self, name: str, text: str) -> None:
        """What the run of a stage says: in a terminal beside it until it says more, else a line.

        Warnings stay.
        """
        text = visible(text)
        self._shown[name].said = text.strip().rpartition("\n")[2]
        if self.live and text.startswith("warning"):
            self.note(f"{self.label(name)} {text}")
        for line in text.splitlines():
            self._line(name, line)

    def attach(self, name: str, progress: Progress) -> None:
        """Draws `progress` at its stage from now on."""
        self._shown[name].progress = progress

    def label(self, name: str) -> str:
        """[4/12 reasoning_rl]"""
        place = list(self._shown).index(name) + 1
        return f"[{place}/{len(self._shown)} {name}]"

    def spent(self) -> str:
        """The time spent, and of how much: 6m12s of 15m00s."""
        seconds = self.clock() - self._began
        if self._budget is None:
            return duration(seconds)
        over = " (over budget)" if seconds > self._budget else ""
        return f"{duration(seconds)} of {duration(self._budget)}{over}"

    def _end(self, name: str, state: State, said: str) -> None:
        stage = self._shown[name]
        seconds = self.clock() - stage.began
        self._shown[name] = Shown(state, stage.began, seconds, said)

    def _line(self, name: str, text: str) -> None:
        if self.live:
            self.live.refresh()
        else:
            self.note(f"{self.label(name)} {text}")

    def _panel(self) -> Panel:
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column()
        table.add_column()
        table.add_column(justify="right")
        table.add_column(ratio=1)
        for name, stage in self._shown.items():
            mark, style = MARKS[stage.state]
            running = stage.state == "running"
            seconds = self.clock() - stage.began if running else stage.seconds
            took = "" if seconds is None else duration(seconds)
            table.add_row(Text(mark, style), Text(name, style), took, _told(stage))
        return Panel(table, title=Text(self._title), subtitle=Text(self.spent()))


class StageDisplay:
    """The display (`r1jax.run.progress.Display`) of a run that is one stage among others."""

    def __init__(self, stages: Stages, name: str) -> None:
        self._stages, self._name = stages, name

    def progress(self, total: int, title: str, start: int, enabled: bool) -> Progress:
        """Drawn at its stage; the stage's name stands in for the run's `title`."""
        stages = self._stages
        progress = Progress(
            total,
            stages.label(self._name),
            start=start,
            every=stages.every,
            enabled=enabled and stages.enabled,
            console=stages.console,
            clock=stages.clock,
            live=stages.live,
            say=self.note,
        )
        stages.attach(self._name, progress)
        return progress

    def note(self, line: str) -> None:
        """Says it at the stage."""
        self._stages.tell(self._name, line)

    def result(self, text: str) -> None:
        """Nothing: `Stages.done` says how a stage ended."""


def _told(stage: Shown) -> RenderableType:
    """What stands beside a stage's name: bar, facts and latest note, or its result."""
    if stage.state != "running":
        return Text(stage.said, style="dim" if stage.state == "skipped" else "")
    said = [Text(stage.said, style="dim")] if stage.said else []
    return Group(*([stage.progress.body()] if stage.progress else []), *said)
