"""Checks whether lines of an audit file were altered, removed, duplicated or reordered.

It reads the file once and keeps a few hundred bytes per run, whatever the file's length. A file without any audit line
is a problem too, because ``--audit-file`` did not write it. It cannot detect lines removed from the end of the file, or
a file that was rewritten as a whole. If that matters, also send the lines elsewhere.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import stat
import zlib
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

from rotator.audit_events import Event
from rotator.errors import ConfigurationError
from rotator.telemetry.audit import NO_LINE
from rotator.text import printable

LONGEST_LINE: Final = 4_000_000
MOST_PROBLEMS: Final = 1_000
"""Further problems are only counted."""

# A run's first line links to the file's last line at that moment. Programs that append without the rotator's lock may
# write lines in between. This is how many earlier lines are searched.
_LINK_WINDOW: Final = 256
# How many gaps in a run's line numbers are remembered, so that a late line does not count as a repeated one.
_MOST_GAPS: Final = 64

_ENDS: Final[dict[str, Event]] = {
    Event.SWEEP_COMPLETED: Event.SWEEP_STARTED,
    Event.EMERGENCY_COMPLETED: Event.EMERGENCY_REQUESTED,
}


class ProblemKind(StrEnum):
    """The kind of a problem with a line, or between two lines."""

    ALTERED = "altered"
    MISSING = "missing"
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    UNLINKED = "unlinked"
    NOT_JSON = "not-json"
    MALFORMED = "malformed"
    CUT_OFF = "cut-off"
    NO_AUDIT_LINES = "no-audit-lines"


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """One problem. ``line`` counts from 1, and 0 means the whole file; ``detail`` is a sentence."""

    line: int
    kind: ProblemKind
    detail: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a check.

    :param lines: the number of all lines in the file.
    :param audit_lines: the number of audit lines.
    :param runs: the number of runs that wrote them.
    :param open_runs: runs without an end, or with an intent without a result: interrupted, or still running.
    :param unlinked_runs: runs that do not link to the line before them. This is not a problem (lines collected from
        stderr are like this), but a run removed before one of these is not detected.
    :param problem_count: the number of all problems; ``problems`` may contain only the first ones.
    """

    path: Path
    lines: int = 0
    audit_lines: int = 0
    runs: int = 0
    open_runs: tuple[str, ...] = ()
    unlinked_runs: tuple[str, ...] = ()
    problems: tuple[AuditProblem, ...] = ()
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        """Whether there are audit lines and no problems."""
        return self.problem_count == 0

    @property
    def other_lines(self) -> int:
        """The number of lines that are not audit lines, such as ordinary logs."""
        return self.lines - self.audit_lines


@dataclass(slots=True)
class _Run:
    """A run's last line (number, digest, line of the file), the numbers missing so far, and its unfinished events."""

    last: tuple[int, str, int] = (0, "", 0)
    gaps: list[range] = field(default_factory=list)
    begun: set[tuple[str, str]] = field(default_factory=set)  # (event that begins something, account)
    intents: Counter[str] = field(default_factory=Counter)

    def fill(self, seq: int) -> bool:
        """Whether a line was missing so far."""
        gap = next((gap for gap in self.gaps if seq in gap), None)
        if gap is not None:
            self.gaps.remove(gap)
            self.skip(range(gap.start, seq))
            self.skip(range(seq + 1, gap.stop))
        return gap is not None

    def skip(self, missing: range) -> None:
        """Remember missing lines. If there are too many gaps, a repeated line between two of them counts as late."""
        self.gaps += [missing] if missing else []
        if len(self.gaps) > _MOST_GAPS:
            first, second = self.gaps.pop(0), self.gaps.pop(0)
            self.gaps.append(range(min(first.start, second.start), max(first.stop, second.stop)))

    @property
    def is_open(self) -> bool:
        return bool(self.begun) or any(count > 0 for count in self.intents.values())


