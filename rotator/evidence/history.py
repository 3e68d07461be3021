"""What audit lines say about keys, emergencies and alerts. Lines are untrusted input.

Memory grows with keys, emergencies and kinds of alerts, not with lines. Each fact is stored once by its key, so a file
that is read twice changes nothing.
"""

from __future__ import annotations

import gzip
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from rotator.errors import ConfigurationError
from rotator.telemetry.audit_verify import AuditChecker, VerifyReport
from rotator.text import printable

_HOUR: Final = timedelta(hours=1)
_EVERY: Final = 5_000
_LISTED: Final = 20
_EXCEPTIONS: Final = frozenset({"rotation.failed", "revocation.failed", "key.rejected"})
_STEPS: Final = {
    "key.created": "created",
    "key.adopted": "adopted",
    "key.verified": "verified",
    "key.rejected": "rejected",
    "secret.promoted": "promoted",
    "secret.rolled_back": "promoted",
    "key.retiring": "retired",
    "key.revoked": "revoked",
}


@dataclass(slots=True)
class KeyLife:
    """One key: the time of each step, and who did it, and why.

    :param steps: by step (``created``, ``revoked`` …): its last time, actor, trigger, reason, incident and run.
    """

    account: str
    key_id: str
    secret: str = ""
    steps: dict[str, tuple[datetime, str, str, str, str, str]] = field(default_factory=dict)
    revoke_at: str = ""

    def at(self, step: str) -> datetime | None:
        """Return a step's time."""
        return self.steps[step][0] if step in self.steps else None


@dataclass(slots=True)
class EmergencyRun:
    """One emergency revocation, by its run."""

    run_id: str
    requested: datetime | None = None
    completed: datetime | None = None
    last_revoked: datetime | None = None
    line: Mapping[str, str] = field(default_factory=dict)
    outcome: str = ""
    error: str = ""
    revoked: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Span:
    """An alert: its first and last time in the period, and its last text."""

    first: datetime
    last: datetime
    detail: str = ""


@dataclass(slots=True)
class Source:
    """A file or log group that was read, and what its lines cover."""

    name: str
    report: VerifyReport | None = None
    in_period: int = 0
    unusable: int = 0
    first: datetime | None = None
    last: datetime | None = None
    other_deployments: Counter[str] = field(default_factory=Counter)


