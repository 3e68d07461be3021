"""A page into a file: the whole of it or nothing."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from rotator.errors import ConfigurationError, RotatorError
from rotator.text import printable

_NEW_MODE: Final = 0o600


class Unwritten(RotatorError):
    """The page could not be written; what stood there before stands there still."""


def check_target(path: Path) -> Path:
    """The file itself that is to be written, links followed.

    :raises ConfigurationError: it can't be: a directory, no regular file, in a directory that is not there.
    """
    named = printable(str(path))
    try:
        target = path.resolve()
        there = target.stat() if target.exists() else None
        directory = target.parent.is_dir()
    except (OSError, ValueError, RuntimeError):
        raise ConfigurationError(f"{named} can't be a file's name", advice="Name a file such as report.html.") from None
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise ConfigurationError(f"{named} is a directory", advice="Name a file in it, such as report.html.")
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise ConfigurationError(f"{named} is no regular file", advice="Name a file, or - for stdout.")
    if not directory:
        raise ConfigurationError(
            f"the directory of {named} does not exist", advice="Make it first, or name another file."
        )
    return target


def write_page(target: Path, page: str) -> int:
    """Write a page under another name beside its file, then rename it; gives its size in bytes.

    A new file can be read by its owner alone: names of secrets and keys tell where to look. One that was there keeps
    its permissions.

    :param target: as :func:`check_target` gave it.
    :raises Unwritten: no room, no permission.
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
            advice="What stood there stands there still. Make room or name another file.",
        ) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
    return len(data)
