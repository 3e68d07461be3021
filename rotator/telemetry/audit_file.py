"""The file that audit lines are appended to: whole lines only, by any number of processes at once."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rotator.errors import ConfigurationError, RotatorError

_CHUNK: Final = 65_536


class AuditUnavailable(RotatorError):
    """The audit file did not take a line. Nothing may be changed that cannot be written down."""

    default_advice = "Nothing is changed without its audit line: make room or fix the file, then run again."


class AuditFile:
    """Opened for appending, made with mode 0600 where it does not exist.

    :raises ConfigurationError: where it cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking: it may be a FIFO
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The audit file {path} cannot be written: {error.strerror}",
                advice="Nothing was started. Name a file in a directory that exists and can be written.",
            ) from None
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise ConfigurationError(
                f"The audit file {path} is not a regular file", advice="Nothing was started. Name a file to append to."
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes that write audit lines waiting: each line is written after one that is whole.

        :raises AuditUnavailable: where the file cannot be locked, read or written.
        """
        if self._fd < 0:
            raise AuditUnavailable(f"The audit file {self._path} is closed")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            raise AuditUnavailable(f"The audit file {self._path} takes no lines: {error.strerror}") from None

    def last_line(self) -> bytes | None:
        """The exact bytes of the last line, without its end; ``None`` in an empty file. Call it locked."""
        end = os.fstat(self._fd).st_size
        if end == 0:
            return None
        end -= os.pread(self._fd, 1, end - 1) == b"\n"
        tail = b""
        begin = end
        while begin > 0 and b"\n" not in tail:
            size = min(_CHUNK, begin)
            begin -= size
            tail = os.pread(self._fd, size, begin) + tail
        return tail.rpartition(b"\n")[2]

    def append(self, line: bytes) -> None:
        """Write a line and its end in one call; a part of a line does not stay. Call it locked.

        :raises AuditUnavailable: where only a part of it would fit.
        """
        before = os.fstat(self._fd).st_size
        # A writer that was killed, or another program, may have left half a line: it must not swallow this one.
        torn = before > 0 and os.pread(self._fd, 1, before - 1) != b"\n"
        data = (b"\n" if torn else b"") + line + b"\n"
        written = os.write(self._fd, data)
        if written < len(data):
            os.ftruncate(self._fd, before)
            raise AuditUnavailable(f"The audit file {self._path} took only a part of a line: the disk is full")

    def close(self) -> None:
        """Close it; harmless when done twice."""
        fd, self._fd = self._fd, -1  # a closed number may soon belong to another file
        if fd >= 0:
            os.close(fd)
