"""Telling languages of one script apart, by the identifier py3langid (an optional package)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from r1jax.errors import UserError

SURE = 0.8
"""Probability from which on an identification counts."""

_ENDS = re.compile(r"(?<=[.!?;:。！？；：])\s+|(?<=[。！？；])|\n+")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text: what is identified at a time."""
    return (part for part in _ENDS.split(text) if part.strip())


def identified(text: str, languages: tuple[str, ...]) -> str | None:
    """Which of `languages` a sentence is in; None where the identifier is not sure."""
    language, probability = _identifier(languages).classify(text)
    return language if probability >= SURE else None


def language_of(text: str) -> str:
    """The code of the language that a whole text most likely is in, of all that are known."""
    return _identifier(()).classify(text)[0]


def require(
    what: str = "--reward.language-identifier langid", instead: str = ", or use script"
) -> None:
    """Raises UserError, naming `what` asks for it, where the package is not installed."""
    try:
        import py3langid  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{what}: needs the package py3langid; install r1jax[langid]{instead}"
        ) from error


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if languages:
        identifier.set_languages(list(languages))
    return identifier
