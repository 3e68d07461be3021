"""A server in a thread that answers POST requests by a function: for what stands in front of moto."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON = "application/x-amz-json-1.1"
Answer = Callable[[str, dict[str, str], bytes], tuple[int, bytes, str]]
"""From path, headers and body to status, body and content type."""


@contextmanager
def serve_posts(answer: Answer) -> Iterator[str]:
    """Listen on a free port of this machine; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, text, kind = answer(self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def forward(url: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
    """The answer of the server behind."""
    kept = {name: text for name, text in headers.items() if name.lower() not in ("host", "content-length")}
    request = urllib.request.Request(url + path, data=body, headers=kept, method="POST")  # noqa: S310 - loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return response.status, response.read(), response.headers.get("Content-Type", JSON)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers.get("Content-Type", JSON)
