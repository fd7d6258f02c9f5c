"""How likely a served model finds tokens that are sent to it: log-probabilities of a prompt.

Two replies of a completions server are read: vLLM's `prompt_logprobs`, by token ids, and the older
`logprobs` of an echoed prompt (SGLang, OpenAI's first API). Every token is checked to be the one
that was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import httpx2

from r1jax.endpoint.asking import Asker
from r1jax.endpoint.config import Connection
from r1jax.endpoint.wire import HEARD, Failed, open_client, open_portal
from r1jax.errors import UserError, once_each

FORMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "prompt_logprobs": ("prompt_logprobs", {}),
    "logprobs with echo, by ids": ("logprobs", {"echo": True, "return_tokens_as_token_ids": True}),
    "logprobs with echo": ("logprobs", {"echo": True}),
}
"""What is asked for: the field that says how many tokens are wanted at a place, and others."""
NEVER = -9999.0
"""What vLLM writes for a probability of 0."""

Spellings = Callable[[int], Collection[str]]
"""How servers may write a token of this id."""


class Unscored(UserError):
    """An endpoint gives no log-probabilities any more, or too few."""


@dataclass(frozen=True)
class Scores:
    """What is known of the tokens behind a prompt, n of them."""

    logp: list[float]  # n
    likeliest: list[list[tuple[int, float]]]  # n times k ids with their log-probabilities
    model: str = ""  # what the server calls itself


class PromptScorer(Asker):
    """Asks for the log-probabilities of tokens given those before them."""

    path = "/completions"
    kept = "the same command goes on from what is saved"

    def __init__(
        self, config: Connection, likeliest: int, spellings: Spellings, most: float
    ) -> None:
        """`likeliest` tokens are wanted at each place; a share above `most` may not be lost."""
        super().__init__(config)
        self._wanted, self._spellings, self._most = likeliest, spellings, most
        self._form, self._size = "", 0
        self._lost: dict[int, str] = {}

    def probe(self, text: str, tokens: Sequence[int], special: Sequence[int]) -> str:
        """Finds out how the server answers; the name that it gives its model.

        `tokens` are what the student makes of the text, `special` what it may put before them. The
        server has to score these, and to read the text as these itself. Raises UserError, in one
        line, where it does not.
        """
        said = {}
        for self._form in FORMS:
            try:
                found = self._alone(tokens, [tokens])
                break
            except Failed as failure:
                said[self._form] = self._noted(failure)
                if failure.fault == "endpoint":
                    raise self._at_fault("no answer") from None
        else:
            reasons = "; ".join(f"{form}: {why}" for form, why in said.items())
            raise self._refused(
                f"returns no log-probabilities of a prompt's {max(self._wanted, 1)} likeliest "
                f"tokens ({reasons})",
                "serve the teacher with vLLM or SGLang (and --max-logprobs), or name its directory "
                "with --teacher.model",
            )
        try:  # the first token of a text has no log-probability, so that any may stand there
            self._alone(text, [tokens, [-1, *tokens], [*special, *tokens]])
        except Failed as failure:
            raise self._refused(
                f"has other tokens than the student ({self._noted(failure)})",
                "name a server of a teacher with its tokenizer, or learn from its texts "
                "(--data.train)",
            ) from None
        return found.model

    @contextlib.contextmanager
    def asking(
        self, sequences: Sequence[tuple[Sequence[int], int]]
    ) -> Iterator[Future[dict[int, Scores | None]]]:
        """Asks beside whatever is done inside, for the last n tokens of each (tokens, n).

        The future holds the scores by position, None where there are none: `lost` says why. It
        raises Unscored where the endpoint is at fault, or too many are lost.
        """
        self._lost, self._size = {}, len(sequences)
        with open_portal() as portal:
            yield portal.start_task_soon(self._all, dict(enumerate(sequences)))

    @property
    def lost(self) -> Mapping[int, str]:
        """Why there are no scores of the sequences, by position, that were asked for last."""
        return self._lost

    def _alone(self, prompt: str | Sequence[int], readings: Sequence[Sequence[int]]) -> Scores:
        """The scores of one prompt that the server reads in one of these ways. Raises Failed."""

        async def run() -> Scores:
            async with open_client(self._secret) as client:
                return await self._scored(client, prompt, readings, len(readings[0]) - 1)

        with open_portal() as portal:
            return portal.call(run)

    async def _one(
        self,
        client: httpx2.AsyncClient,
        gate: asyncio.Semaphore,
        key: int,
        request: tuple[Sequence[int], int],
    ) -> Scores | None:
        tokens, count = request
        async with gate:
            try:
                found = await self._scored(client, tokens, [tokens], count)
            except Failed as failure:
                self._lost[key] = self._noted(failure)
                if failure.fault == "endpoint":
                    raise Unscored(str(self._at_fault("no answer"))) from None
                if len(self._lost) > self._most * self._size:
                    lost = f"{len(self._lost)} of {self._size} completions are not scored"
                    raise Unscored(str(self._at_fault(lost))) from None
                return None
        self._count(replies=1)
        return found

    async def _scored(
        self,
        client: httpx2.AsyncClient,
        prompt: str | Sequence[int],
        readings: Sequence[Sequence[int]],
        count: int,
    ) -> Scores:
        """Of the last `count` tokens; what is sent is to be read in one of these ways."""
        name, others = FORMS[self._form]
        # One token is written, since not every server scores a prompt for its own sake.
        wanted = {name: max(self._wanted, 1), "max_tokens": 1, "temperature": 0.0}
        sent = prompt if isinstance(prompt, str) else [int(token) for token in prompt]
        body = {"model": self.config.model, "prompt": sent, **wanted, **others}
        how = count, self._wanted, name == "prompt_logprobs", self._spellings

        def read(raw: bytes) -> Scores:
            for tokens in readings[:-1]:
                with contextlib.suppress(Failed):
                    return read_scores(raw, tokens, *how)
            return read_scores(raw, readings[-1], *how)

        return await self._ask(client, json.dumps(body).encode(), read)

    def _refused(self, what: str, remedy: str) -> UserError:
        return UserError(f"{self.config.flag}base-url {self._url}: {what}; {remedy}")


def read_scores(
    raw: bytes,
    tokens: Sequence[int],
    count: int,
    wanted: int,
    by_id: bool,
    spellings: Spellings,
) -> Scores:
    """The scores of the last `count` tokens in the body of a response. Raises Failed.

    `by_id`: as vLLM's prompt_logprobs has them. All tokens but the first must be those sent.
    """
    try:
        answer = json.loads(raw, object_pairs_hook=once_each)
        choice, model = answer["choices"][0], answer.get("model")
        given = choice.get("prompt_logprobs" if by_id else "logprobs")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        said = raw[:HEARD].decode("utf-8", "replace")
        raise Failed("no completion", "request", again=True, said=said) from None
    try:
        places = _by_id(given, tokens) if by_id else _echoed(given, tokens, spellings, wanted)
        places = places[len(tokens) - count :]
        logp = [_number(own) for own, _ in places]
        likeliest = [_likeliest(others, wanted) for _, others in places]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        why = f"{type(error).__name__}: {error}"
        raise Failed("log-probabilities that cannot be read", "request", again=False, said=why) \
            from None  # fmt: skip
    named = model.encode(errors="replace").decode() if isinstance(model, str) else ""
    return Scores(logp, likeliest, named)


TokenScore = tuple[Any, Mapping[int, Any]]
"""A token's own log-probability, and those of the likeliest by id."""