class History:
    """Everything that the lines of one deployment say.

    :param begin: the period's start; ``end`` is the first moment after it.
    """

    def __init__(self, deployment: str, begin: datetime, end: datetime) -> None:
        self.deployment, self.begin, self.end = deployment, begin, end
        self.sources: list[Source] = []
        self.keys: dict[tuple[str, str], KeyLife] = {}
        self.emergencies: dict[str, EmergencyRun] = {}
        self.exceptions: dict[tuple[str, str, str], Span] = {}
        self.promotions: dict[tuple[str, str], tuple[datetime, str]] = {}
        self.attempts: set[tuple[str, str]] = set()
        self._hours: set[int] = set()
        self._last_checker: AuditChecker | None = None

    def read(self, name: str, file: BinaryIO, on_time: Callable[[datetime], None] = lambda _at: None) -> None:
        """Read a source, of which only a line at a time is kept; ``on_time`` gets the newest time now and then."""
        source, count = Source(name), 0
        self.sources.append(source)

        def take(line: dict[str, Any]) -> None:
            nonlocal count
            count += 1
            self._take(source, line)
            if count % _EVERY == 0:
                on_time(source.last or self.begin)

        self._last_checker = checker = AuditChecker(Path(name), take, self._last_checker)
        checker.read(file)
        source.report = checker.report()

    def has(self, moment: datetime | None) -> bool:
        """Whether a time is in the period."""
        return moment is not None and self.begin <= moment < self.end

    def gaps(self, longest: timedelta) -> list[tuple[datetime, datetime]]:
        """Return the parts of the period, to the hour, in which no line was written for longer than ``longest``."""
        found, since = [], self.begin
        for hour in sorted(self._hours):
            at = self.begin + hour * _HOUR
            if at - since > longest:
                found.append((since, at))
            since = at + _HOUR
        if self.end - since > longest or not self._hours:
            found.append((since, self.end))
        return found

    def _take(self, source: Source, line: dict[str, Any]) -> None:
        text = {name: value if isinstance(value, str) else "" for name, value in line.items()}
        at = _time(text.get("timestamp", ""))
        if at is None:
            source.unusable += 1
            return
        deployment = text.get("deployment", "")
        if deployment != self.deployment:
            name = deployment if len(source.other_deployments) < _LISTED else "others"
            source.other_deployments[name[:100]] += 1
            return
        source.first, source.last = min(source.first or at, at), max(source.last or at, at)
        if self.has(at):
            source.in_period += 1
            self._hours.add((at - self.begin) // _HOUR)
        event, outcome = text.get("event", ""), text.get("outcome", "")
        if outcome == "attempt" and event in ("key.created", "key.revoked"):
            self.attempts.add((event, text.get("version_id" if event == "key.created" else "key_id", "")))
        if outcome == "success" and event in _STEPS and text.get("key_id"):
            self._step(at, event, text)
        if event.startswith("emergency.") or (event == "key.revoked" and text.get("trigger") == "emergency"):
            self._emergency(at, event, outcome, text, line.get("revoked"))
        if (self.has(at) and outcome in ("failure", "denied")) or (
            self.has(at) and event == "alert.raised" and text.get("reason") == "hold"
        ):
            self._exception(at, event, text)

    def _step(self, at: datetime, event: str, text: Mapping[str, str]) -> None:
        account, key_id, secret = text.get("account", ""), text["key_id"], text.get("secret", "")
        life = self.keys.setdefault((account, key_id), KeyLife(account, key_id))
        life.secret = secret or life.secret
        names = ("actor", "trigger", "reason", "incident", "run_id")
        step = _STEPS[event]
        if step not in life.steps or life.steps[step][0] <= at:
            actor, trigger, reason, incident, run_id = (text.get(name, "")[:300] for name in names)
            life.steps[step] = (at, actor, trigger, reason, incident, run_id)
            if step == "retired":
                life.revoke_at = text.get("revoke_at", "")
        if step in ("promoted", "adopted"):
            self.promotions[account, secret] = max(self.promotions.get((account, secret), (at, key_id)), (at, key_id))

    def _emergency(self, at: datetime, event: str, outcome: str, text: Mapping[str, str], revoked: object) -> None:
        run = self.emergencies.setdefault(text.get("run_id", ""), EmergencyRun(text.get("run_id", "")))
        if event == "emergency.requested":
            names = ("account", "secret", "key_id", "actor", "reason", "incident", "strategy")
            run.requested, run.line = at, {name: text.get(name, "")[:300] for name in names}
        elif event == "emergency.completed":
            run.completed, run.outcome, run.error = at, outcome, text.get("error", "")[:1000]
            run.revoked |= {each for each in revoked if isinstance(each, str)} if isinstance(revoked, list) else set()
        elif outcome == "success":
            run.last_revoked = max(run.last_revoked or at, at)
            run.revoked.add(text.get("key_id", ""))

    def _exception(self, at: datetime, event: str, text: Mapping[str, str]) -> None:
        if event != "alert.raised" and event not in _EXCEPTIONS:
            return
        kind = text.get("reason", "") if event == "alert.raised" else event
        place = (text.get("account", ""), text.get("secret", "") or text.get("key_id", ""), kind)
        span = self.exceptions.setdefault(place, Span(at, at))
        if at >= span.last:
            span.detail = (text.get("detail") or text.get("error", ""))[:1000]
        span.first, span.last = min(span.first, at), max(span.last, at)


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class Lines(io.RawIOBase):
    """Lines that are made one by one, as a file."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines: Iterator[bytes] = iter(lines)

    def readline(self, _size: int | None = -1, /) -> bytes:
        """Return the next line, or nothing at the end."""
        return next(self._lines, b"")


def open_lines(path: Path) -> BinaryIO:
    """Open an audit file, compressed by gzip or not.

    :raises ConfigurationError: it can't be read.
    """
    try:
        if not path.is_file():
            raise OSError(None, "not a regular file")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the audit file {printable(str(path))} can't be read: {getattr(error, 'strerror', None) or error}",
            advice="Use a file that --audit-file wrote; it may be compressed by gzip.",
        ) from None
    if file.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    return file
