"""The endpoint client against a real server on this machine that misbehaves in every way."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from r1jax.endpoint import (
    Cache,
    Endpoint,
    EndpointConfig,
    Request,
    judge_messages,
    parse_verdict,
    rewrite_messages,
)
from r1jax.errors import UserError

SECRET = "sk-very-secret-0123456789"


class Server(ThreadingHTTPServer):
    """Answers "echo: <last message>"; `script` holds what to do with the next requests instead."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.bodies, self.headers, self.times = [], [], [], []
        self.lock, self.busy, self.most = threading.Lock(), 0, 0
        self.slow = 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        pass  # a client that gives up is what the tests want


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        s = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with s.lock:
            s.bodies.append((self.path, body))
            s.headers.append(dict(self.headers))
            s.times.append(time.monotonic())
            s.busy += 1
            s.most = max(s.most, s.busy)
            act = s.script.pop(0) if s.script else None
        time.sleep(s.slow)
        with s.lock:
            s.busy -= 1  # before the answer: after it the client may already ask again
        (act or answer)(self, body)

    def send(self, status, text, **headers):
        raw = text.encode()
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": len(raw)} | named).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(raw)


def completion(text, **message):
    return json.dumps(
        {
            "choices": [{"message": {"content": text, **message}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        }
    )


def answer(handler, body):
    handler.send(200, completion("echo: " + body["messages"][-1]["content"]))


def status(code, text="{}", **headers):
    return lambda handler, body: handler.send(code, text, **headers)


def drop(handler, body):
    handler.close_connection = True
    handler.connection.close()


def cut(handler, body):
    """Announces more bytes than it sends."""
    handler.send(200, completion("never whole"), Content_Length=9999)
    drop(handler, body)


def stall(handler, body):
    time.sleep(1.0)
    drop(handler, body)


def drip(handler, body):
    """One byte every 50 ms: no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def flags(server, **changes):
    base = EndpointConfig(server.url, "m", timeout=5, retries=3, backoff=0.01)
    return dataclasses.replace(base, **changes)


def ask(*texts, **fields):
    return [Request(({"role": "user", "content": text},), **fields) for text in texts]


def texts(replies):
    return [reply.text for reply in replies]


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


@pytest.mark.parametrize("value", ["9999", "soon", "inf", "nan", "-5"])
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


def test_the_cache_skips_what_is_no_entry_and_keeps_any_text(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"key": "a", "value": {"t": 1}}\n[]\n{"key": 3, "value": {}}\nx\n{"key": "b"')
    found = Cache(path)
    assert len(found) == 1 and found.get("a") == {"t": 1}
    found.put("b", {"t": "é\n\u2028 中 \ud800"})
    found.close()
    again = Cache(path)
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
    with Server() as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        server.script = [status(307, Location=other.url + "/chat/completions")]
        with Endpoint(flags(server)) as endpoint, pytest.raises(UserError, match="status 307"):
            endpoint.chat(ask("x"))
        other.shutdown()
        assert not other.bodies


def test_reasoning_that_comes_apart_is_put_together(server):
    server.script = [status(200, completion("42", reasoning_content=" 6*7=42 "))]
    with Endpoint(flags(server)) as endpoint:
        reply = endpoint.chat(ask("x"))[0]
    assert reply.whole == "<think>\n6*7=42\n</think>\n\n42" and reply.text == "42"


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"base_url": "localhost:8000"}, "--endpoint.base-url localhost:8000: expected http"),
        ({"base_url": f"http://u:{SECRET}@h/v1", "model": "m"}, "more than an address"),
        ({"base_url": "http://h/v1"}, "--endpoint.model: empty"),
        ({"concurrency": 0}, "--endpoint.concurrency 0: must be at least 1"),
        ({"retries": -1}, "--endpoint.retries -1"),
        ({"timeout": 0.0}, "--endpoint.timeout 0.0"),
    ],
)
def test_wrong_settings_are_one_line(fields, said):
    with pytest.raises(UserError, match=said) as caught:
        EndpointConfig(**fields)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text, verdict",
    [
        ('{"analysis": "same value", "correctness": "correct"}', True),
        ('{"analysis": "\\frac{1}{2} vs 0.5", "correctness": "incorrect"}', False),
        ('```json\n{"analysis": "x",\n "correctness" : "Correct"}\n```', True),
        ('{"correctness": "correct"} no: {"correctness": "incorrect"}', False),
        ('{"analysis": "it is correct"}', None),
        ("", None),
    ],
)
def test_the_verdict_is_read_from_the_reply(text, verdict):
    assert parse_verdict(text) is verdict


def test_prompts_hold_what_they_are_about_with_its_braces():
    (judge,) = judge_messages("What is {x}?", "\\frac{1}{2}", "{0.5}")
    assert all(part in judge["content"] for part in ("What is {x}?", "\\frac{1}{2}", "{0.5}"))
    assert judge["content"].index("compare") < judge["content"].index('"correctness"')
    (rewrite,) = rewrite_messages("What is {x}?", "draft {y}")
    assert "What is {x}?" in rewrite["content"] and "draft {y}" in rewrite["content"]
