"""A client for chat completions over HTTP: retries, a limit on concurrency, a cache, counts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from r1jax.endpoint.cache import Cache
from r1jax.endpoint.wire import Failed, post
from r1jax.errors import UserError, check_ranges

Message = Mapping[str, str]
"""A message of a chat: role and content."""


@dataclass(frozen=True)
class EndpointConfig:
    """An OpenAI-compatible endpoint; its key is read from the environment and nowhere else."""

    base_url: str = ""
    """Address up to /v1, as in http://localhost:8000/v1; empty: no endpoint."""
    model: str = ""
    """The model's name there."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; unset or empty: none is sent."""
    temperature: float = 0.0
    """Sampling temperature."""
    top_p: float = 1.0
    """Nucleus."""
    max_tokens: int = 4096
    """Longest reply in tokens."""
    timeout: float = 300.0
    """Seconds one try may take, from connecting to the last byte."""
    retries: int = 6
    """Further tries after a lost connection, a timeout, a status 429 or 5xx, or garbage."""
    backoff: float = 1.0
    """Seconds before the first of them; doubled each time, shortened at random by up to half."""
    longest_wait: float = 120.0
    """Most seconds between two tries, whatever the server's Retry-After asks for."""
    concurrency: int = 8
    """Requests under way at once."""
    cache: str = ""
    """JSONL file of replies, for resuming; empty: one in the run directory."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        if self.base_url:
            url = urlsplit(self.base_url)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise UserError(
                    f"--endpoint.base-url {self.base_url}: expected http://HOST[:PORT]/v1"
                )
            if url.username or url.password or url.query or url.fragment:
                raise UserError(
                    "--endpoint.base-url: holds more than an address; put the key into the "
                    "environment variable of --endpoint.key-variable"
                )
            if not self.model:
                raise UserError("--endpoint.model: empty; name the model to ask")
        check_ranges(
            self, "--endpoint.", max_tokens="[1,]", retries="[0,]", concurrency="[1,]",
            timeout="(0,]", backoff="[0,]", longest_wait="[0,]",
        )  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is asked; `seed` tells several samples of one chat apart, None leaves it out."""

    messages: tuple[Message, ...]
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """What came back. `thought` is the reasoning where the server returns it apart."""

    text: str
    thought: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def whole(self) -> str:
        """Thought and text as a model writes them in one piece."""
        return f"<think>\n{self.thought}\n</think>\n\n{self.text}" if self.thought else self.text


@dataclass(frozen=True)
class Usage:
    """Counts so far: tokens as the server gave them, over all replies, those of the cache too."""

    replies: int = 0
    cached: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __str__(self) -> str:
        """One line for the terminal."""
        return (
            f"{self.replies:,} replies ({self.cached:,} from the cache, {self.retries:,} retries), "
            f"{self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens"
        )


class _Stopped(Exception):
    """A request given up because another one failed."""


class Endpoint:
    """Asks an endpoint, several requests at a time. A context manager."""

    def __init__(self, config: EndpointConfig, cache: str | Path = "") -> None:
        """`cache` is the file where the config names none. Raises UserError without an address."""
        if not config.base_url:
            raise UserError("--endpoint.base-url: no endpoint; give an address such as "
                            "http://localhost:8000/v1")  # fmt: skip
        self.config = config
        self.usage = Usage()
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._cache = Cache(config.cache or cache)
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """The replies in the order of the requests; equal requests are asked once.

        Raises UserError, in one line, on a status 4xx other than 408 and 429 and when the tries are
        used up. Replies that came before are in the cache.
        """
        self._stop.clear()
        keys = [self._key(request) for request in requests]
        first = dict(zip(reversed(keys), reversed(requests), strict=True))
        pool = ThreadPoolExecutor(self.config.concurrency)
        try:
            waiting = {key: pool.submit(self._one, key, first[key]) for key in dict.fromkeys(keys)}
            wait(waiting.values(), return_when=FIRST_EXCEPTION)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        ended = [future.exception() for future in waiting.values() if not future.cancelled()]
        for error in ended:
            if error and not isinstance(error, _Stopped):
                raise error
        by_key = {key: future.result() for key, future in waiting.items()}
        replies = [by_key[key] for key in keys]
        self._count(
            replies=len(replies),
            prompt_tokens=sum(r.prompt_tokens for r in replies),
            completion_tokens=sum(r.completion_tokens for r in replies),
        )
        return replies

    def close(self) -> None:
        """Closes the cache."""
        self._cache.close()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _body(self, request: Request) -> dict[str, Any]:
        c = self.config
        body = {
            "model": c.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": c.temperature,
            "top_p": c.top_p,
            "max_tokens": c.max_tokens,
        }
        return body if request.seed is None else body | {"seed": request.seed}

    def _key(self, request: Request) -> str:
        asked = json.dumps([self._url, self._body(request)], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _one(self, key: str, request: Request) -> Reply:
        if kept := self._cache.get(key):
            self._count(cached=1)
            return Reply(**kept)
        try:
            reply = self._ask(json.dumps(self._body(request)).encode())
        except UserError:
            self._stop.set()  # before this thread can take up the next request
            raise
        self._cache.put(key, dataclasses.asdict(reply))
        return reply

    def _ask(self, body: bytes) -> Reply:
        c = self.config
        secret = os.environ.get(c.key_variable, "").strip()
        for tried in range(c.retries + 1):
            if self._stop.is_set():
                raise _Stopped
            try:
                return _read(post(self._url, body, secret, c.timeout))
            except Failed as failure:
                why = failure.reason.replace(secret, "***") if secret else failure.reason
                if not failure.again:
                    raise UserError(
                        f"--endpoint.base-url {self._url}: {why}; check the address, "
                        f"--endpoint.model {c.model} and the key in {c.key_variable}"
                    ) from None
                if tried == c.retries:
                    raise UserError(
                        f"--endpoint.base-url {self._url}: no answer in {tried + 1} tries "
                        f"(the last: {why}); try again later, what was answered is kept"
                    ) from None
                pause = c.backoff * 2.0**tried * random.uniform(0.5, 1.0)
                self._count(retries=1)
                self._stop.wait(min(max(pause, failure.wait), c.longest_wait))
        raise AssertionError("the last try returns or raises")

    def _count(self, **more: int) -> None:
        with self._lock:
            now = dataclasses.asdict(self.usage)
            self.usage = Usage(**now | {name: now[name] + n for name, n in more.items()})


def _read(raw: bytes) -> Reply:
    """The reply in a response's body; Failed where it holds none."""
    try:
        answer = json.loads(raw)
        choice = answer["choices"][0]
        text, thought = choice["message"]["content"], _thought(choice["message"])
        usage = answer.get("usage") or {}
        counts = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise Failed("the answer is no chat completion", again=True) from None
    if not isinstance(text, str):
        raise Failed("the answer has no text", again=True)
    return Reply(text, thought, str(choice.get("finish_reason") or "stop"), *counts)


def _thought(message: Mapping[str, Any]) -> str:
    """The reasoning under either of the names that servers use."""
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    return reasoning.strip() if isinstance(reasoning, str) else ""
