"""Log-probabilities of a prompt from servers that give them in their ways, badly, or not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from chat_server import SECRET, drop, stall, status
from scoring_server import KINDS, scoring

from r1jax.endpoint import PromptScorer, Unscored
from r1jax.errors import UserError
from r1jax.training.teacher import TeacherEndpoint

TEXT, SIZE = "what is sent", 130
IDS = [ord(c) for c in TEXT]
SENT = [([7, 20, 30, 40, 50], 3), ([9, 11, 12], 2), ([100, 101, 102, 103, 104, 105], 4)]


def values(ids):
    """log p [n, V] that depend on the place and the token before."""
    z = np.sin(
        np.arange(SIZE)[None] * 0.7 + np.asarray(ids)[:, None] + np.arange(len(ids))[:, None]
    )
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def encode(text):
    return [ord(c) for c in text]


def scorer(server, wanted=0, most=0.5, **flags):
    flags = dict(timeout=5, retries=2, backoff=0.01) | flags
    config = TeacherEndpoint(server.url, "m", **flags)
    return PromptScorer(config, wanted, lambda i: {chr(i)}, most)


def answers(found):
    with found.asking(SENT) as coming:
        return coming.result()


def serve(server, kind=KINDS[0], encode=encode, **how):
    server.default = scoring(kind, values, encode, chr, **how)


def spoilt(change, token=9):
    """Spoils the answers to prompts that begin with a token."""
    return lambda ids, answer: change(answer["choices"][0]) if ids[0] == token else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bos", [False, True])
def test_every_way_of_answering_gives_the_same_numbers(server, kind, bos):
    with_bos = lambda text: [1, *encode(text)]  # noqa: E731
    serve(server, kind, encode=with_bos if bos else encode, model="teacher\ud800")
    wanted = 0 if kind == "echoed texts" else 3
    found = scorer(server, wanted)
    assert found.probe(TEXT, IDS, []) == "teacher?"
    for i, score in answers(found).items():
        ids, count = SENT[i]
        logp = values(ids)[-count - 1 : -1]
        np.testing.assert_allclose(score.logp, logp[range(count), ids[-count:]], rtol=1e-12)
        for row, top in zip(logp, score.likeliest, strict=True):
            assert [token for token, _ in top] == np.argsort(-row)[:wanted].tolist()
            np.testing.assert_allclose([p for _, p in top], np.sort(row)[::-1][:wanted])
    path, body = server.bodies[-1]
    assert path == "/v1/completions" and body["model"] == "m" and body["max_tokens"] == 1
    assert ("prompt_logprobs" in body) != body.get("echo", False)


@pytest.mark.parametrize(
    "kind, wanted, encode, said",
    [
        ("neither", 0, encode, "returns no log-probabilities of a prompt's 1 likeliest tokens"),
        ("echoed texts", 3, encode, "likeliest tokens by their texts, not ids"),
        (KINDS[0], 0, lambda text: encode(text[::-1]), "has other tokens than the student"),
        (KINDS[1], 0, lambda text: encode(text)[1::2], "has other tokens than the student"),
        (KINDS[2], 0, lambda text: encode(text.upper()), "has other tokens than the student"),
    ],
)
def test_a_server_that_cannot_judge_is_refused_in_a_line(server, kind, wanted, encode, said):
    serve(server, kind, encode=encode)
    with pytest.raises(UserError) as caught:
        scorer(server, wanted).probe(TEXT, IDS, [])
    message = str(caught.value)
    assert message.startswith("--teacher.endpoint.base-url http") and said in message
    assert "\n" not in message and "--data.train" in message or "--teacher.model" in message


def test_fewer_likeliest_tokens_than_asked_for_are_refused(server):
    def fewer(ids, answer):
        for place in answer["choices"][0]["prompt_logprobs"][1:]:
            del place[list(place)[-1]], place[list(place)[-1]]

    serve(server, spoil=fewer)
    with pytest.raises(UserError, match="of the 3 likeliest tokens.*--max-logprobs"):
        scorer(server, 3).probe(TEXT, IDS, [])


def test_numbers_that_are_no_distribution_are_refused(server):
    def certain(ids, answer):
        for place in answer["choices"][0]["prompt_logprobs"][1:]:
            place.update({token: {"logprob": -0.1} for token in place})

    serve(server, spoil=certain)
    with pytest.raises(UserError, match="probabilities that exceed 1 together .sum [23]"):
        scorer(server, 3).probe(TEXT, IDS, [])


def place(**value):
    def change(choice):
        entry = choice["prompt_logprobs"][2]
        entry[next(iter(entry))] = value

    return change


def other_token(choice):
    choice["prompt_logprobs"][2] = {"129": {"logprob": -1.0}}


def short(choice):
    choice["prompt_logprobs"].pop()


def missing(choice):
    choice["prompt_logprobs"] = None


@pytest.mark.parametrize(
    "change, said",
    [
        (place(logprob=float("nan")), "no log-probability (nan)"),
        (place(logprob=float("-inf")), "no log-probability (-inf)"),
        (place(logprob=0.5), "no log-probability (0.5)"),
        (place(logprob=-9999.0), "no log-probability (-9999.0)"),
        (place(logprob="x"), "no log-probability (x)"),
        (place(logprob=True), "no log-probability (True)"),
        (place(logprob=10**400), "log-probabilities that cannot be read (OverflowError"),
        (place(), "log-probabilities that cannot be read"),
        (other_token, "token 2 is not the one that was sent"),
        (short, "not a log-probability for each token (2 for 3)"),
        (missing, "no log-probabilities of the prompt's tokens"),
        (lambda choice: status(400, "too long"), "status 400 (too long)"),
        (lambda choice: status(500, "oops"), "status 500 (oops)"),
        (lambda choice: status(200, "{"), "no completion ({)"),
        (lambda choice: status(200, '{"choices": [7]}'), "no completion"),
        (lambda choice: drop, "connection lost"),
        (lambda choice: stall, "no whole answer within 0.3 s"),
    ],
)
def test_what_is_spoilt_costs_its_own_sequence(server, change, said):
    serve(server, spoil=spoilt(change))
    found = scorer(server, timeout=0.3, retries=1)
    found.probe(TEXT, IDS, [])
    coming = answers(found)
    assert coming[0] and coming[2] and coming[1] is None
    assert list(found.lost) == [1] and said in found.lost[1]


def test_what_passes_is_asked_again(server):
    serve(server)
    found = scorer(server)
    found.probe(TEXT, IDS, [])
    server.script = [status(500), status(429, Retry_After="0"), drop]
    assert all(answers(found).values()) and not found.lost and found.usage.retries == 3


def test_too_many_losses_end_it_at_once(server):
    serve(server, spoil=lambda ids, answer: status(400, "no") if len(ids) < 6 else None)
    found = scorer(server, most=0.5)
    found.probe(TEXT, IDS, [])
    with pytest.raises(Unscored, match="2 of 3 completions are not scored .the last: status 400"):
        answers(found)


def test_an_endpoint_at_fault_ends_the_others_without_the_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    serve(server)
    found = scorer(server, concurrency=2)
    found.probe(TEXT, IDS, [])
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    server.script, server.slow = [status(401, f"wrong key {SECRET}")], 0.05
    began = time.monotonic()
    with pytest.raises(Unscored) as caught:
        answers(found)
    message = str(caught.value)
    assert "status 401" in message and SECRET not in message and "\n" not in message
    assert "goes on from what is saved" in message and time.monotonic() - began < 2


def test_requests_are_under_way_together(server):
    serve(server)
    found = scorer(server, concurrency=2)
    found.probe(TEXT, IDS, [])
    server.slow, server.most = 0.05, 0
    answers(found)
    assert server.most == 2
