"""Keeps botocore from writing requests and answers into a log, whatever level somebody sets.

At DEBUG it writes bodies, signed headers and what a proxy or an IMDS said: secret values and session tokens. A level is
no protection, for anybody may set another one later (a host application, ``logging.config``, an operator who looks for
something); a filter on the very loggers that write these things stays, and acts before any handler does.
"""

from __future__ import annotations

import logging
from typing import Final

# Every module of botocore that writes parameters, bodies, headers, or errors with them in their text.
_LOUD: Final = (
    "auth",
    "awsrequest",
    "client",
    "credentials",
    "crt.auth",
    "discovery",
    "endpoint",
    "endpoint_provider",
    "handlers",
    "history",
    "hooks",
    "httpchecksum",
    "httpsession",
    "monitoring",
    "parsers",
    "regions",
    "retries.special",
    "retries.standard",
    "retryhandler",
    "signers",
    "tokens",
    "utils",
    "waiter",
)


class _NoBodies(logging.Filter):
    """Lets pass what is for people: INFO and above, without tracebacks, which quote the answer that can't be parsed."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return record.levelno >= logging.INFO


_NO_BODIES: Final = _NoBodies()


def hush_botocore() -> None:
    """Put the filter on; a second call changes nothing."""
    for module in _LOUD:
        logging.getLogger(f"botocore.{module}").addFilter(_NO_BODIES)
