"""A server that speaks AWS's JSON 1.1 protocol, and fails as AWS and networks do."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


@dataclass
class FakeAws:
    """Gives its ``answers`` in turn, the last one again and again; ``requests`` are (operation, parameters)."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    """One request; ``fake`` is set on the server's own subclass."""

    fake: FakeAws
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement of its header

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.fake.requests.append((self.headers["X-Amz-Target"].rpartition(".")[2], json.loads(body)))
        answer = self.fake.answers.pop(0) if len(self.fake.answers) > 1 else self.fake.answers[0]
        answer(self)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def ok(**answer: Any) -> Answer:
    """A success."""
    return lambda handler: handler.send(200, json.dumps(answer).encode())


def error(code: str, message: str = "", status: int = 400) -> Answer:
    """An error with its code in the body, as Secrets Manager sends it."""
    body = json.dumps({"__type": code, "Message": message}).encode()
    return lambda handler: handler.send(status, body)


def error_by_header(code: str, status: int = 400) -> Answer:
    """An error with its code in a header, as some of AWS's front ends send it."""
    return lambda handler: handler.send(status, b"{}", x_amzn_errortype=f"{code}:http://internal.amazon.com/x/")


def text(status: int, body: bytes = b"<html>proxy</html>") -> Answer:
    """Something that is not AWS."""
    return lambda handler: handler.send(status, body)


def hang(handler: Handler) -> None:
    """No answer until the test ends."""
    handler.fake.stopping.wait(30)


def drop(handler: Handler) -> None:
    """The connection is reset after the request was read."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def half(handler: Handler) -> None:
    """The connection ends in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"ARN": "arn')
    handler.wfile.flush()
    handler.close_connection = True


@contextmanager
def serving(*answers: Answer) -> Iterator[FakeAws]:
    """A server on a port of its own, as long as the context lasts."""
    fake = FakeAws(list(answers))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("FakeHandler", (Handler,), {"fake": fake}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken connections are meant here
    fake.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield fake
    finally:
        fake.stopping.set()
        server.shutdown()
        server.server_close()
