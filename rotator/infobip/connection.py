"""Connections that know whether a request has left, and that can be cut when an answer takes too long.

Whether a create may have happened hangs on one fact that no exception of ``requests`` tells: was anything of it
sent? A refused connection, an unknown host, a failed TLS handshake say no; everything after the first byte says maybe.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from rotator.errors import ConfigurationError


class Exchange:
    """One attempt on the wire; while it is entered, the connections of this thread report to it.

    :param seconds: after so long the connection is cut, whether the far end is still sending or not.

    ``sent`` starts out true, so that a connection of an unknown kind errs on the side of "it may have happened".
    """

    def __init__(self, seconds: float) -> None:
        self.sent = True
        self.overdue = False
        self.ends = 0.0
        self._seconds = seconds
        self._socket: object = None

    def __enter__(self) -> Exchange:
        self._token = _current.set(self)
        self.ends = time.monotonic() + self._seconds
        _watchdog.watch(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _watchdog.release(self)
        self._socket = None
        _current.reset(self._token)

    def connecting(self) -> None:
        """A new connection is being made: nothing of the request is out."""
        self.sent = False

    def sending(self, sock: object) -> None:
        """The first byte of the request is about to leave."""
        self.sent = True
        self._socket = sock
        if self.overdue:
            raise TimeoutError

    def cut(self) -> None:
        """The time is up (called by the watchdog's thread)."""
        self.overdue = True
        sock = self._socket
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                # Not SSLSocket's own shutdown: it would pull the TLS state from under the thread that is reading.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Watchdog:
    """Cuts exchanges that take too long: one thread for all, since a timer of its own would cost more than a call."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running: dict[int, Exchange] = {}
        self._wakes: float | None = None
        self._thread: threading.Thread | None = None

    def watch(self, exchange: Exchange) -> None:
        """Cut it when its time is up, unless it is released before."""
        with self._condition:
            self._running[id(exchange)] = exchange
            if self._thread is None or not self._thread.is_alive():  # also after a fork, which copies no threads
                self._thread = threading.Thread(target=self._watch, name="infobip-watchdog", daemon=True)
                self._thread.start()
            elif self._wakes is None or exchange.ends < self._wakes:
                self._condition.notify()

    def release(self, exchange: Exchange) -> None:
        """It is over. The thread is not told: it looks again when it wakes."""
        with self._condition:
            self._running.pop(id(exchange), None)

    def _watch(self) -> None:
        while True:
            with self._condition:
                now = time.monotonic()
                overdue = [each for each in self._running.values() if each.ends <= now]
                for each in overdue:
                    del self._running[id(each)]
                self._wakes = min((each.ends for each in self._running.values()), default=None)
                if not overdue:
                    self._condition.wait(None if self._wakes is None else self._wakes - now)
            for each in overdue:
                each.cut()


_watchdog: Final = _Watchdog()
_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class _Watched(HTTPConnection):
    def connect(self) -> None:
        exchange = _current.get()
        if exchange is None:
            super().connect()
            return
        exchange.connecting()
        try:
            super().connect()
        finally:
            exchange.connecting()  # what a proxy was asked on the way was not the request

    def send(self, data: Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()
        exchange = _current.get()
        if exchange is not None:
            exchange.sending(self.sock)
        super().send(data)


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


_POOLS: Final = {"http": _Pool, "https": _PoolTLS}


class WatchedAdapter(HTTPAdapter):
    """Sends requests over watched connections, with TLS 1.2 or newer. Certificates are verified as ``verify`` says."""

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
    """The certificates to trust: a file or folder that the environment names, else those that ``requests`` brings.

    :raises ConfigurationError: what is named does not exist.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            if not os.path.exists(path):
                raise ConfigurationError(f"{name} names {path!r}, which does not exist", advice="Fix it or unset it.")
            return path
    return True


def _tls() -> ssl.SSLContext:
    return create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2, cert_reqs=ssl.CERT_REQUIRED)


class _NoQueries(logging.Filter):
    """Keeps queries out of urllib3's log: at debug level it writes whole URLs, and a search by value has it in one."""

    _QUERY = re.compile(r"\?\S*")

    def filter(self, record: logging.LogRecord) -> bool:
        if "unparsed" in str(record.args) or "parse headers" in str(record.msg):
            return False  # quotes parts of an answer
        record.msg = self._QUERY.sub("?<hidden>", record.getMessage())
        record.args = ()
        return True


for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    _logger = logging.getLogger(f"urllib3.{_name}")
    if not any(isinstance(each, _NoQueries) for each in _logger.filters):
        _logger.addFilter(_NoQueries())
