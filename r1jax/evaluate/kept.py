"""Samples of an evaluation, kept as they come: after a signal, or a kill, none is drawn again."""

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
        self._path = path
        rows = read_jsonl(path, torn=True) if path.exists() else []
        if rows:
            differing = differences(rows[0].get(ORIGIN), json.loads(json.dumps(origin)))
            if differing:
                raise UserError(
                    f"{path}: samples of an evaluation that was not finished, with other flags or "
                    f"files ({'; '.join(differing)}); repeat those, or remove it"
                )
        with told(f"{path}: cannot be written"):
            write_jsonl(path, rows or [{ORIGIN: origin}])
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

    def remove(self) -> None:
        """Everything is judged and written: nothing is to be kept any longer."""
        self._path.unlink()

    def _keep(self, of: tuple[Any, ...], completions: list[Completion]) -> None:
        self._known[of] = completions
        texts = [(c.text, c.token_ids, c.finish_reason, c.sample) for c in completions]
        with told(f"{self._path}: cannot be written"), self._path.open("a") as file:
            file.write(json.dumps({"of": of, "samples": texts}) + "\n")
