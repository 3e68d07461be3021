"""What audit lines say about keys, emergencies and errors. Lines are untrusted input.

Memory grows with keys, emergencies and kinds of errors, not with lines. Each fact is stored once by its key, so lines
that are read twice change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from rotator.audit_events import Event
from rotator.reasons import Reason
from rotator.telemetry.audit import AuditOutcome
from rotator.telemetry.audit_verify import AuditChecker, VerifyReport

TableRow = dict[str, Any]
_HOUR: Final = timedelta(hours=1)
_EVERY: Final = 5_000
_LONGEST: Final = 1_000
_FAILURES: Final = frozenset({Event.ROTATION_FAILED, Event.REVOCATION_FAILED, Event.KEY_REJECTED})
_STEPS: Final[dict[str, str]] = {
    Event.KEY_CREATED: "created_at",
    Event.KEY_ADOPTED: "adopted_at",
    Event.KEY_VERIFIED: "verified_at",
    Event.SECRET_PROMOTED: "promoted_at",
    Event.SECRET_ROLLED_BACK: "promoted_at",
    Event.KEY_RETIRING: "retired_at",
    Event.KEY_REVOKED: "revoked_at",
}
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class DoneStep(NamedTuple):
    """When a step was done, by whom and why."""

    at: datetime
    actor: str
    trigger: str
    reason: str
    incident: str
    run_id: str


@dataclass(slots=True)
class KeyLife:
    """One key.

    :param steps: each step by its column's name: the last one in the period, else the last one.
    :param last: the last time of each step's success and attempt.
    """

    account: str
    key_id: str
    secret: str = ""
    revoke_due_at: str = ""
    steps: dict[str, DoneStep] = field(default_factory=dict)
    last: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def done(self, step: str) -> datetime | None:
        """Return the last time at which a step was done."""
        return self.last.get((step, AuditOutcome.SUCCESS))

    def tried(self, step: str, since: datetime | None) -> bool:
        """Whether a step was attempted after a time, so that it may be done without a line that says so."""
        return self.last.get((step, AuditOutcome.ATTEMPT), _NEVER) > (since or _NEVER)


@dataclass(slots=True)
class Creation:
    """What the lines say of the keys with one version's id in their names: the attempts, and the ids of those made."""

    attempts: set[tuple[str, int]] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Source:
    """A file or log group, and what its lines cover."""

    name: str
    report: VerifyReport = field(default_factory=lambda: VerifyReport(Path()))
    in_period: int = 0
    unusable: int = 0
    other_deployments: int = 0
    first: datetime | None = None
    last: datetime | None = None


