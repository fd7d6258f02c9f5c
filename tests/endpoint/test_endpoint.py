"""The endpoint client against a real server on this machine that misbehaves in every way."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate

import pytest
from chat_server import (
    SECRET,
    answer,
    ask,
    completion,
    cut,
    drip,
    drop,
    flags,
    serving,
    stall,
    status,
    texts,
)

from r1jax.endpoint import Endpoint, EndpointConfig, ReplyCache
from r1jax.endpoint.reply import read_reply
from r1jax.endpoint.wire import Failed, asked_to_wait
from r1jax.errors import UserError


def test_replies_come_in_the_order_of_the_requests_with_their_token_counts(server):
    server.slow = 0.01
    with Endpoint(flags(server, temperature=0.5, top_p=0.9, max_tokens=11)) as endpoint:
        names = [f"q{i}" for i in range(20)]
        assert texts(endpoint.chat(ask(*names))) == [f"echo: {name}" for name in names]
        assert endpoint.usage.prompt_tokens == 140 and endpoint.usage.completion_tokens == 60
        assert (endpoint.usage.replies, endpoint.usage.cached, endpoint.usage.retries) == (20, 0, 0)
    path, body = next(found for found in server.bodies if "q7" in str(found))
    assert path == "/v1/chat/completions" and body == {
        "model": "m", "messages": [{"role": "user", "content": "q7"}], "temperature": 0.5,
        "top_p": 0.9, "max_tokens": 11,
    }  # fmt: skip


@pytest.mark.parametrize(
    "act",
    [
        status(500), status(503), status(429), status(408), drop, cut, status(200, "not json"),
        status(200, "{}"), status(200, '{"choices": []}'), status(200, "[1]"),
        status(200, '{"choices": [{"message": {"content": null}}]}'),
        status(200, "[" * 200_000), status(200, '{"choices": [{"message": ' + "9" * 5000 + "}]}"),
        status(200, completion("")), status(200, completion(" \n")), status(200, completion(["a"])),
        status(200, completion(None, tool_calls=[{"id": "1"}])),
        status(200, completion("packed?"), Content_Encoding="gzip"),
        status(200, completion("packed?"), Content_Encoding="br"), status(429, Retry_After="1e999"),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(server, act):
    server.script = [act, act]
    with Endpoint(flags(server)) as endpoint:
        assert texts(endpoint.chat(ask("x"))) == ["echo: x"]
        assert endpoint.usage.retries == 2 and len(server.bodies) == 3


@pytest.mark.parametrize("act", [stall, drip])
def test_a_server_that_stalls_or_drips_meets_the_timeout(server, act):
    server.script = [act]
    with Endpoint(flags(server, timeout=0.3)) as endpoint:
        started = time.monotonic()
        assert texts(endpoint.chat(ask("x"))) == ["echo: x"]
    assert time.monotonic() - started < 2 and len(server.bodies) == 2


def test_a_server_that_is_not_there_is_one_line_after_all_tries():
    config = EndpointConfig("http://127.0.0.1:9/v1", "m", timeout=2, retries=2, backoff=0.01)
    with Endpoint(config) as endpoint, pytest.raises(UserError, match="3 tries .*no connection"):
        endpoint.chat(ask("x"))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422, 301])
def test_a_refusal_is_one_line_and_is_not_repeated(server, code):
    server.script = [status(code, '{"error":\n "no such\\n model"}', Location="/elsewhere")]
    with Endpoint(flags(server)) as endpoint, pytest.raises(UserError) as caught:
        endpoint.chat(ask("x"))
    message = str(caught.value)
    assert f"status {code}" in message and "no such" in message and "\n" not in message
    assert len(server.bodies) == 1


def test_a_refusal_ends_the_other_requests_too(server):
    server.script = [status(500)] * 3 + [status(401)]
    config = flags(server, concurrency=4, backoff=30)
    started = time.monotonic()
    with Endpoint(config) as endpoint, pytest.raises(UserError, match="status 401"):
        endpoint.chat(ask(*map(str, range(40))))
    assert time.monotonic() - started < 5 and len(server.bodies) < 10


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_honoured_as_seconds_and_as_a_date(server, date):
    seconds = 2.0 if date else 0.4
    value = formatdate(time.time() + seconds, usegmt=True) if date else seconds
    server.script = [status(429, Retry_After=value)]
    with Endpoint(flags(server, backoff=0)) as endpoint:
        endpoint.chat(ask("x"))
    waited = server.times[1] - server.times[0]
    assert waited >= (0.9 if date else 0.4)  # a date counts in whole seconds


ABSURD = (
    "9999", "soon", "inf", "nan", "-5", "1e999", "-1e999", "9" * 5000, "", " ", "1;2", "\xff",
    "Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 32 Jan 2020 99:99:99 GMT", "Thu, 01 Jan 1 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -9999", "Wed, 21 Oct 2015 07:28:00 +99999999999999", "0, 0 0 0 0",
)  # fmt: skip


@pytest.mark.parametrize("value", ABSURD)
def test_any_retry_after_is_a_time_to_wait(value):
    assert 0 <= asked_to_wait(value) < float("inf")


@pytest.mark.parametrize("value", ["9999", "soon", "1e999", "Fri, 31 Dec 9999 23:59:59 -9999"])
def test_an_absurd_retry_after_waits_no_longer_than_allowed(server, value):
    server.script = [status(503, Retry_After=value)]
    with Endpoint(flags(server, longest_wait=0.1)) as endpoint:
        endpoint.chat(ask("x"))
    assert server.times[1] - server.times[0] < 1


def test_the_wait_doubles_with_jitter(server):
    server.script = [status(500)] * 3
    with Endpoint(flags(server, backoff=0.2)) as endpoint:
        endpoint.chat(ask("x"))
    waits = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    for wait, full in zip(waits, (0.2, 0.4, 0.8), strict=True):
        assert full / 2 <= wait <= full + 0.3


@pytest.mark.parametrize("limit", [1, 3])
def test_concurrency_reaches_its_limit_and_never_exceeds_it(server, limit):
    server.slow = 0.03
    with Endpoint(flags(server, concurrency=limit)) as endpoint:
        endpoint.chat(ask(*map(str, range(12))))
    assert server.most == limit


def test_equal_requests_are_asked_once_and_seeds_tell_samples_apart(server):
    with Endpoint(flags(server)) as endpoint:
        endpoint.chat(ask("x", "y", "x", "x"))
        assert len(server.bodies) == 2
        endpoint.chat([*ask("x", seed=0), *ask("x", seed=1)])
    assert [body["seed"] for _, body in server.bodies[2:]] in ([0, 1], [1, 0])


def test_the_cache_spares_every_call_that_was_answered_before_a_kill(server, tmp_path):
    cache = tmp_path / "deep" / "replies.jsonl"
    config = flags(server, cache=str(cache), concurrency=1)
    server.script = [None] * 3 + [status(401)]
    with Endpoint(config) as endpoint, pytest.raises(UserError):
        endpoint.chat(ask(*"abcdef"))
    lines = cache.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    cache.write_bytes(b"".join(lines[:2]) + lines[2][:-20])  # the third was being written
    server.bodies.clear()
    with Endpoint(config) as endpoint:
        assert texts(endpoint.chat(ask(*"abcdef"))) == [f"echo: {x}" for x in "abcdef"]
        assert endpoint.usage.cached == 2 and endpoint.usage.prompt_tokens == 42
    assert sorted(body["messages"][0]["content"] for _, body in server.bodies) == list("cdef")
    server.bodies.clear()
    with Endpoint(config) as endpoint:
        assert texts(endpoint.chat(ask(*"fedcba"))) == [f"echo: {x}" for x in "fedcba"]
    assert not server.bodies


def test_other_settings_are_other_requests(server, tmp_path):
    cache = str(tmp_path / "replies.jsonl")
    for changes in ({}, {"temperature": 0.7}, {"model": "n"}, {"max_tokens": 5}):
        with Endpoint(flags(server, cache=cache, **changes)) as endpoint:
            endpoint.chat(ask("x"))
    assert len(server.bodies) == 4


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_a_cache_that_is_no_file_is_refused(path):
    with pytest.raises(UserError, match=f"--endpoint.cache {path}: is no file; name a file"):
        ReplyCache(path)


def test_the_cache_skips_what_is_no_entry_and_keeps_any_text(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"key": "a", "value": {"t": 1}}\n[]\n{"key": 3, "value": {}}\nx\n{"key": "b"')
    found = ReplyCache(path)
    assert len(found) == 1 and found.get("a") == {"t": 1}
    found.put("b", {"t": "é\n\u2028 中 \ud800"})
    found.close()
    again = ReplyCache(path)
    assert again.get("b") == {"t": "é\n\u2028 中 \ud800"} and len(again) == 2


def test_the_key_is_sent_and_stands_in_no_file_and_no_message(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    config = flags(server, key_variable="MY_KEY", cache=str(tmp_path / "replies.jsonl"))
    server.script = [None, status(401, f"wrong key {SECRET}")]
    with Endpoint(config) as endpoint:
        endpoint.chat(ask("x"))
        with pytest.raises(UserError, match=r"wrong key \*\*\*") as caught:
            endpoint.chat(ask("y"))
    assert [h["Authorization"] for h in server.headers] == [f"Bearer {SECRET}"] * 2
    assert SECRET not in str(caught.value) + repr(config) + repr(endpoint.usage)
    assert not any(SECRET.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    monkeypatch.delenv("MY_KEY")
    with Endpoint(config) as endpoint:
        endpoint.chat(ask("z"))
    assert "Authorization" not in server.headers[-1]


def test_a_redirect_does_not_carry_the_key_elsewhere(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with serving() as other:
        server.script = [status(307, Location=other.url + "/chat/completions")]
        with Endpoint(flags(server)) as endpoint, pytest.raises(UserError, match="status 307"):
            endpoint.chat(ask("x"))
        assert not other.bodies


def test_reasoning_that_comes_apart_is_put_together(server):
    server.script = [status(200, completion("42", reasoning_content=" 6*7=42 "))]
    with Endpoint(flags(server)) as endpoint:
        reply = endpoint.chat(ask("x"))[0]
    assert reply.full_text == "<think>\n6*7=42\n</think>\n\n42" and reply.text == "42"


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"base_url": "localhost:8000"}, "--endpoint.base-url localhost:8000: expected http"),
        ({"base_url": f"http://u:{SECRET}@h/v1", "model": "m"}, "more than an address"),
        ({"base_url": "http://h/v1"}, "--endpoint.model: empty"),
        ({"base_url": "http://[::1/v1"}, "base-url .*: expected http"),
        ({"base_url": "http://h:99999/v1"}, "base-url .*: expected http"),
        ({"concurrency": 0}, "--endpoint.concurrency 0: must be at least 1"),
        ({"retries": -1}, "--endpoint.retries -1"),
        ({"timeout": 0.0}, "--endpoint.timeout 0.0"),
        (
            {"timeout": 9.0},
            "--endpoint.[*]: names no --endpoint.base-url; give one, or leave these",
        ),
        (
            {"max_tokens": 9},
            "--endpoint.[*]: names no --endpoint.base-url; give one, or leave these",
        ),
    ],
)
def test_wrong_settings_are_one_line(fields, said):
    with pytest.raises(UserError, match=said) as caught:
        EndpointConfig(**fields)
    assert SECRET not in str(caught.value)


# --- requests that are lost ------------------------------------------------------------------


def to(text, act):
    """Does `act` for requests with that text, and answers the others."""

    def chosen(handler, body):
        (act if body["messages"][-1]["content"] == text else answer)(handler, body)

    return chosen


NOTHING = {
    "null": status(200, completion(None)),
    "missing": status(200, json.dumps({"choices": [{"message": {}, "finish_reason": "stop"}]})),
    "tool": status(200, completion(None, tool_calls=[{"id": "1", "type": "function"}])),
    "empty": status(200, completion("")),
    "deep": status(200, "[" * 200_000),
    "too long": status(400, "the prompt has 9999999 tokens"),
    "unreadable": status(422, "no such character"),
    "crashes": status(500),
    "drops": drop,
}


@pytest.mark.parametrize("act", NOTHING.values(), ids=NOTHING)
def test_what_gets_no_reply_is_lost_alone_and_counted(server, tmp_path, act):
    server.default, server.slow = to("x", act), 0.02
    cache = str(tmp_path / "replies.jsonl")
    with Endpoint(flags(server, retries=1, concurrency=2, cache=cache)) as endpoint:
        replies = endpoint.chat(ask("x", "a", "b", "c", "d"))
        assert replies[0] is None and texts(replies[1:]) == [f"echo: {x}" for x in "abcd"]
        assert (endpoint.usage.lost, endpoint.usage.replies) == (1, 4)
        assert "1 lost (the last: " in str(endpoint.usage)
    server.default = answer  # it can be asked again
    with Endpoint(flags(server, cache=cache)) as endpoint:
        assert texts(endpoint.chat(ask("x", "a"))) == ["echo: x", "echo: a"]


def test_an_endpoint_that_has_nothing_to_say_to_all_is_one_line(server):
    server.default = NOTHING["null"]
    with Endpoint(flags(server, retries=0)) as endpoint:
        with pytest.raises(UserError, match=r"none of 4 requests .*has no text \(ended by stop\)"):
            endpoint.chat(ask(*"abcd"))
    with Endpoint(flags(server, retries=0)) as endpoint:
        assert endpoint.chat(ask("a")) == [None]  # one is not all
        with pytest.raises(UserError, match="none of 2 requests"):
            endpoint.chat(ask("b"))


def test_an_error_in_the_place_of_a_completion_is_told(server):
    server.default = status(200, '{"error": "no credit\x1b"}')
    with Endpoint(flags(server, retries=0)) as endpoint:
        assert endpoint.chat(ask("a")) == [None]
    assert endpoint.usage.last_loss == r'no chat completion ({"error": "no credit\x1b"})'


def test_an_endpoint_that_falls_silent_is_one_line_before_all_are_asked(server):
    server.script, server.default = [answer] * 5, status(400, "credit used up")
    with Endpoint(flags(server, concurrency=2)) as endpoint:
        with pytest.raises(UserError, match="no reply to 16 requests in a row .*used up"):
            endpoint.chat(ask(*map(str, range(99))))
    assert len(server.bodies) < 25


def test_a_busy_endpoint_costs_no_request(server):
    server.default = to("x", status(429))
    with Endpoint(flags(server, retries=1)) as endpoint:
        with pytest.raises(UserError, match="no answer in 2 tries .*429.*; try again later"):
            endpoint.chat(ask("x", *map(str, range(20))))


@pytest.mark.parametrize(
    "usage",
    ['{"prompt_tokens": 1e999, "completion_tokens": -1e999}', '{"prompt_tokens": "7"}', "[1]",
     '{"prompt_tokens": NaN, "completion_tokens": -3}', "null", '{"prompt_tokens": [1]}'],
)  # fmt: skip
def test_counts_that_are_none_count_nothing(server, usage):
    said = completion("y").replace('{"prompt_tokens": 7, "completion_tokens": 3}', usage)
    server.script = [status(200, said)]
    with Endpoint(flags(server, retries=0)) as endpoint:
        assert texts(endpoint.chat(ask("x"))) == ["y"]
        assert endpoint.usage.prompt_tokens == endpoint.usage.completion_tokens == 0


@pytest.mark.parametrize(
    "ended, whole",
    [("stop", True), ("length", False), ("content_filter", False), ("tool_calls", False),
     (None, False), (7, False)],
)  # fmt: skip
def test_a_reply_is_whole_where_the_model_ended_it(server, ended, whole):
    said = json.loads(completion("y"))
    said["choices"][0]["finish_reason"] = ended
    server.script = [status(200, json.dumps(said))]
    with Endpoint(flags(server, retries=0)) as endpoint:
        assert endpoint.chat(ask("x"))[0].whole is whole


def test_a_thought_that_met_the_limit_is_a_reply_that_was_cut(server):
    said = json.loads(completion(None, reasoning_content="so far"))
    said["choices"][0]["finish_reason"] = "length"
    server.script = [status(200, json.dumps(said))]
    with Endpoint(flags(server, retries=0)) as endpoint:
        (reply,) = endpoint.chat(ask("x"))
    assert (reply.text, reply.thought, reply.whole) == ("", "so far", False)


def test_a_reply_that_says_a_thing_twice_says_nothing():
    said = completion("right").replace('"content"', '"content": "wrong", "content"')
    with pytest.raises(Failed, match="no chat completion"):
        read_reply(said.encode())


def test_half_a_surrogate_pair_is_no_character(server):
    server.script = [status(200, completion("a\ud800b \U0001f600", reasoning="\udc00"))]
    with Endpoint(flags(server, retries=0)) as endpoint:
        (reply,) = endpoint.chat(ask("to \ud800 and back"))
    assert reply.text == "a\ufffdb \U0001f600" and reply.thought == "\ufffd"
    assert server.bodies[0][1]["messages"][0]["content"] == "to \ud800 and back"


def test_a_client_runs_under_a_loop_that_runs_already(server):
    async def cell():
        with Endpoint(flags(server)) as endpoint:
            return texts(endpoint.chat(ask("x")))

    assert asyncio.run(cell()) == ["echo: x"]


# --- what is shown ---------------------------------------------------------------------------

QUOTED = (
    f"wrong key {SECRET}", "." * 190 + SECRET, f"{SECRET[:9]}***{SECRET[-6:]}", SECRET[:9] + "\n" +
    SECRET[9:], f"{SECRET[:12]}\x1b[31m{SECRET[12:]}", "." * 4085 + SECRET, " " * 4085 + SECRET,
    f"{SECRET}{SECRET}", json.dumps({"error": SECRET}), SECRET[5:17],
)  # fmt: skip


@pytest.mark.parametrize("said", QUOTED)
def test_no_piece_of_the_key_is_shown(server, monkeypatch, said):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server.script = [status(401, said)]
    with Endpoint(flags(server)) as endpoint, pytest.raises(UserError, match="status 401") as error:
        endpoint.chat(ask("x"))
    pieces = {SECRET[i : i + 4] for i in range(len(SECRET) - 3)}
    assert not any(piece in str(error.value) + str(endpoint.usage) for piece in pieces)


def test_words_of_a_server_cannot_speak_to_a_terminal(server):
    server.script = [status(401, "a\x1b[2J\x07 \u202eb\n\tc\u200b" + "long" * 99)]
    with Endpoint(flags(server)) as endpoint, pytest.raises(UserError) as error:
        endpoint.chat(ask("x"))
    assert r"status 401 (a\x1b[2J\x07 \u202eb c\u200blong" in str(error.value)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize("key", ["sk-a\nX-Other: 1", "sk-\u00e9", "sk-\x00"])
def test_a_key_that_can_be_none_is_one_line_that_does_not_show_it(monkeypatch, key):
    monkeypatch.setattr("os.environ", {"OPENAI_API_KEY": key})
    with pytest.raises(UserError, match="OPENAI_API_KEY: holds characters") as error:
        Endpoint(EndpointConfig("http://h/v1", "m"))
    assert "sk-" not in str(error.value)


def test_a_proxy_that_cannot_be_used_is_one_line(server, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "gopher://nowhere")
    with Endpoint(flags(server)) as endpoint, pytest.raises(UserError, match="ALL_PROXY: no proxy"):
        endpoint.chat(ask("x"))


def test_a_full_disk_is_one_line_and_what_was_kept_stays(tmp_path, monkeypatch):
    path = tmp_path / "c.jsonl"
    cache = ReplyCache(path)
    cache.put("a", {"t": 1})

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(UserError, match="c.jsonl: No space left"):
        patched.setattr("os.write", full)
        cache.put("b", {"t": 2})
    cache.close()
    assert len(ReplyCache(path)) == 1
