"""Connections with a deadline that record whether any part of a request was sent.

No exception of ``requests`` tells this, and it decides whether a failed create may have happened. After a refused
connection, an unknown host or a failed TLS handshake it cannot have. After the first byte it may have.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, DecodeError, LocationParseError, ProxyError, ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

from rotator.errors import ConfigurationError


class Exchange:
    """One attempt on the wire, see :func:`exchange`.

    :param seconds: until the deadline; no read continues after it, even if the server sends slowly.

    ``sent`` is true at first, so that a connection of an unknown kind counts as "may have been sent".
    """

    def __init__(self, seconds: float) -> None:
        self.sent = True
        self._ends = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """Seconds until the deadline.

        :raises TimeoutError: it has passed.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def exchange(seconds: float) -> Iterator[Exchange]:
    """Track one attempt. Inside the context, this thread's connections report to it."""
    made = Exchange(seconds)
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)


def _note_sent(sent: bool) -> None:
    if (current := _current.get()) is not None:
        current.sent = sent


class _DeadlineReader(io.RawIOBase):
    """Reads a socket. No read waits longer than the exchange's deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, exchange: Exchange) -> None:
        self._raw, self._sock, self._exchange = raw, sock, exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left, timeout = self._exchange.seconds_left(), self._sock.gettimeout()
        self._sock.settimeout(left if timeout is None else min(left, timeout))
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if (current := _current.get()) is not None:
            self.fp: Any = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, current))


class _Connection(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        _note_sent(False)
        try:
            super().connect()
        finally:
            _note_sent(False)  # the CONNECT to a proxy on the way was not the request

    def send(self, data: Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()
        if (current := _current.get()) is not None:
            _note_sent(True)
            self.sock.settimeout(current.seconds_left())
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


class DeadlineAdapter(HTTPAdapter):
    """Sends requests over these connections, with TLS 1.2 or newer. Certificates are verified as ``verify`` says."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """Build the pools (called by ``requests``)."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=_tls(), **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Build the pools of one proxy (called by ``requests``)."""
        manager = super().proxy_manager_for(proxy, ssl_context=_tls(), **proxy_kwargs)
        if not proxy.lower().startswith("socks"):  # SOCKS needs its own connections; they count as "may have been sent"
            manager.pool_classes_by_scheme = _POOLS
        return manager


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


def _tls() -> ssl.SSLContext:
    return create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2, cert_reqs=ssl.CERT_REQUIRED)


_REASONS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    ((ProxyError, requests.exceptions.ProxyError), "the proxy (from the environment) refused or failed"),
    (socket.gaierror, "the host name cannot be resolved"),
    ((TimeoutError, ReadTimeoutError, requests.Timeout), "timed out"),
    (DecodeError, "the answer's compression is broken"),
    ((LocationParseError, requests.exceptions.InvalidURL), "the address cannot be used"),
    (ssl.SSLError, "TLS failed"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "the connection was closed before an answer was complete"),
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
    return "the connection or the answer broke off"


def never_connected(error: BaseException) -> bool:
    """Whether the error can only occur before a connection exists, so that nothing was sent."""
    before = (ConnectTimeoutError, LocationParseError, requests.exceptions.InvalidURL)
    return any(isinstance(each, before) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors inside it, outermost first (causes, urllib3's ``reason``, ``args``)."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        each = pending.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


class _NoQueries(logging.Filter):
    """Keeps queries out of urllib3's debug log, which has whole URLs: a search by value has the value in its query."""

    _QUERY = re.compile(r"\?\S*")

    def filter(self, record: logging.LogRecord) -> bool:
        if "unparsed" in str(record.args) or "parse headers" in str(record.msg):
            return False  # quotes parts of an answer
        record.msg = self._QUERY.sub("?<hidden>", record.getMessage())
        record.args = ()
        return True


for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_NoQueries())
