"""The audit trail: one redacted JSON object a line, each with the digest of the one before it in its run.

A structlog logger with a chain of processors of its own: stamp, bind, redact, chain, render. Only what structlog's core
needs is imported here; its renderer for terminals is loaded where there is one. The audit file takes whole lines only,
from any number of processes at once.
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

from rotator.errors import BadCredentials, ConfigurationError, MissingRole, Refused, RotatorError, StoreDenied
from rotator.ports import AuditSink, Clock
from rotator.redaction.redactor import Redactor
from rotator.telemetry.logs import LineStream, TextSink, console_renderer, cut, render_json, wants_color
from rotator.telemetry.ocsf import to_ocsf

NO_LINE: Final = "0" * 64
"""``prev`` of a line that no line comes before."""

FIELDS: Final = (
    *("timestamp", "level", "event", "outcome", "run_id", "seq", "prev", "deployment", "actor", "trigger"),
    *("account", "secret", "version_id", "key_id", "reason", "incident", "error", "duration_ms"),
)
"""The fields that every line has, in this order; ``null`` where one does not apply. Others follow them."""

_CHUNK: Final = 65_536
_KNOWN: Final = frozenset(FIELDS)
_OWN: Final = frozenset({"timestamp", "level", "event", "outcome", "run_id", "seq", "prev", "deployment", "trigger"})
_DENIED: Final = (StoreDenied, MissingRole, BadCredentials, Refused)

EventDict = MutableMapping[str, Any]


class AuditUnavailable(RotatorError):
    """The audit file did not take a line. Nothing may be changed that cannot be written down."""

    default_advice = "Nothing is changed without its audit line: free disk space or fix the file, then run again."


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
        # An interrupted writer, or another program, may have left half a line: it must not swallow this one.
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


class AuditOutcome(StrEnum):
    """Whether a change is about to be tried, or what became of it."""

    ATTEMPT = "attempt"
    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"


class Trigger(StrEnum):
    """What started a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    EMERGENCY = "emergency"
    SECRETSMANAGER = "secretsmanager"


class Audit:
    """One run's audit lines, to a stream and, where wanted, to a file. Implements ``AuditSink``; thread safe.

    :param stream: where lines go for people and log collectors; a closed one is no error.
    :param actor: who started the run (a user, a role's ARN, ``scheduler``).
    :param run_id: must not have been used before; made up where not given.
    :param audit_file: a file that is appended to; a run never changes anything that it could not write down there.
    :param console: lines for a terminal on ``stream``; the file always gets JSON.
    :param ocsf: JSON lines are OCSF events, see :mod:`rotator.telemetry.ocsf`.
    :param stream_level: the least level of lines that ``stream`` gets; the file always gets all of them.
    :raises ConfigurationError: where the file cannot be written, or ``trigger`` is none.
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
        ocsf: bool = False,
        stream_level: int = logging.INFO,
    ) -> None:
        if trigger not in list(Trigger):
            raise ConfigurationError(f'"{trigger}" does not start runs', advice=f"Use one of {', '.join(Trigger)}.")
        self.run_id: Final = run_id or str(uuid.uuid4())
        bound = {"run_id": self.run_id, "deployment": deployment, "actor": actor, "trigger": str(trigger)}
        self._redactor = redactor
        self._clock = clock
        self._stream = stream if isinstance(stream, LineStream) else LineStream(stream)
        self._stream_level = stream_level
        self._console = console_renderer(colors=wants_color(self._stream)) if console else None
        self._file = AuditFile(Path(audit_file)) if audit_file is not None else None
        self._ocsf = ocsf
        self._lock = threading.Lock()
        self._seq = 0
        self._prev = NO_LINE
        self._lines: structlog.BoundLogger = structlog.wrap_logger(
            self,
            processors=[self._stamp, self._arrange, self._redact, self._chain],
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
        ).bind(**bound)

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line. An ``error`` may be the exception itself.

        :raises AuditUnavailable: the audit file did not take the line; nothing may be changed then.
        :raises ValueError: for an outcome that is none, or a field that only the audit itself sets.
        """
        if own := _OWN & fields.keys():
            raise ValueError(f"audit lines set {', '.join(sorted(own))} themselves")
        outcome = str(AuditOutcome(outcome))
        with self._lock:  # timestamps, numbers and digests are in the order of the lines
            self._lines.write(event, outcome=outcome, **fields)

    def write(self, **entry: Any) -> None:
        """What structlog's chain ends in: render one line and write it. Not to be called by others."""
        line = self._render(entry)
        if self._file is not None:
            line = self._write_to_file(entry, line)
        self._seq = entry["seq"]
        self._prev = hashlib.sha256(line.encode()).hexdigest()
        if logging.getLevelNamesMapping()[str(entry["level"]).upper()] < self._stream_level:
            return
        self._stream.write_line(line if self._console is None else self._console(_for_people(entry)))

    def close(self) -> None:
        """Give the file back. Lines cannot be written afterwards."""
        if self._file is not None:
            self._file.close()

    def _write_to_file(self, entry: EventDict, line: str) -> str:
        """Append a line; a run's first is linked to the file's last, so that a run cut out before it is missed."""
        assert self._file is not None
        with self._file.locked():
            if self._seq == 0:
                last = self._file.last_line()
                entry["prev"] = NO_LINE if last is None else hashlib.sha256(last).hexdigest()
                line = self._render(entry)
            self._file.append(line.encode())
        return line

    def _render(self, entry: EventDict) -> str:
        return render_json(to_ocsf(entry) if self._ocsf else dict(entry))

    def _stamp(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        bad = entry["outcome"] in (AuditOutcome.FAILURE, AuditOutcome.DENIED)
        level = "warning" if entry["event"] == "alert.raised" else "error" if bad else "info"
        now = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"timestamp": now, "level": level, **entry}

    def _arrange(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        extras = {name: value for name, value in entry.items() if name not in _KNOWN}
        return {name: entry.get(name) for name in FIELDS} | extras

    def _redact(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        scrub = self._redactor
        known = {name: scrub.scrub_field(name, value) for name, value in entry.items() if name in _KNOWN}
        # A field of a name that means a credential is taken out whole; the audit's own names mean none.
        extras = scrub.scrub({name: value for name, value in entry.items() if name not in _KNOWN})
        return {name: cut(value) if isinstance(value, str) else value for name, value in (known | extras).items()}

    def _chain(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        return {**entry, "seq": self._seq + 1, "prev": self._prev}


def _for_people(entry: EventDict) -> dict[str, Any]:
    hidden = ("prev", "run_id", "seq", "deployment")
    return {name: value for name, value in entry.items() if name not in hidden}


@contextmanager
def change(audit: AuditSink, event: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """Write a change's intent, let it be made, and write what became of it.

    Yields a dict: what is put there (a ``key_id`` that is known only now) is in the line of the result.

    :raises AuditUnavailable: before the body ran, where the intent could not be written; or after it.
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
        # The change's own error is what the caller decides by; the next intent fails if the file still takes nothing.
        with suppress(AuditUnavailable):
            audit.emit(event, outcome, **fields)
        raise
    audit.emit(event, AuditOutcome.SUCCESS, **{**fields, **result, "duration_ms": _since(begun)})


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
