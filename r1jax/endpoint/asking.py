"""What every client of an endpoint shares: tries, a limit on concurrency, counts, one line."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import httpx2

from r1jax.endpoint.config import Connection
from r1jax.endpoint.wire import Failed, open_client, post
from r1jax.errors import UserError

Read = TypeVar("Read")


@dataclass(frozen=True)
class Usage:
    """Counts so far: tokens as the server gave them, over all replies, those of the cache too."""

    replies: int = 0
    cached: int = 0
    lost: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last_loss: str = ""

    def __str__(self) -> str:
        """One line for the terminal."""
        lost = f"{self.lost:,} lost (the last: {self.last_loss}), " if self.lost else ""
        return (
            f"{self.replies:,} replies ({self.cached:,} from the cache, {self.retries:,} retries), "
            f"{lost}{self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens"
        )


class Asker(ABC):
    """Asks an endpoint for one thing, several requests at a time."""

    path: ClassVar[str]
    """Of what is asked for, behind the address."""
    kept: ClassVar[str]
    """What comes of it where the endpoint is at fault, for the end of the line that says so."""

    def __init__(self, config: Connection) -> None:
        """Raises UserError without an address, and where the key cannot be one."""
        if not config.base_url:
            raise UserError(f"{config.flag}base-url: no endpoint; give an address such as "
                            "http://localhost:8000/v1")  # fmt: skip
        self.config = config
        self.usage = Usage()
        self._url = config.base_url.rstrip("/") + self.path
        self._secret = os.environ.get(config.key_variable, "").strip()
        if not (self._secret.isascii() and self._secret.isprintable()):
            raise UserError(
                f"{config.flag}key-variable {config.key_variable}: holds characters that no key "
                "has; expected one line of ASCII"
            )
        self._last: Failed | None = None

    @abstractmethod
    async def _one(
        self, client: httpx2.AsyncClient, gate: asyncio.Semaphore, key: Any, request: Any
    ) -> Any:
        """The answer to one request, once the gate lets it through."""

    async def _all(self, asked: Mapping[Any, Any]) -> dict[Any, Any]:
        """All answers by their key. Raises what any of them raises, and ends the others."""
        gate = asyncio.Semaphore(self.config.concurrency)
        async with open_client(self._secret) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = {
                        key: group.create_task(self._one(client, gate, key, request))
                        for key, request in asked.items()
                    }
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from None
        return {key: task.result() for key, task in tasks.items()}

    async def _ask(
        self, client: httpx2.AsyncClient, body: bytes, read: Callable[[bytes], Read]
    ) -> Read:
        """What is `read` of a response, after as many tries as it takes. Raises the last Failed."""
        c = self.config
        for tried in range(c.retries):
            try:
                return read(await post(client, self._url, body, c.timeout))
            except Failed as failure:
                if not failure.again:
                    raise
                pause = c.backoff * 2.0 ** min(tried, 60) * random.uniform(0.5, 1.0)
                self._count(retries=1)
                await asyncio.sleep(min(max(pause, failure.wait), c.longest_wait))
        return read(await post(client, self._url, body, c.timeout))

    def _noted(self, failure: Failed) -> str:
        """Takes note of a lost request; why it was lost, in one line without the key."""
        self._last, shown = failure, failure.shown(self._secret)
        self.usage = dataclasses.replace(self.usage, last_loss=shown)
        return shown

    def _at_fault(self, what: str) -> UserError:
        c, last = self.config, self._last
        check = f"check the address, {c.flag}model {c.model} and the key in {c.key_variable}"
        remedy = "try again later" if last.again and last.fault != "request" else check
        return UserError(
            f"{c.flag}base-url {self._url}: {what} (the last: {self.usage.last_loss}); "
            f"{remedy}; {self.kept}"
        )

    def _count(self, **more: int) -> None:
        now = dataclasses.asdict(self.usage)
        self.usage = Usage(**now | {name: now[name] + n for name, n in more.items()})
