"""`--model owner/name`: what is asked of Hugging Face, and what a failure says. No network."""

from __future__ import annotations

import fnmatch

import huggingface_hub
import pytest
from huggingface_hub.errors import (
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from r1jax.errors import UserError
from r1jax.models.hub import find

REPOSITORY = (
    "README.md",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "consolidated.safetensors",
    "pytorch_model.bin",
    "original/tokenizer.model",
    "original/consolidated.00.pth",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


@pytest.fixture
def snapshots(monkeypatch, tmp_path):
    """The calls of snapshot_download, which returns an empty directory."""
    calls = []

    def download(repository, **options):
        calls.append((repository, options))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return calls


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", None),
        ("meta-llama/Llama-3.2-1B@main", "meta-llama/Llama-3.2-1B", "main"),
        ("owner/name@refs/pr/7", "owner/name", "refs/pr/7"),
        ("owner/name@0123abc", "owner/name", "0123abc"),
    ],
)
def test_a_name_is_downloaded_at_its_revision(snapshots, tmp_path, name, repository, revision):
    assert find.model_directory(name) == tmp_path
    [(asked, options)] = snapshots
    assert (asked, options["revision"]) == (repository, revision)


def test_only_what_is_read_is_downloaded(snapshots):
    find.model_directory("owner/name")
    patterns = snapshots[0][1]["allow_patterns"]
    wanted = {file for file in REPOSITORY if any(fnmatch.fnmatch(file, p) for p in patterns)}
    assert set(REPOSITORY) - wanted == {
        "README.md",
        "consolidated.safetensors",
        "pytorch_model.bin",
        "original/tokenizer.model",
        "original/consolidated.00.pth",
    }


def test_a_directory_comes_before_a_name(snapshots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert str(find.model_directory("runs/mine")) == "runs/mine"
    assert snapshots == []


@pytest.mark.parametrize(
    "name", ["model", "/no/such", "./no/such", "../no", "a/b/c", "runs/", "@x", ""]
)
def test_what_looks_like_no_name_is_not_asked_for(snapshots, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # `make demo` leaves a folder runs/
    with pytest.raises(
        UserError, match=rf"\A--model {name}: no such directory; name one, [^\n]*\Z"
    ):
        find.model_directory(name)
    assert snapshots == []


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("Cannot find an appropriate cached snapshot\nand more"),
        OfflineModeIsEnabled("offline mode is enabled"),
        TimeoutError("timed out"),
        RuntimeError(),
    ],
)
def test_a_failure_is_one_line_with_name_reason_and_way_out(monkeypatch, error):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=r"\A[^\n]*\Z") as caught:
        find.model_directory("owner/name")
    message = str(caught.value)
    reason = str(error).replace("\n", " ") or "no reason given"
    assert message.startswith("--model owner/name: no such directory, and no download")
    assert f"({type(error).__name__}: {reason})" in message
    assert "hf auth login" in message and "name a directory" in message


def test_a_missing_repository_is_named(monkeypatch):
    def download(*_, **__):
        # Past __init__, which wants the answer of a server.
        error = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
        error.args = ("404 Client Error. (Request ID: x)\n\nRepository Not Found for url: y.",)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=r"RepositoryNotFoundError: 404 .* Repository Not Found"):
        find.model_directory("owner/nmae")