class History:
    """Everything that the lines of one deployment say.

    :param begin: the period's start; ``end`` is the first moment after it.
    """

    def __init__(self, deployment: str, begin: datetime, end: datetime) -> None:
        self.deployment, self.begin, self.end = deployment, begin, end
        self.sources: list[Source] = []
        self.keys: dict[tuple[str, str], KeyLife] = {}
        self.emergencies: dict[tuple[str, ...], TableRow] = {}
        self.exceptions: dict[tuple[str, str, str], TableRow] = {}
        self.promotions: dict[tuple[str, str], tuple[datetime, str]] = {}
        self.creations: dict[tuple[str, str], Creation] = {}
        self._hours: set[int] = set()
        self._checker: AuditChecker | None = None

    def read(
        self, name: str, readline: Callable[[int], bytes], on_time: Callable[[datetime], None] = lambda _at: None
    ) -> None:
        """Read a source, a line at a time. A run may have begun in the source before it.

        :param readline: as a file's; ``on_time`` gets the newest time now and then.
        """
        source = Source(name)
        self.sources.append(source)
        lines = 0

        def take(line: dict[str, Any]) -> None:
            nonlocal lines
            lines += 1
            self._take(source, line)
            if lines % _EVERY == 0:
                on_time(source.last or self.begin)

        self._checker = AuditChecker(Path(name), take, self._checker, since=self.begin)
        self._checker.read(readline)
        source.report = self._checker.report()

    def has(self, moment: object) -> bool:
        """Whether it is a time in the period."""
        return isinstance(moment, datetime) and self.begin <= moment < self.end

    def gaps(self, longest: timedelta, now: datetime) -> list[tuple[datetime, datetime]]:
        """Return the parts of the period, to the hour, in which no line was written for longer than ``longest``.

        :param now: what comes after it is no gap.
        """
        end = min(self.end, now)
        hours = [at for hour in sorted(self._hours) if (at := self.begin + hour * _HOUR) < end]
        found, since = [], self.begin
        for at in [*hours, end]:
            if at - since > longest or not hours:
                found.append((since, at))
            since = at + _HOUR
        return found

    def _take(self, source: Source, line: dict[str, Any]) -> None:
        def text(name: str) -> str:
            value = line.get(name)
            return value[:_LONGEST] if isinstance(value, str) else ""

        if text("secret") and text("region"):  # two stores may have secrets of one name
            line["secret"] = f"{text('secret')} ({text('aws_account')} {text('region')})"
        at, deployment = _time(text("timestamp")), text("deployment")
        if at is None or not deployment:
            source.unusable += 1
            return
        if deployment != self.deployment:
            source.other_deployments += 1
            return
        source.first, source.last = min(source.first or at, at), max(source.last or at, at)
        event, outcome, key_id = text("event"), text("outcome"), text("key_id")
        if self.has(at):
            source.in_period += 1
            self._hours.add((at - self.begin) // _HOUR)
            kind = text("reason") if event == Event.ALERT_RAISED else event if event in _FAILURES else ""
            if kind == Reason.HOLD or (kind and outcome in (AuditOutcome.FAILURE, AuditOutcome.DENIED)):
                self._exception(at, kind, text)
        if event in _STEPS and outcome in (AuditOutcome.ATTEMPT, AuditOutcome.SUCCESS):
            if event == Event.KEY_CREATED and text("version_id"):
                creation = self.creations.setdefault((text("account"), text("version_id")), Creation())
                if outcome == AuditOutcome.ATTEMPT:
                    creation.attempts.add((text("run_id"), line["seq"]))
                else:
                    creation.made.add(key_id)
            if key_id:
                self._step(at, _STEPS[event], outcome, text)
        if event in (Event.EMERGENCY_REQUESTED, Event.EMERGENCY_COMPLETED):
            self._emergency(at, event, text, line.get("revoked"))

    def _step(self, at: datetime, step: str, outcome: str, text: Callable[[str], str]) -> None:
        account, key_id, secret = text("account"), text("key_id"), text("secret")
        life = self.keys.setdefault((account, key_id), KeyLife(account, key_id))
        newest = life.last.get((step, outcome), at) <= at
        if newest:
            life.last[step, outcome] = at
        if outcome == AuditOutcome.ATTEMPT:
            return
        life.secret = secret or life.secret
        if newest and step == "retired_at":
            life.revoke_due_at = text("revoke_at")
        known = life.steps.get(step)
        if known is None or (self.has(known.at), known.at) <= (self.has(at), at):
            life.steps[step] = DoneStep(at, *(text(name) for name in DoneStep._fields[1:]))
        if step in ("promoted_at", "adopted_at"):
            self.promotions[account, secret] = max(self.promotions.get((account, secret), (at, key_id)), (at, key_id))

    def _emergency(self, at: datetime, event: str, text: Callable[[str], str], revoked: object) -> None:
        names = ("run_id", "account", "secret", "key_id")  # one run may revoke several leaked keys
        place = tuple(text(name) for name in names)
        begun: TableRow = dict(zip(names, place, strict=True)) | {"outcome": "no end in the lines"}
        row = self.emergencies.setdefault(place, begun)
        if event == Event.EMERGENCY_REQUESTED:
            row |= {"requested_at": at, "strategy": text("strategy")}
            row |= {name: text(name) for name in ("actor", "reason", "incident")}
            return
        keys = [each for each in revoked if isinstance(each, str)] if isinstance(revoked, list) else []
        row |= {"completed_at": at, "outcome": text("outcome"), "error": text("error"), "revoked": " ".join(keys)}

    def _exception(self, at: datetime, kind: str, text: Callable[[str], str]) -> None:
        place = (text("account"), text("secret") or text("key_id"), kind)
        row = self.exceptions.setdefault(place, {"first_at": at, "last_at": at, "detail": ""})
        if at >= row["last_at"]:
            row["detail"] = text("detail") or text("error")
        row |= {"first_at": min(row["first_at"], at), "last_at": max(row["last_at"], at)}


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
