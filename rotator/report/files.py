"""The page's file, which is written as a whole or not at all; and the last lines of an audit file."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rotator.errors import ConfigurationError, RotatorError
from rotator.text import printable

MOST_LINES: Final = 200
"""Of an audit file."""
_MOST_BYTES: Final = 4_000_000
_CHUNK: Final = 65_536
_NEW_MODE: Final = 0o600


class Unwritten(RotatorError):
    """The page could not be written; an older one was left as it was."""


def check_target(path: Path) -> Path:
    """The file itself that is to be written, links followed.

    :raises ConfigurationError: it is a directory, not a regular file, or in a directory that does not exist.
    """
    named = printable(str(path))
    try:
        target = path.resolve()
        if target.is_symlink():
            raise OSError("links that lead to each other")  # before Python 3.13 resolve() raised for them
        there = target.stat() if target.exists() else None
        directory = target.parent.is_dir()
    except (OSError, ValueError, RuntimeError):
        raise ConfigurationError(
            f"{named} is not a valid file name", advice="Name a file such as report.html."
        ) from None
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise ConfigurationError(f"{named} is a directory", advice="Name a file in it, such as report.html.")
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise ConfigurationError(f"{named} is not a regular file", advice="Name a file, or - for stdout.")
    if not directory:
        raise ConfigurationError(
            f"the directory of {named} does not exist", advice="Create it first, or name another file."
        )
    return target


def write_page(target: Path, page: str) -> int:
    """Write a page under another name beside its file, then rename it; gives its size in bytes.

    Only its owner can read a new file, which names secrets and keys. An existing one keeps its permissions.

    :param target: as :func:`check_target` gave it.
    :raises Unwritten: no space, no permission.
    """
    data = page.encode("utf-8", "backslashreplace")
    temporary: str | None = None
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else _NEW_MODE
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".tmp", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise Unwritten(
            f"{printable(str(target))} was not written: {error.strerror}",
            advice="The file was left as it was. Free some space or name another file.",
        ) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
    return len(data)


def read_tail(path: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """The last audit lines, the newest first, and how many lines among them are not valid.

    Reads from the end, and no more than four megabytes.

    :raises ConfigurationError: the file does not exist, can't be read, or is not a regular file.
    """
    named = printable(str(path))
    try:
        # Non-blocking: it may be a FIFO, which is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a valid file name"
        raise ConfigurationError(
            f"the audit file {named} can't be read: {reason}", advice="Name a file that --audit-file wrote."
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(
                f"the audit file {named} is not a regular file", advice="Name a file that --audit-file wrote."
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
