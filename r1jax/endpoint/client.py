"""A client for chat completions over HTTP: a cache, and who is at fault where nothing comes."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from r1jax.endpoint.asking import Asker
from r1jax.endpoint.cache import ReplyCache
from r1jax.endpoint.config import EndpointConfig
from r1jax.endpoint.reply import ChatRequest, Reply, read_reply
from r1jax.endpoint.wire import Failed, open_portal

IN_A_ROW = 16
"""So many requests without a reply, one after the other, are the endpoint's fault."""


class Endpoint(Asker):
    """Asks an endpoint for chats, several at a time. A context manager."""

    path = "/chat/completions"
    kept = "what was answered is kept"
    config: EndpointConfig

    def __init__(self, config: EndpointConfig, cache: str | Path = "") -> None:
        """`cache` is the file where the config names none.

        Raises UserError without an address, and where the key cannot be one.
        """
        super().__init__(config)
        self._answered = self._lost_in_a_row = 0
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
        with open_portal() as portal:
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

    async def _one(
        self, client: httpx2.AsyncClient, gate: asyncio.Semaphore, key: str, request: ChatRequest
    ) -> Reply | None:
        if kept := self._cache.get(key):
            self._count(cached=1)
            return Reply(**kept)
        async with gate:
            answered = self._answered
            try:
                body = json.dumps(self._body(request)).encode()
                reply = await self._ask(client, body, read_reply)
            except Failed as failure:
                self._give_up(failure, alone=self._answered > answered)
                return None
            self._answered += 1
            self._lost_in_a_row = 0
        self._cache.put(key, dataclasses.asdict(reply))
        return reply

    def _give_up(self, failure: Failed, alone: bool) -> None:
        """Takes note of a lost request; `alone`: others were answered while it was tried.

        Raises UserError where the endpoint is at fault.
        """
        self._noted(failure)
        self._lost_in_a_row += 1
        if failure.fault == "endpoint" and not failure.again:
            raise self._at_fault("refused")
        if failure.fault == "endpoint" or failure.fault == "either" and not alone:
            raise self._at_fault(f"no answer in {self.config.retries + 1} tries")
        if self._lost_in_a_row >= IN_A_ROW:
            raise self._at_fault(f"no reply to {IN_A_ROW} requests in a row")
