"""Write the page's file, as a whole or not at all, and read the last lines of an audit file."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rotator.decoding import json_object
from rotator.errors import ConfigurationError, RotatorError
from rotator.text import printable

MOST_AUDIT_LINES: Final = 200
"""Lines shown of an audit file."""
_MOST_BYTES: Final = 4_000_000
_NEW_MODE: Final = 0o600


class Unwritten(RotatorError):
    """The page could not be written; an older one was left as it was."""


def check_target(path: Path) -> Path:
    """Return the file to write, with links followed.

    :raises ConfigurationError: it is a directory, not a regular file, or in a directory that does not exist.
    """
    target, wrong, advice = path, "", ""
    try:
        target = path.resolve()
        if target.is_symlink():
            raise OSError("a symlink loop")  # before Python 3.13 resolve() raised for them
        try:
            mode = target.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode):
            wrong, advice = "is a directory", "Use a file in it, such as report.html."
        elif not stat.S_ISREG(mode):
            wrong, advice = "is not a regular file", "Use a file name, or - for stdout."
        elif not target.parent.is_dir():
            wrong, advice = "is in a directory that does not exist", "Create it, or use another file."
    except (OSError, ValueError, RuntimeError):
        wrong, advice = "is not a valid file name", "Use a name such as report.html."
    if wrong:
        raise ConfigurationError(f"{printable(str(path))} {wrong}", advice=advice)
    return target


def write_page(target: Path, page: str) -> int:
    """Write a page to a temporary file beside its target, then rename it; return its size in bytes.

    Only its owner can read a new file, which names secrets and keys. An existing one keeps its permissions.

    :param target: as :func:`check_target` returned it.
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
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "Free some space." if full else "Use a file in another directory."
        raise Unwritten(
            f"{printable(str(target))} was not written: {error.strerror}",
            advice=f"An existing file was not changed. {fix}",
        ) from None
    return len(data)


def read_tail(path: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """Return the last audit lines, the newest first, and the number of invalid lines among them.

    Reads no more than the last four megabytes.

    :raises ConfigurationError: the file does not exist, can't be read, is not a regular file, or has other lines only.
    """
    advice = "Use a file that --audit-file wrote."
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is not a regular file")
        with path.open("rb") as file:
            begin = file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_BYTES))
            tail = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"the audit file {printable(str(path))} can't be read: {why}", advice=advice) from None
    lines = [line for line in tail.split(b"\n")[1 if begin else 0 :] if line.strip()][-MOST_AUDIT_LINES:]
    parsed = (json_object(line.decode("utf-8", "replace")) for line in reversed(lines))
    found = [line for line in parsed if line is not None and "event" in line]
    if lines and not found:
        raise ConfigurationError(f"{printable(str(path))} has no audit line", advice=advice)
    return tuple(found), len(lines) - len(found)
