"""The simulated Infobip without sockets: the real requests and urllib3, over connections that end in the world itself.

Only the connection is replaced, so pooling, retries, timeouts and errors are urllib3's own. A long simulation is faster
than over HTTP, and a time-out costs no real time: the world's clock moves instead.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

from rotator.sandbox.exchange import Drop, DropKind, Request
from rotator.sandbox.infobip import InfobipWorld

_TLS_SETTINGS = ("key_file", "cert_file", "cert_reqs", "ca_certs", "ca_cert_dir", "ca_cert_data", "key_password")
_TLS_PREFIXES = ("ssl_", "assert_", "server_hostname")


class InProcessAdapter(HTTPAdapter):
    """A requests adapter that answers out of a world; ``requests.ConnectionError`` and ``ReadTimeout`` as over sockets.

    :param max_retries: as of ``HTTPAdapter``: none by default.
    """

    def __init__(self, world: InfobipWorld, *, max_retries: Any = 0) -> None:
        super().__init__(max_retries=max_retries)
        divert(self, world)


def divert(adapter: HTTPAdapter, world: InfobipWorld) -> None:
    """Make an existing adapter (with its own retries and settings) answer out of a world, for http and https alike."""
    pool: Any = partial(_Pool, world)  # not a class made here: an adapter is made for nearly every call
    adapter.poolmanager.clear()
    adapter.poolmanager.pool_classes_by_scheme = {"http": pool, "https": pool}


class _Pool(HTTPConnectionPool):
    """Connections that all end in one world."""

    def __init__(self, world: InfobipWorld, /, host: str, port: int | None = None, **settings: Any) -> None:
        kept = {n: v for n, v in settings.items() if n not in _TLS_SETTINGS and not n.startswith(_TLS_PREFIXES)}
        super().__init__(host, port, **kept)
        connection: Any = partial(_Connection, world)
        self.ConnectionCls = connection


class _Connection(HTTPConnection):
    """A connection whose other side is the world."""

    def __init__(self, world: InfobipWorld, /, *settings: Any, **named: Any) -> None:
        super().__init__(*settings, **named)
        self.sandbox_world = world

    def connect(self) -> None:
        """Raise if the world refused the connection; it decides once it has the request."""
        if isinstance(self._answer, Drop) and self._answer.kind is DropKind.REFUSED:
            raise NewConnectionError(self, "connection refused by the sandbox")

    @property
    def is_closed(self) -> bool:
        return False  # else urllib3 does not set the read timeout

    @property
    def is_connected(self) -> bool:
        return True

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **settings: Any) -> None:
        """Hand the request to the world and keep its answer. What a hook raises goes through."""
        target = urlsplit(url)
        request = Request(
            method=method,
            path=target.path,
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={_text(name).lower(): _text(value) for name, value in (headers or {}).items()},
            body=body.encode() if isinstance(body, str) else bytes(body or b""),
        )
        self._answer = self.sandbox_world.handle(request)
        self.connect()
        self._asked = (method, url, settings)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """The world's answer, once the time that it takes has passed."""
        answer, (method, url, settings) = self._answer, self._asked
        clock = self.sandbox_world.clock
        # In whole seconds: what urllib3 took off the limit is real time, which has not passed in this world.
        patience = float(round(self.timeout) or self.timeout) if isinstance(self.timeout, int | float) else None
        if isinstance(answer, Drop):
            if answer.kind is DropKind.HANG:
                clock.sleep(600.0 if patience is None else patience)
                raise TimeoutError("timed out in the sandbox")
            raise ConnectionResetError("connection closed by the sandbox without an answer")
        if patience is not None and answer.delay > patience:
            clock.sleep(patience)
            raise TimeoutError("timed out in the sandbox")
        if answer.delay > 0:
            clock.sleep(answer.delay)
        return HTTPResponse(
            body=io.BytesIO(answer.body),
            headers={**answer.headers, "Content-Length": str(answer.content_length)},
            status=answer.status,
            version=11,
            version_string="HTTP/1.1",
            reason="",
            preload_content=settings.get("preload_content", True),
            decode_content=settings.get("decode_content", True),
            enforce_content_length=settings.get("enforce_content_length", True),
            request_method=method,
            request_url=url,
        )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
