"""Checks an audit file: were lines altered, taken out, doubled or put into another order?

Reads the file once and keeps a few hundred bytes a run, however long the file is. A file without a single audit line is
not intact either: whatever it is, it is not what ``--audit-file`` wrote. What it cannot see: lines taken off
the very end of the file, and a file that was rewritten as a whole. Send the lines elsewhere too, where that matters.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

from rotator.errors import ConfigurationError
from rotator.telemetry.audit import NO_LINE
from rotator.telemetry.ocsf import native

LONGEST_LINE: Final = 4_000_000
MOST_PROBLEMS: Final = 1_000
"""Further problems are only counted."""

# A run's first line is linked to the file's last line at that moment. Programs that append without the rotator's lock
# may get lines in between; this is how many lines before it are searched.
_LINK_WINDOW: Final = 256
# Lines of a run that were found out of order are matched over that distance.
_ORDER_WINDOW: Final = 64

# What lines are that are not audit lines.
_JSON: Final = "other JSON"
_TEXT: Final = "text"
_BINARY: Final = "binary"
_EMPTY: Final = "nothing"

_ENDS: Final = {"sweep.completed": "sweep.started", "emergency.completed": "emergency.requested"}


class ProblemKind(StrEnum):
    """What is wrong with a line, or between two."""

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
class Problem:
    """One thing that is wrong. ``line`` counts from 1, 0 is the whole file; ``detail`` is a sentence."""

    line: int
    kind: ProblemKind
    detail: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found.

    :param lines: lines in the file, of whatever kind.
    :param audit_lines: those that are audit lines.
    :param runs: how many runs wrote them.
    :param open_runs: runs that began and did not end, or noted an intent without its result: interrupted, or at work.
    :param unlinked_runs: runs that begin a chain of their own though lines came before (not a problem: lines that were
        collected from stderr do); a run taken out before one of these cannot be seen.
    :param problem_count: how many problems there are, also where ``problems`` holds only the first of them.
    """

    path: Path
    lines: int = 0
    audit_lines: int = 0
    runs: int = 0
    open_runs: tuple[str, ...] = ()
    unlinked_runs: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        """Whether it has audit lines and nothing is wrong."""
        return self.problem_count == 0

    @property
    def other_lines(self) -> int:
        """Lines that are not audit lines, such as ordinary logs."""
        return self.lines - self.audit_lines


@dataclass(slots=True)
class _Run:
    """What is remembered of a run: the last number, digests of the last lines, holes, and what is unfinished."""

    last_seq: int = 0
    digests: dict[int, tuple[str, int]] = field(default_factory=dict)  # seq -> (digest, line)
    holes: list[tuple[int, int, int]] = field(default_factory=list)  # (first seq, last seq, line where it showed)
    begun: set[tuple[str, str]] = field(default_factory=set)  # (event that begins something, account)
    intents: dict[str, int] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return bool(self.begun) or any(count > 0 for count in self.intents.values())


def verify(path: Path | str) -> VerifyReport:
    """Check a file.

    :raises ConfigurationError: where it cannot be read.
    """
    path = Path(path)
    checker = _Checker(path)
    try:
        with path.open("rb") as file:
            checker.read(file)
    except OSError as error:
        raise ConfigurationError(
            f"The audit file {path} cannot be read: {error.strerror}", advice="Name the file that --audit-file wrote."
        ) from None
    return checker.report()


def _kind_of(raw: bytes) -> str:
    """What a line is that is not JSON; of a long one only a part was read, which may end inside of a character."""
    if not raw.strip():
        return _EMPTY
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        return _BINARY
    return _BINARY if b"\0" in raw else _TEXT