def verify(path: Path | str) -> VerifyReport:
    """Check a file.

    :raises ConfigurationError: it cannot be read.
    """
    path = Path(path)
    checker = AuditChecker(path)
    with ExitStack() as closing:
        checker.read(open_lines(path, closing))
    return checker.report()


def open_lines(path: Path, closing: ExitStack) -> Callable[[int], bytes]:
    """Open an audit file or a pipe, compressed by gzip or not, and return its ``readline``.

    It raises ``EOFError`` after the last line that can be decompressed, if the file is cut off or damaged there.

    :param closing: closes it.
    :raises ConfigurationError: it cannot be read, or is neither of them.
    """
    try:
        # To open a named pipe would wait for its writer. Without one it is empty.
        file = closing.enter_context(io.BufferedReader(io.FileIO(path, opener=_open)))
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise OSError(errno.EINVAL, "it is not a regular file or a pipe")
        os.set_blocking(file.fileno(), True)
        packed = file.peek(2)[:2] == b"\x1f\x8b"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a valid name"
        raise ConfigurationError(
            f"The audit file {printable(str(path))} cannot be read: {why}",
            advice="Use a file that --audit-file wrote; it may be compressed by gzip.",
        ) from None
    return _Unzipped(file).readline if packed else file.readline


def _open(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


class _Unzipped(io.RawIOBase):
    """A gzip file's content, up to where it is cut off or damaged."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._damaged, self._lines = gzip.GzipFile(fileobj=file), False, io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read1(len(buffer))
        except (EOFError, OSError, zlib.error):  # a BufferedReader would lose the lines before it
            self._damaged, data = True, b""
        buffer[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1) -> bytes:
        line = self._lines.readline(size)
        if self._damaged and not line:
            raise EOFError
        return line


class AuditChecker:
    """Checks the lines of one source.

    :param on_line: is called with each audit line that repeats no other.
    :param before: the checker of the previous part of the same trail: a run may continue in the next file.
    :param since: the period's start. Runs that had begun before it may be incomplete at their start, or refer to a file
        that is not read.
    """

    def __init__(
        self,
        path: Path,
        on_line: Callable[[dict[str, Any]], None] = lambda _line: None,
        before: AuditChecker | None = None,
        since: datetime | None = None,
    ) -> None:
        self._path = path
        self._on_line = on_line
        self._since = "" if since is None else since.isoformat()
        self._runs: dict[str, _Run] = {} if before is None else before._runs
        self._recent: deque[str] = deque(maxlen=_LINK_WINDOW) if before is None else before._recent
        self._unlinked: list[str] = []
        self._problems: list[AuditProblem] = []
        self._problem_count = 0
        self._line = 0
        self._audit_lines = 0

    def read(self, readline: Callable[[int], bytes]) -> None:
        """Check every line before the end, or before the point from which a file can't be read.

        :param readline: as a file's: returns at most so many bytes of a line, and nothing at the end.
        """
        try:
            self._read(readline)
        except (EOFError, OSError):
            detail = "is the last that can be read: the file" if self._line else "has no line that can be read: it"
            self._problem(ProblemKind.CUT_OFF, f"{detail} is cut off or damaged")

    def _read(self, readline: Callable[[int], bytes]) -> None:
        while raw := readline(LONGEST_LINE):
            self._line += 1
            whole = raw.endswith(b"\n")
            if not whole and len(raw) == LONGEST_LINE:
                self._problem(ProblemKind.NOT_JSON, f"is longer than {LONGEST_LINE} bytes and was not read")
                while (rest := readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                continue
            self._take(raw[:-1] if whole else raw)
            if not whole:
                detail = "is incomplete: its writer was interrupted, or the file is cut off or damaged"
                self._problem(ProblemKind.CUT_OFF, detail)
                return

    def report(self) -> VerifyReport:
        """Return what was found so far."""
        problems = sorted(self._problems, key=lambda problem: problem.line)
        if not self._audit_lines and (self._line or not problems):  # else it is cut off before its first line
            self._problem_count += 1
            what = "has no audit line" if self._line else "is empty"
            problems.insert(0, AuditProblem(0, ProblemKind.NO_AUDIT_LINES, f"the file {what}"))
        return VerifyReport(
            path=self._path,
            lines=self._line,
            audit_lines=self._audit_lines,
            runs=len(self._runs),
            open_runs=tuple(run_id for run_id, run in self._runs.items() if run.is_open),
            unlinked_runs=tuple(self._unlinked),
            problems=tuple(problems[:MOST_PROBLEMS]),
            problem_count=self._problem_count,
        )

    def _problem(self, kind: ProblemKind, detail: str, run_id: str | None = None, line: int | None = None) -> None:
        self._problem_count += 1
        if len(self._problems) < MOST_PROBLEMS:
            at = self._line if line is None else line
            where = f"line {at}" if at else "the file"
            self._problems.append(AuditProblem(at, kind, f"{where} {detail}", run_id))

    def _take(self, raw: bytes) -> None:
        digest = hashlib.sha256(raw).hexdigest()
        try:
            entry = json.loads(raw)
        except (ValueError, RecursionError):
            self._problem(ProblemKind.NOT_JSON, "is not JSON")
        else:
            if isinstance(entry, dict) and {"seq", "prev", "run_id"} & entry.keys() and "log" not in entry:
                self._take_audit_line(entry, digest)
        self._recent.append(digest)

    def _take_audit_line(self, entry: dict[str, Any], digest: str) -> None:
        self._audit_lines += 1
        run_id, seq, prev = entry.get("run_id"), entry.get("seq"), entry.get("prev")
        if not (isinstance(run_id, str) and type(seq) is int and seq >= 1 and isinstance(prev, str)):
            self._problem(ProblemKind.MALFORMED, "is an audit line without a valid run_id, seq and prev")
            return
        run = self._runs.setdefault(run_id, _Run())
        last, last_digest, last_line = run.last
        if seq <= last:
            if not run.fill(seq):
                self._problem(ProblemKind.DUPLICATED, f"repeats line {seq} of its run", run_id)
                return
            self._problem(ProblemKind.REORDERED, f"(line {seq} of its run) comes after line {last}", run_id)
        else:
            run.skip(range(last + 1, seq))
            if last == 0 and str(entry.get("timestamp")) < self._since:
                pass  # what it refers to is before the period
            elif seq > last + 1:
                gone = f"line {seq - 1} is" if seq == last + 2 else f"lines {last + 1} to {seq - 1} are"
                self._problem(ProblemKind.MISSING, f"comes after a gap in its run: {gone} missing", run_id)
            elif seq == 1:
                self._check_link(run_id, prev)
            elif prev != last_digest:
                detail = f"(line {last} of its run) was altered, or line {self._line} was: the digest does not match"
                self._problem(ProblemKind.ALTERED, detail, run_id, last_line)
            run.last = (seq, digest, self._line)
        self._on_line(entry)
        _follow(run, str(entry.get("event")), str(entry.get("outcome")), str(entry.get("account")))

    def _check_link(self, run_id: str, prev: str) -> None:
        if prev == NO_LINE:
            if self._recent:
                self._unlinked.append(run_id)
        elif prev not in self._recent:
            self._problem(
                ProblemKind.UNLINKED,
                "starts a run and refers to a previous line that is missing: it was altered or removed, or the file "
                "was rotated",
                run_id,
            )


def _follow(run: _Run, event: str, outcome: str, account: str) -> None:
    """Record which event or intent a line begins or ends."""
    if event in _ENDS.values():
        run.begun.add((event, account))
    elif event in _ENDS and outcome != "attempt":
        run.begun.discard((_ENDS[event], account))
    elif outcome == "attempt":
        run.intents[event] += 1
    elif run.intents[event] > 0:
        run.intents[event] -= 1
