"""The line in which jobs wait, for each other and for a free place."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.errors import UserError


class Queue:
    """Jobs in their order, each handed out when what it waits for is done; for several threads."""

    def __init__(
        self, jobs: Sequence[Any], after: Mapping[str, Sequence[str]], until: float | None
    ) -> None:
        """Of `after` only what is in `jobs` counts: the rest is finished already."""
        names = {job.name for job in jobs}
        self._waiting = list(jobs)
        self._after = {name: set(after.get(name, ())) & names for name in names}
        self._running: set[str] = set()
        self._until = until
        self._changed = threading.Condition()
        self.failed: list[str] = []
        refuse_circles(self._after)

    def stop(self) -> None:
        """Hands out nothing more."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def left(self) -> float | None:
        """Seconds until the end; None where there is none."""
        return None if self._until is None else self._until - time.monotonic()

    def take(self) -> Any:
        """The next job that can start, waiting for one if need be; None when there is none left."""
        with self._changed:
            while self._waiting and not (self.left is not None and self.left <= 0):
                ready = [job for job in self._waiting if not self._after[job.name]]
                if ready:
                    self._waiting.remove(ready[0])
                    self._running.add(ready[0].name)
                    return ready[0]
                if not self._running:
                    return None
                self._changed.wait(self.left)
            return None

    def put_back(self, job: Any, status: int | None) -> None:
        """Takes note of how a job ended: 0 done, None stopped at the end of time, else failed."""
        with self._changed:
            self._running.discard(job.name)
            if status == 0:
                for names in self._after.values():
                    names.discard(job.name)
            elif status is not None:
                self.failed.append(job.name)
            self._changed.notify_all()


def refuse_circles(after: Mapping[str, set[str]]) -> None:
    """Raises UserError where jobs wait for each other."""
    left = {name: set(names) for name, names in after.items()}
    while free := [name for name, names in left.items() if not names]:
        for name in free:
            del left[name]
        for names in left.values():
            names.difference_update(free)
    if left:
        raise UserError(f"jobs {', '.join(sorted(left))}: wait for each other; none can start")
