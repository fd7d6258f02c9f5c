"""A written list of requests of mixed lengths, the same for every engine that runs it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from r1jax.errors import UserError

SHORTEST_PROMPT, LONGEST_PROMPT = 64, 512
MEAN, LONGEST, SPREAD = 300, 2048, 0.8
"""Completion lengths: log-normal with this mean, cut at the longest; SPREAD is sigma of the log."""


@dataclass(frozen=True)
class ListedRequest:
    """One line of a list: the prompt's token ids and how many tokens are to follow.

    An engine is to write `max_tokens` of them whatever it draws (`ignore_eos` in vLLM).
    """

    id: int
    prompt: tuple[int, ...]
    max_tokens: int


def draw_requests(count: int, vocab: int, seed: int) -> list[ListedRequest]:
    """Seeded requests: prompts uniform in length and tokens, completions log-normal in length."""
    rng = np.random.default_rng(seed)
    prompts = rng.integers(SHORTEST_PROMPT, LONGEST_PROMPT + 1, count)
    # The mean of a log-normal is exp(mu + sigma^2 / 2).
    lengths = rng.lognormal(math.log(MEAN) - SPREAD**2 / 2, SPREAD, count)
    lengths = np.clip(np.rint(lengths), 1, LONGEST).astype(int)
    return [
        ListedRequest(i, tuple(rng.integers(0, vocab, prompts[i]).tolist()), int(lengths[i]))
        for i in range(count)
    ]


def write_requests(path: str | Path, requests: Iterable[ListedRequest]) -> None:
    """One JSON object per line: id, prompt (token ids), max_tokens."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.writelines(json.dumps(asdict(request)) + "\n" for request in requests)


def read_requests(path: str | Path, vocab: int) -> list[ListedRequest]:
    """The list in a file; UserError naming file and line where it is none for this vocabulary."""
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--requests {path}: cannot be read ({error})") from error
    if not lines:
        raise UserError(f"--requests {path}: empty; write a list with --write-requests {path}")
    return [_request(line, f"--requests {path}:{i}", vocab) for i, line in enumerate(lines, 1)]


def _request(line: str, where: str, vocab: int) -> ListedRequest:
    try:
        fields = json.loads(line)
        request = ListedRequest(fields["id"], tuple(fields["prompt"]), fields["max_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: expected an object with id, prompt and max_tokens") from error
    whole = (*request.prompt, request.max_tokens)
    if not request.prompt or not all(type(n) is int for n in whole) or request.max_tokens < 1:
        raise UserError(f"{where}: prompt must be token ids, max_tokens a whole number above 0")
    if not 0 <= min(request.prompt) <= max(request.prompt) < vocab:
        raise UserError(
            f"{where}: token ids from {min(request.prompt)} to {max(request.prompt)}; the model "
            f"has 0 to {vocab - 1}"
        )
    return request
