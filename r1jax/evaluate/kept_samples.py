"""Samples that are kept as they come: after a signal, or a kill, none is drawn again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.errors import UserError, told
from r1jax.evaluate.measures import Sampler
from r1jax.problem import Completion, Problem
from r1jax.rollout.knobs import Sampling
from r1jax.run.directory import differences, read_jsonl, write_jsonl
from r1jax.run.signals import held

ORIGIN = "origin"


class KeptSamples:
    """A file with a row for each problem whose samples are there; the first says where from."""

    def __init__(self, path: Path, origin: Mapping[str, Any]) -> None:
        """Reads what is there. UserError where it comes from something else than `origin`."""
        self._path, self._origin = path, origin
        rows = read_jsonl(path, torn=True) if path.exists() else []
        if rows:
            differing = differences(rows[0].get(ORIGIN), json.loads(json.dumps(origin)))
            if differing:
                raise UserError(
                    f"{path}: samples that were not finished, of other flags or files "
                    f"({'; '.join(differing)}); repeat those, or remove it"
                )
        with told(f"{path}: cannot be written"):
            if rows:
                write_jsonl(path, rows)
            else:
                path.unlink(missing_ok=True)
        with told(f"{path}: holds a row that is none of ours", "; remove the file"):
            self._known = {
                tuple(row["of"]): [Completion.parse(*sample) for sample in row["samples"]]
                for row in rows[1:]
            }

    def sampler(self, name: str, draw: Sampler) -> Sampler:
        """Draws with `draw` what is not kept of the set `name`; a signal ends it in between."""

        def sample(
            problems: Sequence[Problem], samples: int, sampling: Sampling, seed: int
        ) -> list[list[Completion]]:
            # What the texts depend on, beside the origin.
            of = lambda p: (name, samples, sampling.temperature, p.id, p.question)  # noqa: E731
            missing = lambda: [p for p in problems if of(p) not in self._known]  # noqa: E731

            def left() -> str:
                count = len(problems) - len(missing())
                return (f"{count:,} of {len(problems):,} problems of {name} are answered; the same "
                        "command goes on with the others")  # fmt: skip

            with held(left):
                if asked := missing():
                    keep = lambda p, completions: self._keep(of(p), completions)  # noqa: E731
                    draw(asked, samples, sampling, seed, keep)
            return [self._known[of(problem)] for problem in problems]

        return sample

    def only(self, problems: Sequence[Problem]) -> None:
        """Lets go of the samples of other problems than these, which nobody will ask for again."""
        asked = {(problem.id, problem.question) for problem in problems}
        if others := [of for of in self._known if of[3:] not in asked]:
            for of in others:
                del self._known[of]
            rows = (self._row(of, found) for of, found in self._known.items())
            with told(f"{self._path}: cannot be written"):
                write_jsonl(self._path, [{ORIGIN: self._origin}, *rows])

    def remove(self) -> None:
        """Everything is judged and written: nothing is to be kept any longer."""
        self._path.unlink(missing_ok=True)

    def _keep(self, of: tuple[Any, ...], completions: list[Completion]) -> None:
        self._known[of] = completions
        with told(f"{self._path}: cannot be written"), self._path.open("a") as file:
            if not file.tell():  # not before: who only began has made nothing
                file.write(json.dumps({ORIGIN: self._origin}) + "\n")
            file.write(json.dumps(self._row(of, completions)) + "\n")

    @staticmethod
    def _row(of: tuple[Any, ...], completions: Sequence[Completion]) -> dict[str, Any]:
        texts = [(c.text, c.token_ids, c.finish_reason, c.sample) for c in completions]
        return {"of": of, "samples": texts}
