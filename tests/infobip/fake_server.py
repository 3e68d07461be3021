"""An Infobip server that misbehaves on demand: real, on a loopback port, answering from a script."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Reply = Callable[[socket.socket], None]


@dataclass
class Seen:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class FakeServer:
    """Each request gets the next reply of the script, the last one again and again.

    :param greeting: sent before a request is waited for, so a client that wants TLS gets this instead.
    """

    script: list[Reply] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    greeting: Reply | None = None
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._listener.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            if self.greeting is not None:
                self.greeting(sock)
            while (request := _receive(sock)) is not None:
                self.seen.append(request)
                self.script[min(len(self.seen), len(self.script)) - 1](sock)
        with contextlib.suppress(OSError):
            sock.close()


def _receive(sock: socket.socket) -> Seen | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(65536)
    return Seen(line, headers, body)


def reply(status: int = 200, body: bytes | str | object = b"", **headers: str) -> Reply:
    """An answer: bytes as they are, text in UTF-8, anything else as JSON. ``Retry_After="1"`` is a header."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda sock: sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + raw)


def drop(sock: socket.socket) -> None:
    """Close the connection without an answer."""
    sock.shutdown(socket.SHUT_RDWR)


def reset(sock: socket.socket) -> None:
    """Close the connection without an answer, with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def silence(stop: threading.Event) -> Reply:
    """Send nothing at all."""

    def wait(_: socket.socket) -> None:
        stop.wait(30)

    return wait


def below_tls(sock: socket.socket) -> None:
    """Break TLS: send text on the connection below it."""
    with socket.socket(fileno=os.dup(sock.fileno())) as below:
        below.sendall(b"HTTP/1.1 502 no TLS here\r\n\r\n")


def raw(*parts: bytes) -> Reply:
    """Send these bytes as they are and close."""

    def send(sock: socket.socket) -> None:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_RDWR)

    return send


def endless(first: bytes, part: bytes, pause: float, stop: threading.Event) -> Reply:
    """Send ``first``, then ``part`` every ``pause`` seconds until the client closes."""

    def send(sock: socket.socket) -> None:
        sock.sendall(first)
        while not stop.wait(pause):
            sock.sendall(part)

    return send
