"""Examples to learn from for a cold start: worked solutions, or their answers alone.

    python -m experiments.smollm2.examples --run runs/smollm2-worked

Takes training problems (never held-out ones) and has each solved by the rule-based solver, which
sees the question alone; a problem that it cannot read is left out. `--kind answer` writes the bare
answers of the same problems: the control that tells a way of thinking from more supervision.
Seconds on a CPU. Leaves examples.jsonl (prompt, completion) and summary.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from experiments.smollm2.solver import solve
from r1jax.commands import cli
from r1jax.data import ProblemStream, TrainDataConfig
from r1jax.errors import SEEDS, UserError, check_ranges
from r1jax.presets.smollm2 import TASKS
from r1jax.run.directory import write_jsonl
from r1jax.run.flags import PlaceFlags
from r1jax.run.names import SUMMARY
from r1jax.stages.opening import opened

NAME = "examples.jsonl"


@dataclass(frozen=True)
class Config(PlaceFlags):
    """Which problems are solved, and how much of the solution is shown."""

    run: str = "runs/smollm2-examples"
    count: int = 2048
    """Problems taken."""
    kind: Literal["worked", "answer"] = "worked"
    """Thought and answer, or the answer alone."""
    train: tuple[str, ...] = TASKS
    """Sources of the problems, in equal shares."""
    seed: int = 0
    """Seed of the problems' generation."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", count="[1,]", seed=SEEDS)


def main(config: Config) -> None:
    """Writes the examples."""
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        rows = list(examples(config))
        if not rows:
            raise UserError(
                "--train: the solver reads none of these problems; use " + " ".join(TASKS)
            )
        write_jsonl(run.path / NAME, rows)
        run.finish({"problems": config.count, "solved": len(rows)}, f"{len(rows)} examples")


def examples(config: Config) -> Iterator[dict[str, str]]:
    """A prompt with its completion for every problem that the solver can read."""
    stream = ProblemStream(TrainDataConfig(train=config.train, seed=config.seed))
    for problem in stream.take(0, config.count):
        solution = solve(problem.question)
        if solution:
            text = solution.worked if config.kind == "worked" else solution.bare
            yield {"prompt": problem.question, "completion": text}


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
