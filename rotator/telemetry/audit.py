"""The audit trail: one redacted JSON object per line, each with the digest of the previous line of its run.

It is a structlog logger with its own processors: stamp, bind, redact, chain, render. Only structlog's core is imported
here; its console renderer is loaded when it is needed. Any number of processes may write to the audit file at once, and
it only ever receives whole lines.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog

from rotator.audit_events import Event
from rotator.errors import BadCredentials, ConfigurationError, MissingRole, Refused, RotatorError, StoreDenied
from rotator.message import utc_text
from rotator.ports import AuditSink, Clock
from rotator.redaction.redactor import Redactor
from rotator.telemetry.logs import LineStream, TextSink, console_renderer, cut, render_json, wants_color

NO_LINE: Final = "0" * 64
"""``prev`` of a line without a previous line."""

FIELDS: Final = (
    *("timestamp", "level", "event", "outcome", "run_id", "seq", "prev", "deployment", "actor", "trigger"),
    *("account", "secret", "version_id", "key_id", "reason", "incident", "error", "duration_ms"),
)
"""The fields of every line, in this order; ``null`` if one does not apply. Other fields follow."""

_CHUNK: Final = 65_536
_KNOWN: Final = frozenset(FIELDS)
_OWN: Final = frozenset({"timestamp", "level", "event", "outcome", "run_id", "seq", "prev", "deployment", "trigger"})
_FOR_PROGRAMS: Final = frozenset({"prev", "run_id", "seq", "deployment"})
_DENIED: Final = (StoreDenied, MissingRole, BadCredentials, Refused)

EventDict = MutableMapping[str, Any]


class AuditUnavailable(RotatorError):
    """A line could not be written to the audit file. No change may be made without its audit line."""

    default_advice = "No change is made without an audit line. Free disk space or fix the file, then run again."


class AuditFile:
    """An audit file, opened for appending. It is created with mode 0600 if it does not exist.

    :raises ConfigurationError: it cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking: it may be a FIFO
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The audit file {path} cannot be written: {error.strerror}",
                advice="Nothing was started. Use a file in an existing, writable directory.",
            ) from None
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise ConfigurationError(
                f"The audit file {path} is not a regular file", advice="Nothing was started. Use a regular file."
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file against other processes that write audit lines, so that no two lines mix.

        :raises AuditUnavailable: the file cannot be locked, read or written.
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
            raise AuditUnavailable(f"Can't write to the audit file {self._path}: {error.strerror}") from None

    def last_line(self) -> bytes | None:
        """Return the exact bytes of the last line, without its newline; ``None`` if empty. Hold the lock."""
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
        """Write a line and its newline in one call, and remove it again if it is incomplete. Hold the lock.

        :raises AuditUnavailable: there is not enough space for the whole line.
        """
        before = os.fstat(self._fd).st_size
        # An interrupted writer or another program may have left half a line. Begin a new one after it.
        torn = before > 0 and os.pread(self._fd, 1, before - 1) != b"\n"
        data = (b"\n" if torn else b"") + line + b"\n"
        written = os.write(self._fd, data)
        if written < len(data):
            os.ftruncate(self._fd, before)
            raise AuditUnavailable(f"Only part of a line was written to the audit file {self._path}: the disk is full")

    def close(self) -> None:
        """Close the file. May be called twice."""
        fd, self._fd = self._fd, -1  # a closed descriptor's number may be reused for another file
        if fd >= 0:
            os.close(fd)


class AuditOutcome(StrEnum):
    """A change's state: about to be attempted, or its result."""

    ATTEMPT = "attempt"
    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"


class Trigger(StrEnum):
    """The trigger of a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    EMERGENCY = "emergency"
    SECRETSMANAGER = "secretsmanager"


class Audit:
    """Writes one run's audit lines to a stream and, optionally, to a file. Implements ``AuditSink``; thread safe.

    :param stream: receives the lines for people and log collectors; a closed stream is not an error.
    :param actor: who started the run (a user, a role's ARN, ``scheduler``).
    :param run_id: must be unique; generated if not given.
    :param audit_file: a file to append to; a run makes no change without first writing its line there.
    :param console: write lines for a terminal to ``stream``; the file always gets JSON.
    :param stream_level: the lowest level of lines for ``stream``; the file always gets all lines.
    :raises ConfigurationError: the file cannot be written, or ``trigger`` is not valid.
    """

    def __init__(
        self,
        stream: TextSink | LineStream,
        *,
        deployment: str,
        actor: str,
        trigger: Trigger | str,
        redactor: Redactor,
        clock: Clock,
        run_id: str | None = None,
        audit_file: Path | str | None = None,
        console: bool = False,
        stream_level: int = logging.INFO,
    ) -> None:
        if trigger not in list(Trigger):
            raise ConfigurationError(f'"{trigger}" is not a valid trigger', advice=f"Use one of {', '.join(Trigger)}.")
        self.run_id: Final = run_id or str(uuid.uuid4())
        bound = {"run_id": self.run_id, "deployment": deployment, "actor": actor, "trigger": str(trigger)}
        self._redactor = redactor
        self._clock = clock
        self._stream = stream if isinstance(stream, LineStream) else LineStream(stream)
        self._stream_level = stream_level
        self._console = console_renderer(colors=wants_color(self._stream)) if console else None
        self._file = AuditFile(Path(audit_file)) if audit_file is not None else None
        self._lock = threading.Lock()
        self._seq = 0
        self._prev = NO_LINE
        self._lines: structlog.BoundLogger = structlog.wrap_logger(
            self,
            processors=[self._stamp, self._redact, self._chain],
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
        ).bind(**bound)

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line. An ``error`` may be the exception itself.

        :raises AuditUnavailable: the line could not be written to the audit file, so nothing may be changed.
        :raises ValueError: the outcome is not valid, or a field is one that only the audit sets.
        """
        if own := _OWN & fields.keys():
            raise ValueError(f"audit lines set {', '.join(sorted(own))} themselves")
        outcome = str(AuditOutcome(outcome))
        with self._lock:  # keeps timestamps, numbers and digests in the order of the lines
            self._lines.write(event, outcome=outcome, **fields)

    def write(self, **entry: Any) -> None:
        """Render and write one line. Only for structlog, as the end of its chain."""
        line = render_json(entry)
        if self._file is not None:
            line = self._write_to_file(entry, line)
        self._seq = entry["seq"]
        self._prev = hashlib.sha256(line.encode()).hexdigest()
        if logging.getLevelNamesMapping()[str(entry["level"]).upper()] < self._stream_level:
            return
        shown = {name: value for name, value in entry.items() if name not in _FOR_PROGRAMS}
        self._stream.write_line(line if self._console is None else self._console(shown))

    def close(self) -> None:
        """Close the file. No lines can be written afterwards."""
        if self._file is not None:
            self._file.close()

    def _write_to_file(self, entry: dict[str, Any], line: str) -> str:
        """Append a line. A run's first line links to the file's last line, so that a removed run is detected."""
        assert self._file is not None
        with self._file.locked():
            if self._seq == 0:
                last = self._file.last_line()
                entry["prev"] = NO_LINE if last is None else hashlib.sha256(last).hexdigest()
                line = render_json(entry)
            self._file.append(line.encode())
        return line

    def _stamp(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        bad = entry["outcome"] in (AuditOutcome.FAILURE, AuditOutcome.DENIED)
        level = "warning" if entry["event"] == Event.ALERT_RAISED else "error" if bad else "info"
        return {"timestamp": utc_text(self._clock.now(), "milliseconds"), "level": level, **entry}

    def _redact(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        scrub = self._redactor
        known = {name: scrub.scrub_field(name, entry.get(name)) for name in FIELDS}
        # Fields with names of credentials are redacted whole. The audit's own fields have no such names.
        extras = scrub.scrub({name: value for name, value in entry.items() if name not in _KNOWN})
        return {name: cut(value) if isinstance(value, str) else value for name, value in (known | extras).items()}

    def _chain(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        return {**entry, "seq": self._seq + 1, "prev": self._prev}


@contextmanager
def change(audit: AuditSink, event: Event, **fields: Any) -> Iterator[dict[str, Any]]:
    """Write a change's intent, run the body that makes it, and write the result.

    Yields a dict for more fields of the result's line, such as a ``key_id`` that is known only after the change.

    :raises AuditUnavailable: the intent could not be written and the body was not run, or the result could not be.
    """
    audit.emit(event, AuditOutcome.ATTEMPT, **fields)
    begun = time.monotonic()
    result: dict[str, Any] = {}
    try:
        yield result
    except BaseException as error:
        interrupted = not isinstance(error, Exception)
        outcome = AuditOutcome.DENIED if isinstance(error, _DENIED) else AuditOutcome.FAILURE
        fields |= {**result, "error": "interrupted" if interrupted else error, "duration_ms": _since(begun)}
        # The caller needs the change's own error. The next intent fails if the file still cannot be written.
        with suppress(AuditUnavailable):
            audit.emit(event, outcome, **fields)
        raise
    audit.emit(event, AuditOutcome.SUCCESS, **{**fields, **result, "duration_ms": _since(begun)})


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
