"""What ``requests`` leaves open: a deadline for a whole response, whether a request was sent, certificates, logs."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPResponse
from traceback import walk_tb
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, LocationParseError, ProxyError, ReadTimeoutError

from rotator.errors import ConfigurationError


class DeadlineAdapter(HTTPAdapter):
    """Bounds a whole response, including its headers, by the read time-out, which otherwise bounds each read."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool of a request (called by ``requests``)."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if getattr(pool.ConnectionCls, "func", None) is not _connection:
            pool.ConnectionCls = partial(_connection, pool.ConnectionCls)
        return pool


def _connection(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    connection = make(*args, **kwargs)
    connection.response_class = _response
    return connection


def _response(sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
    response = HTTPResponse(sock, *args, **kwargs)
    response.fp = io.BufferedReader(_DeadlineReader(response.fp.detach(), sock))
    return response


class _DeadlineReader(io.RawIOBase):
    """Reads a socket. All reads together take no longer than one read may take when the first begins."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock
        self._ends = time.monotonic() + (sock.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def ca_bundle() -> str | bool:
    """Return the CA certificates: a file or folder from the environment, or ``True`` for those of ``requests``.

    :raises ConfigurationError: the named file or folder does not exist.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            if not os.path.exists(path):
                raise ConfigurationError(f"{name} names {path!r}, which does not exist", advice="Fix it or unset it.")
            return path
    return True


_REASONS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    ((ProxyError, requests.exceptions.ProxyError), "the proxy (from the environment) refused or failed"),
    (socket.gaierror, "the host name could not be resolved"),
    ((TimeoutError, ReadTimeoutError, requests.Timeout), "timed out"),
    (DecodeError, "the response could not be decompressed"),
    ((LocationParseError, requests.exceptions.InvalidURL), "the address is invalid"),
    (ssl.SSLError, "TLS failed"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "the connection closed before the response was complete"),
)


def describe(error: BaseException) -> str:
    """Return a short reason such as ``connection refused``. The error's own text is not used: it quotes whole URLs."""
    chain = tuple(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the server's certificate is not valid ({each.verify_message})"
    for kinds, reason in _REASONS:
        for each in chain:
            if isinstance(each, kinds):
                return f"{reason} ({each.reason or 'connection closed'})" if isinstance(each, ssl.SSLError) else reason
    for each in chain:
        if isinstance(each, OSError) and each.errno in errno.errorcode:
            return os.strerror(each.errno or 0).lower()
    return "the connection closed before the response was complete"


_BEFORE_SENDING: Final = frozenset({"get_connection_with_tls_context", "cert_verify", "connect"})


def never_sent(error: BaseException) -> bool:
    """Whether the request was certainly not sent, because the error was raised before or while connecting.

    ``connect`` resolves the name, connects, asks a proxy for a tunnel and does the TLS handshake. The exception's type
    is not enough: TLS can also break after the request was sent.
    """
    return any(
        frame.f_code.co_name in _BEFORE_SENDING for each in _chain(error) for frame, _ in walk_tb(each.__traceback__)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that caused it, outermost first (``__cause__``, ``reason``, ``args``)."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        each = pending.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [each.__cause__, getattr(each, "reason", None), *each.args]


class _NoQueries(logging.Filter):
    """Keeps queries out of urllib3's debug log, which has whole URLs: a search by value has the value in its query."""

    _QUERY = re.compile(r"\?\S*")

    def filter(self, record: logging.LogRecord) -> bool:
        if "unparsed" in str(record.args) or "parse headers" in str(record.msg):
            return False  # quotes parts of a response
        record.msg = self._QUERY.sub("?<hidden>", record.getMessage())
        record.args = ()
        return True


for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_NoQueries())
