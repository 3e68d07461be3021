"""The last lines of an audit file, whatever became of it: a report shows what can be read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from rotator.errors import ConfigurationError
from rotator.text import printable

MOST_LINES: Final = 200
_MOST_BYTES: Final = 4_000_000
_CHUNK: Final = 65_536


def read_tail(path: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """The last audit lines, the newest first, and how many lines among them could not be read.

    Reads from the end, and no more than four megabytes.

    :raises ConfigurationError: the file is not there, can't be read, or is no regular file.
    """
    named = printable(str(path))
    try:
        # Non-blocking: it may be a FIFO, which is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name can't be one"
        raise ConfigurationError(
            f"the audit file {named} can't be read: {reason}", advice="Name a file that --audit-file wrote."
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(
                f"the audit file {named} is no regular file", advice="Name a file that --audit-file wrote."
            )
        tail = _last_bytes(descriptor)
    except OSError as error:
        raise ConfigurationError(f"the audit file {named} can't be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    lines = [line for line in tail.split(b"\n") if line.strip()][-MOST_LINES:]
    found = [parsed for line in reversed(lines) if (parsed := _parsed(line)) is not None]
    return tuple(found), len(lines) - len(found)


def _last_bytes(descriptor: int) -> bytes:
    """Enough for the last lines, or as much as is read at most; the first line may then be a part of one."""
    begin = os.fstat(descriptor).st_size
    least = max(0, begin - _MOST_BYTES)
    tail = b""
    while begin > least and tail.count(b"\n") <= MOST_LINES:
        size = min(_CHUNK, begin - least)
        begin -= size
        tail = os.pread(descriptor, size, begin) + tail
    return tail if begin == 0 else tail.partition(b"\n")[2]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and "event" in document else None
