"""The world's tokenizer: exact round trips, equal to sentencepiece, loadable from its files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from r1jax.data.templates import TEMPLATES
from r1jax.data.tokenizer import MAX_LENGTH, TAGS, load_tokenizer, train_tokenizer
from r1jax.data.world import documents, tokenizer_texts
from r1jax.errors import UserError

BASE = Path(__file__).parents[2] / "r1jax" / "assets" / "base"


@cache
def base() -> Any:
    return load_tokenizer(BASE)


def encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_special_ids() -> None:
    assert (base().pad_token_id, base().bos_token_id, base().eos_token_id, base().unk_token_id) == (
        0, 1, 2, 3,
    )  # fmt: skip
    assert len(base()) == 1024 and base().model_max_length == MAX_LENGTH
    assert encode(base(), "a</s>")[-1] == 2


@pytest.mark.parametrize("tag", [*TAGS, "\n", *"0123456789"])
def test_tags_newline_and_digits_are_single_tokens(tag: str) -> None:
    assert len(encode(base(), tag)) == 1
    assert encode(base(), f"7{tag}7").count(encode(base(), tag)[0]) == (3 if tag == "7" else 1)


def test_same_ids_as_sentencepiece() -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(BASE / "tokenizer.model"))
    texts = [document.text for document in documents(77, 0, 1000)]
    texts += [template.text for template in TEMPLATES.values()]
    assert base()(texts, add_special_tokens=False)["input_ids"] == pieces.encode(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "  a  b ",
        "\n\n x\n",
        " 你好，世界\n再见",
        "tab\tand 🦊 é ñ",
        "<think>\n3*4=12\n</think>",
    ],
)
def test_round_trip_by_example(text: str) -> None:
    assert base().decode(encode(base(), text)) == text


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00▁"), max_size=60))
def test_round_trip_of_any_text(text: str) -> None:
    assert base().decode(encode(base(), text)) == text


def test_round_trip_of_documents_and_prompt_is_a_prefix() -> None:
    for document in documents(78, 0, 1000):
        ids = encode(base(), document.text)
        assert base().decode(ids) == document.text
        assert ids == encode(base(), document.prompt) + encode(base(), document.completion)


def test_r1_zero_prompt_is_short_enough() -> None:
    assert len(encode(base(), TEMPLATES["r1_zero"].text)) < 128


def test_training_is_deterministic_and_saves_a_loadable_directory(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_tokenizer(tokenizer_texts(0, 2000), tmp_path / name, vocab_size=768)
    for file in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    tokenizer = load_tokenizer(tmp_path / "a")
    assert len(tokenizer) == 768
    assert tokenizer.decode(encode(tokenizer, "User: 先算3+4\n")) == "User: 先算3+4\n"


def test_vocabulary_that_does_not_fit_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^vocab_size 300: does not fit"):
        train_tokenizer(tokenizer_texts(0, 200), tmp_path, vocab_size=300)


def test_unusable_directories_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{broken")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_an_end_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((BASE / "tokenizer.json").read_bytes())
    settings = json.loads((BASE / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="no eos_token"):
        load_tokenizer(tmp_path)
    settings |= {"eos_token": "</s>", "model_max_length": "long"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="cannot be loaded .*'>' not supported"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_a_model_without_any_file_of_a_tokenizer_is_a_user_error(family, tmp_path: Path) -> None:
    # transformers makes up one that knows no text.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    with pytest.raises(UserError, match="knows no text; give a directory with a tokenizer.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_the_file_decides_whatever_the_models_family(family: str, tmp_path: Path) -> None:
    # transformers' AutoTokenizer takes a qwen2 model's words apart in Qwen2's own way.
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((BASE / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    text = "What is 12+3? 等于多少"
    assert encode(load_tokenizer(tmp_path), text) == encode(base(), text)
