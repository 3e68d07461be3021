"""What became of an emergency, or would: the same for a dry run and for the execution, and the same JSON for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any, Final

from rotator.engine.emergency.targets import EmergencyPlan, Revocation, Strategy
from rotator.model import Key

CREATED: Final = "created"
PROMOTED: Final = "promoted"
REVOKED: Final = "revoked"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done (in a dry run: would be), or failed.

    :param what: ``created``, ``promoted`` or ``revoked``.
    :param key_id: the new key, or the one that is revoked.
    :param after: how long after the beginning.
    :param note: for a revoked key, how far that was verified.
    :param error: why it failed, as a sentence.
    :param revocation: the revoked key's role, version and time.
    :param verified: the revoked key was used once more and refused; ``None`` where that was not tried.
    """

    what: str
    secret: str
    key_id: str | None
    after: timedelta
    note: str = ""
    error: str | None = None
    revocation: Revocation | None = None
    verified: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None


@dataclass(slots=True)
class EmergencyReport:
    """What became of one plan.

    :param errors: sentences for the operator, without any secret value.
    :param keys: the keys as Infobip showed them last, by id.
    """

    account: str
    strategy: Strategy
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    keys: Mapping[str, Key] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, plan: EmergencyPlan, *, dry_run: bool) -> EmergencyReport:
        """An empty one."""
        return cls(plan.account, plan.strategy, dry_run, plan.notes)

    @property
    def ok(self) -> bool:
        """Whether every key is revoked and every secret that should have a new key has one."""
        return not self.errors

    @property
    def revoked(self) -> tuple[str, ...]:
        """The keys that are revoked now."""
        return tuple(step.key_id for step in self._done(REVOKED) if step.key_id)

    @property
    def replaced(self) -> tuple[str, ...]:
        """The secrets that have a new key."""
        return tuple(step.secret for step in self._done(PROMOTED))

    def _done(self, what: str) -> list[Step]:
        return [step for step in self.steps if step.what == what and step.ok]


def emergency_document(
    reports: Sequence[EmergencyReport], strategy: Strategy, incident: str | None, *, dry_run: bool
) -> dict[str, Any]:
    """``revoke --json``, and the answer of the handler ``revoke``: everything of all reports."""
    steps = [(report, step) for report in reports for step in report.steps]
    return {
        "strategy": str(strategy),
        "incident": incident,
        "dry_run": dry_run,
        "keys": [_key(report, step) for report, step in steps if step.what == REVOKED],
        "replacements": [_replacement(report, step) for report, step in steps if step.what == PROMOTED],
        "errors": [error for report in reports for error in report.errors],
        "notes": [note for report in reports for note in report.notes],
    }


def _key(report: EmergencyReport, step: Step) -> dict[str, Any]:
    item = step.revocation
    revoke_at = item.revoke_at if item is not None else None
    return {
        **_common(report, step, REVOKED),
        "role": item.role if item is not None else None,
        "verified": step.verified,
        "version_id": item.version_id if item is not None else None,
        "revoke_at": f"{revoke_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if revoke_at is not None else None,
    }


def _replacement(report: EmergencyReport, step: Step) -> dict[str, Any]:
    return _common(report, step, PROMOTED)


def _common(report: EmergencyReport, step: Step, done: str) -> dict[str, Any]:
    return {
        "account": report.account,
        "secret": step.secret or None,
        "key_id": step.key_id,
        "outcome": "failed" if not step.ok else "planned" if report.dry_run else done,
        "error": step.error,
        "detail": step.note or None,
        "seconds": round(step.after.total_seconds(), 3),
    }
