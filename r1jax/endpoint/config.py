"""Where an endpoint is, how it is asked, and how long one waits for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import httpx2

from r1jax.errors import UserError, check_ranges


@dataclass(frozen=True)
class Connection:
    """An OpenAI-compatible server; its key is read from the environment and nowhere else."""

    base_url: str = ""
    """Address up to /v1, as in http://localhost:8000/v1; empty: no endpoint."""
    model: str = ""
    """The model's name there."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; unset or empty: none is sent."""
    timeout: float = 300.0
    """Seconds one try may take, from connecting to the last byte."""
    retries: int = 6
    """Further tries after a lost connection, a timeout, a status 429 or 5xx, garbage, or an answer
    without text."""
    backoff: float = 1.0
    """Seconds before the first of them; doubled each time, shortened at random by up to half."""
    longest_wait: float = 120.0
    """Most seconds between two tries, whatever the server's Retry-After asks for."""
    concurrency: int = 8
    """Requests under way at once."""

    flag: ClassVar[str] = "--endpoint."

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range, or says something of no endpoint."""
        if self.base_url:
            try:
                url = httpx2.URL(self.base_url)
            except httpx2.InvalidURL:
                url = httpx2.URL("")
            port = url.port or 443
            if url.scheme not in ("http", "https") or not url.host or port >= 1 << 16:
                raise UserError(
                    f"{self.flag}base-url {self.base_url}: expected http://HOST[:PORT]/v1"
                )
            if url.userinfo or url.query or url.fragment:
                raise UserError(
                    f"{self.flag}base-url: holds more than an address; put the key into the "
                    f"environment variable of {self.flag}key-variable"
                )
            if not self.model:
                raise UserError(f"{self.flag}model: empty; name the model to ask")
        check_ranges(
            self, self.flag, retries="[0,]", concurrency="[1,]", timeout="(0,]", backoff="[0,]",
            longest_wait="[0,]",
        )  # fmt: skip
        if not self.base_url and any(getattr(self, f.name) != f.default for f in fields(self)):
            raise UserError(
                f"{self.flag}*: names no {self.flag}base-url; give one, or leave these out"
            )


@dataclass(frozen=True)
class EndpointConfig(Connection):
    """A server of chats, and what it is asked for."""

    temperature: float = 0.0
    """Sampling temperature."""
    top_p: float = 1.0
    """Nucleus."""
    max_tokens: int = 4096
    """Longest reply in tokens."""
    cache: str = ""
    """JSONL file of replies, for resuming; empty: one in the run directory."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, self.flag, max_tokens="[1,]", temperature="[0,]", top_p="(0,1]")
