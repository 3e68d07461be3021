"""What went wrong on the wire, in a few words that hold no URL, header or body."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import ConnectTimeoutError, DecodeError, LocationParseError, ProxyError, ReadTimeoutError


def describe(error: BaseException) -> str:
    """A short reason such as ``connection refused``. Never the error's own text: it quotes URLs with their queries."""
    chain = tuple(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the server's certificate is not valid ({each.verify_message})"
        if isinstance(each, ProxyError | requests.exceptions.ProxyError):
            return "the proxy (from the environment) refused or failed"
        if isinstance(each, socket.gaierror):
            return "the host name cannot be resolved"
        if isinstance(each, TimeoutError | ReadTimeoutError | requests.Timeout):
            return "timed out"
        if isinstance(each, DecodeError):
            return "the answer's compression is broken"
        if isinstance(each, LocationParseError | requests.exceptions.InvalidURL):
            return "the address cannot be used"
    for each in chain:
        if isinstance(each, ssl.SSLError):
            return f"TLS failed ({each.reason or 'connection closed'})"
    for each in chain:
        if isinstance(each, ConnectionRefusedError):
            return "connection refused"
        if isinstance(each, ConnectionError):
            return "the connection was closed before an answer was complete"
        if isinstance(each, OSError) and each.errno in errno.errorcode:
            return os.strerror(each.errno or 0).lower()
    return "the connection or the answer broke off"


def never_connected(error: BaseException) -> bool:
    """Whether the error can only come before a connection: then nothing was sent."""
    before = (ConnectTimeoutError, LocationParseError, requests.exceptions.InvalidURL)
    return any(isinstance(each, before) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what is inside it, outermost first: causes, urllib3's ``reason``, and exceptions among ``args``."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        each = todo.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        todo += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
