"""One HTTP request under one deadline, and what its failure means for a second try."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import re
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Literal

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from r1jax.errors import UserError

LONGEST = 1 << 24
"""Bytes, unpacked, after which a response is taken for garbage."""
HEARD = 4096
"""Bytes of a server's explanation that are read."""
SAID = 200
"""Characters of it that are passed on."""
PIECE = 4
"""Characters of a key in a row that are not shown."""

Fault = Literal["endpoint", "request", "either"]
"""Whose fault a failure is: of the endpoint for all, of this request alone, or one cannot know."""


class Failed(Exception):
    """A request without an answer: why, whose fault, whether to try again and after how long.

    `said` are words of the server; they may hold anything, the key too.
    """

    def __init__(
        self, reason: str, fault: Fault, *, again: bool, said: str = "", wait: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason, self.fault, self.again = reason, fault, again
        self.said, self.wait = said, wait

    def shown(self, secret: str) -> str:
        """The reason and the server's words, short, in one line, without any piece of the key."""
        # The key goes first: what is cut or joined afterwards could no longer be recognised.
        words = " ".join(_hidden(self.said, secret).split())[:SAID]
        plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
        return f"{self.reason} ({plain})" if plain else self.reason


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop that leaves behind a look-up of a name that is given up.

    asyncio's own would make the end of the program wait for a name server that does not answer.
    """

    async def getaddrinfo(self, *where: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`."""
        found: Future[Any] = Future()
        found.set_running_or_notify_cancel()

        def look_up() -> None:
            try:
                found.set_result(socket.getaddrinfo(*where, **options))
            except (OSError, ValueError, OverflowError) as error:  # of names that are none, too
                found.set_exception(OSError(str(error)))

        threading.Thread(target=look_up, daemon=True).start()
        return await asyncio.wrap_future(found)


def open_portal() -> AbstractContextManager[BlockingPortal]:
    """A thread with an event loop: the caller's may run one already, as a notebook's does."""
    return start_blocking_portal(backend_options={"loop_factory": EventLoop})


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def open_client(secret: str) -> httpx2.AsyncClient:
    """A client that follows no redirect: the key must reach no other host.

    Every request has a connection of its own, so that no late answer is taken for another's.
    Raises UserError where the environment names a proxy that cannot be used.
    """
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "Connection": "close"}
    headers |= {"Content-Type": "application/json"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    limits = httpx2.Limits(max_keepalive_connections=0)
    try:
        return httpx2.AsyncClient(headers=headers, timeout=None, limits=limits, verify=_trusted())
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise UserError(
            f"HTTP_PROXY, HTTPS_PROXY, ALL_PROXY: no proxy that can be used ({error}); correct or "
            "unset them, or name the host in NO_PROXY"
        ) from None


async def post(client: httpx2.AsyncClient, url: str, body: bytes, timeout: float) -> bytes:
    """The body of the response to a JSON request, unpacked. Raises Failed.

    `timeout` bounds the seconds from looking up the host to the last byte, however they come.
    """
    response, received, failure = None, bytearray(), None
    try:
        async with asyncio.timeout(timeout), client.stream("POST", url, content=body) as response:
            most = LONGEST if response.is_success else HEARD
            async for part in response.aiter_raw():
                received += part
                if len(received) > most:
                    break
    except TimeoutError:
        failure = Failed(f"no whole answer within {timeout:g} s", "either", again=True)
    except httpx2.ConnectError as error:
        failure = Failed("no connection", "endpoint", again=True, said=str(error))
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        # The name alone: what the message quotes of the request could be the key.
        failure = Failed(f"connection lost ({type(error).__name__})", "either", again=True)
    if response is not None and not response.is_success:
        raise _refused(response, bytes(received))
    if failure:
        raise failure
    unpacked = _unpacked(response, bytes(received), LONGEST + 1)
    if len(unpacked) > LONGEST:
        raise Failed("the answer does not end", "request", again=True)
    return unpacked


def _unpacked(response: httpx2.Response, raw: bytes, most: int) -> bytes:
    """At most `most` bytes of a body: what was packed to burst does not get to."""
    packed = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packed == "identity":
        return raw
    try:
        if packed == "gzip":
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw, most)
    except zlib.error:
        pass
    raise Failed("the answer is packed so that it cannot be read", "request", again=True)


def _refused(response: httpx2.Response, raw: bytes) -> Failed:
    code = response.status_code
    try:
        said = _unpacked(response, raw, HEARD).decode("utf-8", "replace")
    except Failed:
        said = ""  # the status says enough
    busy = code in (408, 429) or code >= 500
    fault: Fault = "request" if code in (400, 413, 422) else "endpoint"
    return Failed(
        f"status {code}",
        "either" if busy and code != 429 else fault,
        again=busy,
        said=said,
        wait=asked_to_wait(response.headers.get("Retry-After", "")),
    )


def asked_to_wait(value: str) -> float:
    """Seconds that a Retry-After header asks for, a number or a date; 0 where it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if seconds < float("inf") else 0.0


def _hidden(text: str, secret: str) -> str:
    """`text` with *** for every piece of the secret, which a server may quote cut or masked."""
    n = min(PIECE, len(secret))
    pieces = {secret[i : i + n] for i in range(len(secret) - n + 1)}
    places = {i + k for i in range(len(text)) if text[i : i + n] in pieces for k in range(n)}
    return re.sub("\0+", "***", "".join("\0" if i in places else c for i, c in enumerate(text)))
