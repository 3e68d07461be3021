"""The simulated Infobip over HTTP, on a loopback address."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from rotator.sandbox.aws import LOOPBACK
from rotator.sandbox.exchange import Drop, DropKind, Request, Response
from rotator.sandbox.infobip import InfobipWorld

MAX_BODY: Final = 1_000_000


class InfobipServer:
    """A context manager that serves the world at ``url``.

    On exit it raises what the world's observers raised (``world.check()``), unless another error is being raised.

    :param port: 0 is any free one.
    """

    def __init__(self, world: InfobipWorld, *, port: int = 0) -> None:
        self.world = world
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash; known once started."""
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Listen, and respond to each connection in a thread of its own. ``OSError`` if the port is taken."""
        self._server = _Server((LOOPBACK, self._port), self.world)
        self._port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox-infobip", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and stop listening; connections to ``url`` are then refused."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        server.shutdown()
        thread.join()
        server.server_close()
        server.close_connections()

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Refuse connections inside the context, like a server that is down; then listen again."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        if error is None:
            self.world.check()


class _Server(ThreadingHTTPServer):
    """Keeps track of its connections, so that stopping ends them all."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], world: InfobipWorld) -> None:
        self.world = world
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End every open connection; a handler that waits on one wakes up."""
        with self._guard:
            sockets = tuple(self._open)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing. A hook raised or the client disconnected, and a traceback could show what was sent."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # with small writes, Nagle and delayed acknowledgements cost 40 ms per response
    wbufsize = -1
    server: _Server

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            return
        target = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=target.path,
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={name.lower(): _utf8(value) for name, value in self.headers.items()},
            body=body,
            remote_ip=self.client_address[0],
        )
        try:
            answer = self.server.world.handle(request)
        except BaseException:  # if a hook raises anything, even SystemExit, the client sees a closed connection
            self.close_connection = True
            return
        if isinstance(answer, Drop):
            self._drop(answer.kind)
            return
        if answer.delay > 0:
            self.server.world.clock.sleep(answer.delay)
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server calls
    do_PATCH = do_OPTIONS = do_QUERY = do_TRACE = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a request line may contain a key's value in its query."""

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            self._send(Response(411))
            return None
        return self.rfile.read(int(length))

    def _send(self, answer: Response) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.content_length))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.content_length != len(answer.body):
            self.close_connection = True
        self.wfile.flush()

    def _drop(self, kind: DropKind) -> None:
        self.close_connection = True
        if kind is DropKind.HANG:
            # Wait until the caller or the server's stop closes the connection. Pipelined bytes must not end the wait.
            with contextlib.suppress(OSError):
                while self.connection.recv(4096):
                    pass
        elif kind is DropKind.REFUSED:
            # Once the request has been read, a reset is the closest thing to a refusal.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _utf8(value: str) -> str:
    """A header's text; http.server reads bytes as Latin-1."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")