class _Checker:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[str, _Run] = {}
        self._recent: deque[str] = deque(maxlen=_LINK_WINDOW)
        self._unlinked: list[str] = []
        self._problems: list[Problem] = []
        self._problem_count = 0
        self._line = 0
        self._audit_lines = 0
        self._other: Counter[str] = Counter()

    def read(self, file: BinaryIO) -> None:
        while raw := file.readline(LONGEST_LINE):
            self._line += 1
            whole = raw.endswith(b"\n")
            if not whole and len(raw) == LONGEST_LINE:
                self._other[_kind_of(raw)] += 1
                self._problem(ProblemKind.NOT_JSON, f"is longer than {LONGEST_LINE} bytes and was not read")
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                continue
            text = raw[:-1] if whole else raw
            self._take(text)
            if not whole:
                self._problem(ProblemKind.CUT_OFF, "has no end: its writer was interrupted, or the file was cut off")

    def report(self) -> VerifyReport:
        for run_id, run in self._runs.items():
            for hole in run.holes:
                self._missing(run_id, hole)
        problems = sorted(self._problems, key=lambda problem: problem.line)
        if not self._audit_lines:
            self._problem_count += 1
            problems.insert(0, Problem(0, ProblemKind.NO_AUDIT_LINES, f"the file {self._found_instead()}"))
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

    def _found_instead(self) -> str:
        """What a file without an audit line holds."""
        if not self._line:
            return "is empty"
        if self._other[_BINARY]:
            return "has no audit line: it is binary"
        kinds = []
        for kind, count in self._other.items():
            lines = "line" if count == 1 else "lines"
            kinds.append(f"{count} empty {lines}" if kind == _EMPTY else f"{count} {lines} of {kind}")
        return f"has no audit line: {', '.join(kinds)}"

    def _problem(self, kind: ProblemKind, detail: str, run_id: str | None = None, line: int | None = None) -> None:
        self._problem_count += 1
        if len(self._problems) < MOST_PROBLEMS:
            at = self._line if line is None else line
            self._problems.append(Problem(at, kind, f"line {at} {detail}", run_id))

    def _missing(self, run_id: str, hole: tuple[int, int, int]) -> None:
        first, last, line = hole
        which = f"line {first} of its run is" if first == last else f"lines {first} to {last} of its run are"
        self._problem(ProblemKind.MISSING, f"comes after a gap: {which} missing", run_id, line)

    def _take(self, raw: bytes) -> None:
        digest = hashlib.sha256(raw).hexdigest()
        try:
            entry = json.loads(raw)
        except (ValueError, RecursionError):
            self._other[_kind_of(raw)] += 1
            self._problem(ProblemKind.NOT_JSON, "is not JSON")
        else:
            if isinstance(entry, dict):
                entry = native(entry) or entry
            if isinstance(entry, dict) and {"seq", "prev", "run_id"} & entry.keys() and "log" not in entry:
                self._take_audit_line(entry, digest)
            else:
                self._other[_JSON] += 1
        self._recent.append(digest)

    def _take_audit_line(self, entry: dict[str, Any], digest: str) -> None:
        self._audit_lines += 1
        run_id, seq, prev = entry.get("run_id"), entry.get("seq"), entry.get("prev")
        if not (isinstance(run_id, str) and type(seq) is int and seq >= 1 and isinstance(prev, str)):
            self._problem(ProblemKind.MALFORMED, "is an audit line without a usable run_id, seq and prev")
            return
        run = self._runs.setdefault(run_id, _Run())
        if seq > run.last_seq + 1:
            run.holes.append((run.last_seq + 1, seq - 1, self._line))
            if len(run.holes) > _ORDER_WINDOW:
                self._missing(run_id, run.holes.pop(0))
        elif seq <= run.last_seq and not self._fill_hole(run, seq):
            self._problem(ProblemKind.DUPLICATED, f"is another line {seq} of its run", run_id)
            return
        elif seq < run.last_seq:
            self._problem(ProblemKind.REORDERED, f"(line {seq} of its run) stands after line {run.last_seq}", run_id)
        self._check_digest(run, run_id, seq, prev)
        run.last_seq = max(run.last_seq, seq)
        run.digests[seq] = (digest, self._line)
        if len(run.digests) > _ORDER_WINDOW:
            del run.digests[next(iter(run.digests))]
        self._follow(run, str(entry.get("event")), str(entry.get("outcome")), str(entry.get("account")))

    @staticmethod
    def _fill_hole(run: _Run, seq: int) -> bool:
        for at, (first, last, line) in enumerate(run.holes):
            if first <= seq <= last:
                run.holes[at : at + 1] = [
                    hole for hole in ((first, seq - 1, line), (seq + 1, last, line)) if hole[0] <= hole[1]
                ]
                return True
        return False

    def _check_digest(self, run: _Run, run_id: str, seq: int, prev: str) -> None:
        if seq == 1:
            if prev == NO_LINE:
                if self._recent:
                    self._unlinked.append(run_id)
            elif prev not in self._recent:
                self._problem(
                    ProblemKind.UNLINKED,
                    "begins a run and names a line before it that is not there: it was altered or taken out, "
                    "or the file was rotated",
                    run_id,
                )
            return
        before = run.digests.get(seq - 1)
        if before is not None and before[0] != prev:
            self._problem(
                ProblemKind.ALTERED,
                f"(line {seq - 1} of its run) was altered, or line {self._line} was: the digest does not match",
                run_id,
                before[1],
            )

    @staticmethod
    def _follow(run: _Run, event: str, outcome: str, account: str) -> None:
        if event in _ENDS.values():
            run.begun.add((event, account))
        elif event in _ENDS and outcome != "attempt":
            run.begun.discard((_ENDS[event], account))
        elif outcome == "attempt":
            run.intents[event] = run.intents.get(event, 0) + 1
        elif run.intents.get(event, 0) > 0:
            run.intents[event] -= 1
