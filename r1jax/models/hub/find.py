"""The directory behind `--model`: embedded, on this machine, or at Hugging Face."""

from __future__ import annotations

import contextlib
import re
from importlib.resources import files
from pathlib import Path

from r1jax.errors import UserError

EMBEDDED = "embedded"

DOWNLOADED = (
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
)
"""What is wanted of a repository at Hugging Face; weights in other layouts are left there."""


def model_directory(name: str) -> Path:
    """The directory behind `--model`: an embedded model, a path, or a name at Hugging Face.

    `embedded` is the base in the package, `embedded:NAME` a student's. `owner/name` and
    `owner/name@revision` are downloaded, or found in Hugging Face's cache. Raises UserError where
    there is no such directory and no such download.
    """
    kind, _, which = name.partition(":")
    if kind == EMBEDDED:
        return _embedded(which or "base")
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):  # no path has so long or so odd a name
        if path.is_dir():
            return path
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", name):
        return _download(name)
    raise UserError(
        f"--model {name}: no such directory; name one, {EMBEDDED}, or owner/name at Hugging Face"
    )


def _embedded(which: str) -> Path:
    assets = Path(str(files("r1jax") / "assets"))
    there = sorted(path.parent.name for path in assets.glob("*/config.json"))
    if which not in there:
        known = ", ".join(f"{EMBEDDED}:{name}" for name in there)
        raise UserError(
            f"--model {EMBEDDED}:{which}: no such model in the package; there are {known}"
        )
    return assets / which


def _download(name: str) -> Path:
    """The snapshot of `owner/name[@revision]`, without the weights of other frameworks."""
    import huggingface_hub

    repository, _, revision = name.partition("@")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision or None, allow_patterns=list(DOWNLOADED)
            )
        )
    # Whatever went wrong, in that library or the network below it, ends in this one line.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or "no reason given"
        raise UserError(
            f"--model {name}: no such directory, and no download from Hugging Face "
            f"({type(error).__name__}: {reason}); check name and network, log in for a gated "
            "model (hf auth login), or name a directory"
        ) from error
