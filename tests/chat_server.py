"""A chat server on this machine that misbehaves in every way that a script asks for."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from r1jax.endpoint import ChatRequest, EndpointConfig

SECRET = "sk-very-secret-0123456789"


class Server(ThreadingHTTPServer):
    """Answers "echo: <last message>" (`default`); `script` is for the next requests instead."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.bodies, self.headers, self.times = [], [], [], []
        self.lock, self.busy, self.most = threading.Lock(), 0, 0
        self.slow, self.default = 0.0, answer

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
        (act or s.default)(self, body)

    def send(self, status, text, **headers):
        raw = text if isinstance(text, bytes) else text.encode()
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


@contextlib.contextmanager
def serving():
    """A running server."""
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def flags(server, **changes):
    base = EndpointConfig(server.url, "m", timeout=5, retries=3, backoff=0.01)
    return dataclasses.replace(base, **changes)


def ask(*texts, **fields):
    return [ChatRequest(({"role": "user", "content": text},), **fields) for text in texts]


def texts(replies):
    return [reply.text for reply in replies]