def _by_id(given: Any, tokens: Sequence[int]) -> list[TokenScore]:
    """Of every token, from a list of {id: {"logprob": ...}}, whose first is null."""
    _check_count(given, (len(tokens),), len(tokens))
    places: list[TokenScore] = [(None, {})]
    for i, (token, entry) in enumerate(zip(tokens, given, strict=True)):
        if not i:
            continue
        if not isinstance(entry, dict) or str(token) not in entry:
            raise _other(i)
        by_token = {int(name): value["logprob"] for name, value in entry.items()}
        places.append((by_token[int(token)], by_token))
    return places


def _echoed(
    given: Any, tokens: Sequence[int], spellings: Spellings, wanted: int
) -> list[TokenScore]:
    """Of every token, from lists of texts or "token_id:7", their values, and the likeliest."""
    texts = given.get("tokens") if isinstance(given, dict) else None
    # With the token that the server wrote, or without.
    _check_count(texts, (len(tokens), len(tokens) + 1), len(tokens))
    values, tops = given["token_logprobs"], given.get("top_logprobs")
    _check_count(values, (len(texts),), len(tokens))
    places: list[TokenScore] = [(None, {})]
    for i, token in enumerate(tokens):
        if not i:
            continue
        if not _same(texts[i], int(token), spellings):
            raise _other(i)
        top = tops[i] if wanted and tops else {}
        if any(_id(name) is None for name in top):
            raise Failed("likeliest tokens by their texts, not ids", "request", again=False)
        places.append((values[i], {_id(name): value for name, value in top.items()}))
    return places


def _check_count(given: Any, right: Collection[int], sent: int) -> None:
    if not isinstance(given, list):
        raise Failed("no log-probabilities of the prompt's tokens", "request", again=False)
    if len(given) not in right:
        said = f"{len(given)} for {sent}"
        raise Failed("not a log-probability for each token", "request", again=False, said=said)


def _other(place: int) -> Failed:
    return Failed(f"token {place} is not the one that was sent", "request", again=False)


def _id(text: Any) -> int | None:
    """The id in "token_id:7"; None where it is a text."""
    number = str(text).removeprefix("token_id:")
    return int(number) if number != text and number.isascii() and number.isdigit() else None


def _same(text: Any, token: int, spellings: Spellings) -> bool:
    """Whether a server may mean this token; half a character has no text to compare."""
    if (named := _id(text)) is not None:
        return named == token
    half = isinstance(text, str) and ("\ufffd" in text or text.startswith("bytes:"))
    return half or text.strip() in {known.strip() for known in spellings(token)}


def _number(value: Any) -> float:
    """A log-probability; Failed where it is none. A little above 0 it has been rounded."""
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or not NEVER < value <= 1e-3:
        raise Failed("a value that is no log-probability", "request", again=False, said=str(value))
    return float(value)


def _likeliest(by_token: Mapping[int, Any], wanted: int) -> list[tuple[int, float]]:
    """The `wanted` likeliest tokens; a server may give the one that was sent as well."""
    if not wanted:
        return []
    found = sorted(((token, _number(value)) for token, value in by_token.items()),
                   key=lambda item: -item[1])  # fmt: skip
    if len(found) < wanted:
        raise Failed(f"{len(found)} of the {wanted} likeliest tokens", "request", again=False)
    if (total := sum(math.exp(value) for _, value in found)) > 1.02:
        said = f"sum {total:.3g}"
        raise Failed("probabilities that exceed 1 together", "request", again=False, said=said)
    return found[:wanted]
