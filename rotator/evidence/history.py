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
_LONGEST: Final = 4_000
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
_EMERGENCY: Final[dict[str, tuple[str, ...]]] = {
    Event.EMERGENCY_REQUESTED: ("requested_at", "actor", "reason", "incident", "strategy"),
    Event.EMERGENCY_COMPLETED: ("completed_at", "outcome", "error", "revoked"),
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


class History:
    """Everything that the lines of one deployment say.

    :param begin: the period's start; ``end`` is the first moment after it.
    """

    def __init__(self, deployment: str, begin: datetime, end: datetime) -> None:
        self.deployment, self.begin, self.end = deployment, begin, end
        self.sources: list[TableRow] = []  # files or log groups, and what their lines cover
        self.reports: list[VerifyReport] = []  # of each source
        self.keys: dict[tuple[str, str], KeyLife] = {}  # by account and id
        self.emergencies: dict[tuple[str, ...], TableRow] = {}
        self.exceptions: dict[tuple[str, str, str], TableRow] = {}  # by account, secret (or key) and kind
        self.promotions: dict[tuple[str, str], tuple[datetime, str]] = {}  # the last key of each account's secret
        # By account and version id: the keys that were made, and the attempts, each by its run and line.
        self.creations: dict[tuple[str, str], dict[str, set[str]]] = {}
        self._hours: set[int] = set()
        self._checker: AuditChecker | None = None

    def read(
        self, name: str, readline: Callable[[int], bytes], on_time: Callable[[datetime], None] = lambda _at: None
    ) -> None:
        """Read a source, a line at a time. A run may have begun in the source before it.

        :param readline: as a file's; ``on_time`` gets the newest time now and then.
        """
        source: TableRow = {"name": name, "lines_in_period": 0, "unusable_lines": 0, "other_deployment_lines": 0}
        source |= {"from": None, "to": None}
        self.sources.append(source)
        lines = 0

        def take(line: dict[str, Any]) -> None:
            nonlocal lines
            lines += 1
            self._take(source, line)
            if lines % _EVERY == 0:
                on_time(source["to"] or self.begin)

        self._checker = AuditChecker(Path(name), take, self._checker, since=self.begin)
        self._checker.read(readline)
        self.reports.append(self._checker.report())

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

    def _take(self, source: TableRow, line: dict[str, Any]) -> None:
        def text(name: str) -> str:
            value = line.get(name)
            if isinstance(value, list):
                value = " ".join(each for each in value if isinstance(each, str))
            return value[:_LONGEST] if isinstance(value, str) else ""

        if text("secret") and text("region"):  # two stores may have secrets of one name
            line["secret"] = f"{text('secret')} ({text('aws_account')} {text('region')})"
        at, deployment = _time(text("timestamp")), text("deployment")
        if at is None or not deployment:
            source["unusable_lines"] += 1
            return
        if deployment != self.deployment:
            source["other_deployment_lines"] += 1
            return
        source["from"], source["to"] = min(source["from"] or at, at), max(source["to"] or at, at)
        event, outcome = text("event"), text("outcome")
        if self.has(at):
            source["lines_in_period"] += 1
            self._hours.add((at - self.begin) // _HOUR)
            kind = text("reason") if event == Event.ALERT_RAISED else event if event in _FAILURES else ""
            if kind == Reason.HOLD or (kind and outcome in (AuditOutcome.FAILURE, AuditOutcome.DENIED)):
                self._exception(at, kind, text)
        if event in _EMERGENCY:
            self._emergency(at, event, text)
        if event in _STEPS and outcome in (AuditOutcome.ATTEMPT, AuditOutcome.SUCCESS):
            if event == Event.KEY_CREATED and text("version_id"):
                one = text("key_id") if outcome == AuditOutcome.SUCCESS else f"{text('run_id')} {line['seq']}"
                place = text("account"), text("version_id")
                self.creations.setdefault(place, {}).setdefault(outcome, set()).add(one)
            if text("key_id"):
                self._step(at, _STEPS[event], outcome, text)

    def _step(self, at: datetime, step: str, outcome: str, text: Callable[[str], str]) -> None:
        account, key_id, secret = text("account"), text("key_id"), text("secret")
        life = self.keys.get((account, key_id)) or KeyLife(account, key_id)
        self.keys[account, key_id] = life
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

    def _emergency(self, at: datetime, event: str, text: Callable[[str], str]) -> None:
        names = ("run_id", "account", "secret", "key_id")  # one run may revoke several leaked keys
        place = tuple(text(name) for name in names)
        begun: TableRow = dict(zip(names, place, strict=True)) | {"outcome": "no end in the lines"}
        when, *fields = _EMERGENCY[event]
        self.emergencies.setdefault(place, begun).update({when: at} | {name: text(name) for name in fields})

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
