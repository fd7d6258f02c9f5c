"""What the terminal shows is what the engine would have written."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import mesh_of, tiny_config, tiny_params

from r1jax.commands import chat, cli
from r1jax.errors import UserError
from r1jax.models.decoder import unstack
from r1jax.problem import Problem
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.policy import load_policy, load_weights, make_engine
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.stream import pieces, stream, thoughts

pytestmark = pytest.mark.devices(2)

CONFIG = tiny_config("qwen2", n_layers=1, init_std=0.15)
STOPS = (1, 7, 11, 30)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(0.7, 0.9, 20),
        *(pytest.param(Sampling(t), marks=pytest.mark.slow) for t in (0.9, 0.0)),
    ],
)
def test_the_stream_equals_the_engine(sampling):
    params = tiny_params(CONFIG)
    shape = EngineConfig(slots=2, max_prompt=8, max_tokens=24, prefill=1)
    engine = Engine(CONFIG, mesh_of(), shape, stop_ids=STOPS)
    prompt = (5, 17, 40)
    found = engine.generate(
        engine.prepare(params), [Prompt(prompt, 9, 6)], sampling, seed=3, rollout=2
    )
    weights, lengths = unstack(params, CONFIG, "float32"), set()
    for g in found:
        tokens = list(
            stream(
                weights, CONFIG, prompt, sampling, max_tokens=24, stop_ids=STOPS,
                problem=9, sample=g.sample, seed=3, rollout=2,
            )
        )  # fmt: skip
        assert tokens == g.tokens.tolist()
        lengths.add(len(tokens))
    assert sampling.temperature == 0 or len(lengths) > 2


@pytest.mark.slow
def test_streamed_text_of_the_embedded_base_equals_the_engines():
    policy, mesh = load_policy("embedded", "mini"), mesh_of()
    engine = make_engine(policy, mesh, EngineConfig(slots=4, max_prompt=64, max_tokens=96))
    weights = engine.prepare(load_weights(policy, mesh))
    problem, sampling = Problem("p", "58-21+40=?", "77"), Sampling(0.6, 0.95)
    prompt = policy.prompt(problem)
    found = engine.generate(
        weights, [Prompt(prompt, problem.number, 4)], sampling, seed=0, rollout=0
    )
    for g in found:
        tokens = stream(
            weights, policy.config, prompt, sampling, max_tokens=96, stop_ids=policy.stop_ids,
            problem=problem.number, sample=g.sample,
        )  # fmt: skip
        shown = (t for t in tokens if t not in policy.stop_ids)
        parts = list(thoughts(pieces(shown, policy.tokenizer.decode)))
        assert "".join(text for text, _ in parts) == policy.completion(g).text
        assert len(parts) > 3


@pytest.mark.parametrize(("prompt", "max_tokens"), [((), 4), ((3,), 0)])
def test_nothing_to_stream_is_refused(prompt, max_tokens):
    with pytest.raises(ValueError, match="at least 1"):
        next(stream({}, CONFIG, prompt, Sampling(), max_tokens=max_tokens, stop_ids=()))


def test_a_character_appears_once_its_bytes_are_complete():
    text = "a 算 é!"
    decode = lambda ids: bytes(ids).decode("utf-8", errors="replace")  # noqa: E731
    assert list(pieces(text.encode(), decode)) == list(text)
    assert list(pieces(text.encode()[:4], decode)) == ["a", " ", "\ufffd"]


TAGGED = st.lists(
    st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<thi", "<", "nk>", "a", " "])
)


@given(TAGGED, st.lists(st.integers(1, 9), min_size=1))
def test_thoughts_lose_nothing_wherever_the_text_is_cut(words, sizes):
    text, cut, at = "".join(words), [], 0
    while at < len(text):
        size = sizes[len(cut) % len(sizes)]
        cut.append(text[at : at + size])
        at += size
    parts, whole = list(thoughts(cut)), list(thoughts([text]))
    assert "".join(part for part, _ in parts) == text
    marks = lambda found: [thinking for part, thinking in found for _ in part]  # noqa: E731
    assert marks(parts) == marks(whole)


def test_thoughts_begin_and_end_with_their_tags():
    parts = thoughts(["x <th", "ink>a<b</thi", "nk> <answer>7</answer>"])
    dim = "".join(text if thinking else "|" for text, thinking in parts)
    assert dim.replace("||", "|") == "|<think>a<b</think>|"
    assert list(thoughts(["<think>a<answer>7"])) == [
        ("<think>", True), ("a", True), ("<answer>7", False),
    ]  # fmt: skip


def test_chat_answers_one_question(capsys):
    flags = ["--question", "58-21+40=?", "--max-tokens", "12", "--temperature", "0"]
    assert cli.run(chat.main, chat.Config(), [*flags, "--mesh.data", "2"]) == 0
    *answer, last = capsys.readouterr().out.splitlines()
    assert "".join(answer).strip()
    assert last.startswith("(") and "tokens" in last


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(template="none"), "--template none: no such template"),
        (dict(max_tokens=0), "--max-tokens 0: must be at least 1"),
    ],
)
def test_wrong_flags_are_named(change, message):
    with pytest.raises(UserError, match=message):
        chat.Config(**change)


@pytest.mark.slow
def test_loading_a_tokenizer_says_nothing():
    code = (
        "from r1jax.data.tokenizer import load_tokenizer\n"
        "from r1jax.models.hub.find import model_directory\n"
        "load_tokenizer(model_directory('embedded'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
