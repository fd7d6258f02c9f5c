"""However a server spends the time, a request ends with its deadline, its bytes or Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import gzip
import os
import signal
import socket
import threading
import time
import tracemalloc

import pytest
from chat_server import answer, ask, completion, flags, stall, status, texts

from r1jax.endpoint import Endpoint, EndpointConfig, wire
from r1jax.errors import UserError

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def forever(piece, pause=0.01):
    """Sends one piece again and again."""

    def play(connection):
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return play


def after(start, play):
    """Sends `start` at once, then plays."""

    def both(connection):
        connection.sendall(start)
        play(connection)

    return both


def silent(connection):
    while connection.recv(1 << 16):
        pass


ENDLESS = {
    "silence": silent,
    "status line": after(b"HTTP/1.1 2", forever(b"0")),
    "reason": after(b"HTTP/1.1 200 ", forever(b"O")),
    "header": after(HEAD + b"X-A: ", forever(b"a")),
    "headers": after(HEAD, forever(b"X-A: a\r\n")),
    "fast headers": after(HEAD, forever(b"X-A: a\r\n" * 500, 0)),
    "continue": forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "fast continue": forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
    "early hints": forever(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "body": after(HEAD + b"Content-Length: 99999999\r\n\r\n", forever(b" ")),
    "body without length": after(HEAD + b"\r\n", forever(b" ")),
    "chunk size": after(CHUNKED, forever(b"0")),
    "chunk extension": after(CHUNKED + b"1;a=", forever(b"a")),
    "chunks": after(CHUNKED, forever(b"1\r\n \r\n")),
    "trailers": after(CHUNKED + b"0\r\n", forever(b"X-A: a\r\n")),
    "error body": after(b"HTTP/1.1 500 No\r\nContent-Length: 999\r\n\r\n", forever(b"a")),
    "packed body": after(HEAD + b"Content-Encoding: gzip\r\n\r\n", forever(gzip.compress(b" "))),
}


@contextlib.contextmanager
def playing(play):
    """The address of a server that does the same with every connection."""

    def one(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            play(connection)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("play", ENDLESS.values(), ids=ENDLESS)
def test_no_way_to_answer_takes_longer_than_the_deadline(play):
    with playing(play) as url:
        config = EndpointConfig(url, "m", timeout=0.2, retries=1, backoff=0.01)
        began = time.monotonic()
        with Endpoint(config) as endpoint, pytest.raises(UserError, match="no answer in 2 tries"):
            endpoint.chat(ask("x"))
        assert time.monotonic() - began < 1.5


def test_a_refusal_whose_words_never_end_is_told_by_its_status():
    with playing(after(b"HTTP/1.1 401 No\r\n\r\nno such key", forever(b"!"))) as url:
        config = EndpointConfig(url, "m", timeout=0.3)
        with Endpoint(config) as endpoint, pytest.raises(UserError, match="401 .no such key!"):
            endpoint.chat(ask("x"))


@pytest.mark.parametrize("host", ["a" * 70, "h..h", "never.invalid"])
def test_a_host_that_is_none_is_one_line(host):
    config = EndpointConfig(f"http://{host}/v1", "m", timeout=5, retries=0)
    with Endpoint(config) as endpoint, pytest.raises(UserError, match="no connection|within 5 s"):
        endpoint.chat(ask("x"))


# --- size ------------------------------------------------------------------------------------


def test_what_is_packed_to_burst_does_not(server, monkeypatch):
    monkeypatch.setattr(wire, "LONGEST", 1 << 20)
    bomb = gzip.compress(b" " * (1 << 26), 1)
    server.script = [
        status(200, bomb, Content_Encoding="gzip"), status(500, bomb, Content_Encoding="gzip"),
        status(200, gzip.compress(bomb), Content_Encoding="gzip, gzip"),
        status(200, gzip.compress(completion("unpacked").encode()), Content_Encoding="GZip"),
    ]  # fmt: skip
    tracemalloc.start()
    with Endpoint(flags(server)) as endpoint:
        assert texts(endpoint.chat(ask("x"))) == ["unpacked"]
        assert endpoint.usage.retries == 3
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 << 20


def test_a_body_that_does_not_end_is_broken_off_at_its_size(monkeypatch):
    monkeypatch.setattr(wire, "LONGEST", 1 << 20)
    with playing(after(HEAD + b"\r\n", forever(b" " * (1 << 16), 0))) as url:
        config = EndpointConfig(url, "m", timeout=30, retries=0)
        with Endpoint(config) as endpoint:
            assert endpoint.chat(ask("x")) == [None]
            assert endpoint.usage.last_loss == "the answer does not end"


# --- Ctrl-C ----------------------------------------------------------------------------------


def assert_ends_at_once(endpoint, waits, *names):
    """Ctrl-C once `waits()`; no collection meanwhile: Hypothesis' hook would swallow it."""
    pressed = []

    def press():
        while not waits():
            time.sleep(0.01)
        time.sleep(0.1)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    gc.disable()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # `make test &` ignores it
    threading.Thread(target=press, daemon=True).start()
    try:
        with endpoint, pytest.raises(KeyboardInterrupt):
            endpoint.chat(ask(*names))
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - pressed[0] < 1


def test_ctrl_c_ends_requests_that_wait_at_once(server, tmp_path):
    server.script, server.default = [answer, status(429, Retry_After="60")], stall
    cache = tmp_path / "replies.jsonl"
    config = flags(server, timeout=60, longest_wait=60, concurrency=3, cache=str(cache))
    waits = lambda: len(server.bodies) > 3 and cache.exists()  # noqa: E731
    assert_ends_at_once(Endpoint(config), waits, *"abcdef")
    assert len(cache.read_text().splitlines()) == 1  # what was answered is kept


def test_ctrl_c_does_not_wait_for_a_name_server(monkeypatch):
    asked, released = threading.Event(), threading.Event()

    def resolve(*where, **options):
        asked.set()
        return released.wait(60) or []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    config = EndpointConfig("http://somewhere.test/v1", "m", timeout=5, retries=9)
    assert_ends_at_once(Endpoint(config), asked.is_set, *"abc")
    released.set()
