"""A client for chat completions over HTTP: retries, a limit on concurrency, a cache, counts."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from anyio.from_thread import start_blocking_portal

from r1jax.endpoint.cache import ReplyCache
from r1jax.endpoint.config import EndpointConfig
from r1jax.endpoint.reply import ChatRequest, Reply, read_reply
from r1jax.endpoint.wire import EventLoop, Failed, open_client, post
from r1jax.errors import UserError

IN_A_ROW = 16
"""So many requests without a reply, one after the other, are the endpoint's fault."""


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


class Endpoint:
    """Asks an endpoint, several requests at a time. A context manager."""

    def __init__(self, config: EndpointConfig, cache: str | Path = "") -> None:
        """`cache` is the file where the config names none.

        Raises UserError without an address, and where the key cannot be one.
        """
        if not config.base_url:
            raise UserError("--endpoint.base-url: no endpoint; give an address such as "
                            "http://localhost:8000/v1")  # fmt: skip
        self.config = config
        self.usage = Usage()
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._secret = os.environ.get(config.key_variable, "").strip()
        if not (self._secret.isascii() and self._secret.isprintable()):
            raise UserError(
                f"--endpoint.key-variable {config.key_variable}: holds characters that no key "
                "has; expected one line of ASCII"
            )
        self._answered = self._lost_in_a_row = 0
        self._last: Failed | None = None
        self._cache = ReplyCache(config.cache or cache)

    def chat(self, requests: Sequence[ChatRequest]) -> list[Reply | None]:
        """The replies in the order of the requests; equal requests are asked once.

        None stands for a request that got none by its own fault: the endpoint refuses it, or has
        nothing to say to it in all tries. Raises UserError, in one line, where the endpoint is at
        fault: it refuses everybody, answers nobody while the tries are used up, or has nothing to
        say to many in a row or to all. What was answered is in the cache.
        """
        keys = [self._key(request) for request in requests]
        first = dict(zip(reversed(keys), reversed(requests), strict=True))
        asked = {key: first[key] for key in dict.fromkeys(keys)}
        # In a thread: the caller's may run a loop already, as a notebook's does.
        with start_blocking_portal(backend_options={"loop_factory": EventLoop}) as portal:
            by_key = portal.call(self._all, asked)
        replies = [by_key[key] for key in keys]
        came = [reply for reply in replies if reply]
        self._count(
            replies=len(came),
            lost=len(replies) - len(came),
            prompt_tokens=sum(reply.prompt_tokens for reply in came),
            completion_tokens=sum(reply.completion_tokens for reply in came),
        )
        # One that says nothing is no judgement on the endpoint, but one that is refused is.
        if not self.usage.replies and (self.usage.lost > 1 or self._last and not self._last.again):
            raise self._at_fault(f"none of {self.usage.lost} requests got a reply")
        return replies

    def close(self) -> None:
        """Closes the cache."""
        self._cache.close()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        c = self.config
        body = {
            "model": c.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": c.temperature,
            "top_p": c.top_p,
            "max_tokens": c.max_tokens,
        }
        return body if request.seed is None else body | {"seed": request.seed}

    def _key(self, request: ChatRequest) -> str:
        asked = json.dumps([self._url, self._body(request)], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    async def _all(self, asked: Mapping[str, ChatRequest]) -> dict[str, Reply | None]:
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

    async def _one(
        self, client: httpx2.AsyncClient, gate: asyncio.Semaphore, key: str, request: ChatRequest
    ) -> Reply | None:
        if kept := self._cache.get(key):
            self._count(cached=1)
            return Reply(**kept)
        async with gate:
            answered = self._answered
            try:
                reply = await self._ask(client, json.dumps(self._body(request)).encode())
            except Failed as failure:
                self._give_up(failure, alone=self._answered > answered)
                return None
            self._answered += 1
            self._lost_in_a_row = 0
        self._cache.put(key, dataclasses.asdict(reply))
        return reply

    async def _ask(self, client: httpx2.AsyncClient, body: bytes) -> Reply:
        """The reply to one request after as many tries as it takes. Raises the last Failed."""
        c = self.config
        for tried in range(c.retries):
            try:
                return read_reply(await post(client, self._url, body, c.timeout))
            except Failed as failure:
                if not failure.again:
                    raise
                pause = c.backoff * 2.0 ** min(tried, 60) * random.uniform(0.5, 1.0)
                self._count(retries=1)
                await asyncio.sleep(min(max(pause, failure.wait), c.longest_wait))
        return read_reply(await post(client, self._url, body, c.timeout))

    def _give_up(self, failure: Failed, alone: bool) -> None:
        """Takes note of a lost request; `alone`: others were answered while it was tried.

        Raises UserError where the endpoint is at fault.
        """
        self._last, self._lost_in_a_row = failure, self._lost_in_a_row + 1
        self.usage = dataclasses.replace(self.usage, last_loss=failure.shown(self._secret))
        if failure.fault == "endpoint" and not failure.again:
            raise self._at_fault("refused")
        if failure.fault == "endpoint" or failure.fault == "either" and not alone:
            raise self._at_fault(f"no answer in {self.config.retries + 1} tries")
        if self._lost_in_a_row >= IN_A_ROW:
            raise self._at_fault(f"no reply to {IN_A_ROW} requests in a row")

    def _at_fault(self, what: str) -> UserError:
        c, last = self.config, self._last
        check = f"check the address, --endpoint.model {c.model} and the key in {c.key_variable}"
        remedy = "try again later" if last.again and last.fault != "request" else check
        return UserError(
            f"--endpoint.base-url {self._url}: {what} (the last: {self.usage.last_loss}); "
            f"{remedy}; what was answered is kept"
        )

    def _count(self, **more: int) -> None:
        now = dataclasses.asdict(self.usage)
        self.usage = Usage(**now | {name: now[name] + n for name, n in more.items()})
