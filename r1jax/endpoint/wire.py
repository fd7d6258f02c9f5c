"""One HTTP request with a deadline, and what its failure means for a second try."""

from __future__ import annotations

import email.utils
import http.client
import time
import urllib.error
import urllib.request
from typing import Any

CHUNK = 1 << 16
LONGEST = 1 << 26
"""Bytes after which a response is taken for garbage."""
SAID = 200
"""Characters of a server's explanation that are passed on."""


class Failed(Exception):
    """A request without an answer: why, whether another try may help, seconds to wait at least."""

    def __init__(self, reason: str, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.again, self.wait = reason, again, wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key must reach no other host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Leaves the redirect to be reported as an error."""


def post(url: str, body: bytes, secret: str, timeout: float) -> bytes:
    """The body of the response to a JSON request, within `timeout` seconds. Raises Failed."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    request = urllib.request.Request(url, body, headers, method="POST")
    deadline = time.monotonic() + timeout
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as response:
            return _body(response, deadline)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from None
    except TimeoutError:
        raise Failed(f"nothing within {timeout:g} s", again=True) from None
    except urllib.error.URLError as error:
        late = isinstance(error.reason, TimeoutError)
        reason = f"nothing within {timeout:g} s" if late else f"no connection ({error.reason})"
        raise Failed(reason, again=True) from None
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"connection lost ({type(error).__name__})", again=True) from None
    except ValueError as error:
        # A key with a line break, say; urllib's message would show it.
        raise Failed(f"cannot be asked ({type(error).__name__})", again=False) from None


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Everything the response holds; a server that sends byte by byte meets the deadline too."""
    parts, size = [], 0
    while part := response.read1(CHUNK):
        parts.append(part)
        size += len(part)
        if size > LONGEST:
            raise Failed("the answer does not end", again=True)
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"".join(parts), response.length)
    return b"".join(parts)


def _refused(error: urllib.error.HTTPError) -> Failed:
    try:
        said = error.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        said = ""
    said = " ".join(said.split())[:SAID]
    reason = f"status {error.code}" + (f" ({said})" if said else "")
    again = error.code in (408, 429) or error.code >= 500
    return Failed(reason, again, _asked_to_wait(error.headers.get("Retry-After")))


def _asked_to_wait(value: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return max(seconds, 0.0) if seconds < float("inf") else 0.0
