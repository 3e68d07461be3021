"""Data classes of an emergency: target, plan, report, and their JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from rotator.message import utc_text
from rotator.model import Key, Location, OfSecret, SecretEntry
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.suspects import Suspects
from rotator.reasons import Reason
from rotator.secret import Secret


class KeyRole(StrEnum):
    """A key's role in the secret that contains it."""

    CURRENT = "current"
    """In the tagged field of ``AWSCURRENT``."""
    RETIRING = "retiring"
    SUPERSEDED = "superseded"
    PENDING = "pending"
    OTHER_FIELD = "other-field"
    """In another field than the tagged one, of any version."""
    ORPHAN = "orphan"
    """Created by this deployment; no secret here contains it."""
    UNMANAGED = "unmanaged"
    """Not created by this deployment; no secret here contains it."""


class StepKind(StrEnum):
    """What a step does: create a key, make it current, or revoke one."""

    CREATED = "created"
    PROMOTED = "promoted"
    REVOKED = "revoked"


class Strategy(StrEnum):
    """Whether secrets get a new key, and whether before the old ones are revoked."""

    REPLACE_FIRST = "replace-first"
    REVOKE_FIRST = "revoke-first"
    REVOKE_ONLY = "revoke-only"

    @property
    def replaces(self) -> bool:
        """Whether secrets that lose their current key get a new one."""
        return self in (Strategy.REPLACE_FIRST, Strategy.REVOKE_FIRST)

    @property
    def revokes_at_once(self) -> bool:
        """Whether nothing is replaced before the keys are revoked."""
        return self in (Strategy.REVOKE_FIRST, Strategy.REVOKE_ONLY)


@dataclass(frozen=True, slots=True)
class Target:
    """What leaked: a secret, a key id with its account, or a value (perhaps with its account)."""

    secret: str | None = None
    key_id: str | None = None
    account: str | None = None
    leaked: Secret | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A key in the account in which Infobip showed it; it is read, changed and verified only there.

    :param value: the key's value, if it is known.
    """

    account: str
    key: Key
    value: Secret | None = None

    @classmethod
    def unread(cls, account: str, key_id: str) -> Located:
        """A key of which only the id is known."""
        return cls(account, Key(key_id, "", None, True, None, None))

    @property
    def id(self) -> str:
        """The key's id."""
        return self.key.id


@dataclass(frozen=True, slots=True)
class Suspect(OfSecret):
    """A key to revoke, and where it was found.

    :param secret: the name of the secret that contains it, or that is part of its name at Infobip; ``""`` if none does.
    :param arn: that secret's ARN; ``""`` if it is not seen here.
    :param version_id: the version that contains it.
    :param revoke_at: when its grace period would have ended.
    """

    located: Located
    role: KeyRole
    secret: str = ""
    arn: str = ""
    version_id: str | None = None
    revoke_at: datetime | None = None
    location: Location | None = None

    @classmethod
    def of(cls, entry: SecretEntry, version: str, located: Located, *, tagged: bool = True) -> Suspect:
        """A key with its role in one version of a secret.

        :param tagged: whether the tagged field contains it, or a label says so.
        """
        life, role = read_lifecycle(entry), KeyRole.SUPERSEDED
        revoke_at = next((item.revoke_at for item in life.retiring if item.key_id == located.id), None)
        if not tagged:
            role = KeyRole.OTHER_FIELD
        elif version == life.current_version:
            role = KeyRole.CURRENT
        elif version in (life.pending_version, life.foreign_pending):
            role = KeyRole.PENDING
        elif revoke_at is not None:
            role = KeyRole.RETIRING
        return cls(located, role, entry.name, entry.arn, version, revoke_at, entry.location)

    @property
    def key(self) -> Key:
        """The key as Infobip showed it."""
        return self.located.key

    @property
    def account(self) -> str:
        """The account whose key it is."""
        return self.located.account

    @property
    def shown(self) -> str:
        """The key and its secret, for messages."""
        return f"key {self.key.id} of {self.title}" if self.secret else f"key {self.key.id}"

    @property
    def fields(self) -> dict[str, Any]:
        """Audit fields. The context adds the account, and the reason and the incident are bound to every line."""
        return {**self.secret_fields, "version_id": self.version_id, "key_id": self.key.id}


@dataclass(frozen=True, slots=True)
class EmergencyPlan:
    """The work of one emergency.

    :param account: the account of the first suspect; without one, the account of the named secret's tag.
    :param named: the key that a person named by its id or value; ``None`` if a secret was named.
    :param secret: the secret that a person named; ``None`` if a key was.
    :param suspects: the keys to revoke: the named key, or the secret's keys with the current one first.
    :param rule: decides which keys are suspect, those found later too.
    :param replaced: the secrets that get a new key.
    :param notes: sentences for the operator, without a full stop.
    :param disabled: keys of the named secret that are already disabled; each is verified to be rejected.
    :param unproven: keys that only a label of the secret names, each with its error; they stay enabled.
    :param errors: what is unknown, as sentences.
    """

    account: str
    strategy: Strategy
    rule: Suspects
    named: Suspect | None = None
    secret: SecretEntry | None = None
    suspects: tuple[Suspect, ...] = ()
    replaced: tuple[SecretEntry, ...] = ()
    notes: tuple[str, ...] = ()
    disabled: tuple[Suspect, ...] = ()
    unproven: tuple[tuple[Suspect, str], ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def secret_fields(self) -> dict[str, Any]:
        """The secret that was named, or the one that contains the named key, in audit lines and events."""
        found = self.secret or self.named
        return {"secret": None} if found is None else found.secret_fields


# ---- the outcome: the same for a dry run and for the execution -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmergencyStep(OfSecret):
    """One change that was made (in a dry run: would be), or failed.

    :param key_id: the new key, or the one that is revoked.
    :param after: how long after the start; set when it is added to the report.
    :param note: for a revoked key, how it was verified.
    :param error: why it failed, as a sentence; ``reason`` is that as a constant, where there is one.
    :param suspect: the revoked key.
    :param verified: Infobip shows the revoked key disabled, and its value, if it is known, is rejected; ``None`` if
        that was not verified.
    """

    what: StepKind
    account: str
    secret: str
    key_id: str | None
    note: str = ""
    error: str | None = None
    suspect: Suspect | None = None
    verified: bool | None = None
    reason: Reason | None = None
    after: timedelta = timedelta(0)
    location: Location | None = None

    @classmethod
    def revoking(
        cls, suspect: Suspect, note: str = "", error: str | None = None, reason: Reason | None = None
    ) -> EmergencyStep:
        """The revocation of one suspect."""
        key_id = suspect.key.id
        shared = (suspect.account, suspect.secret, key_id, note, error, suspect)
        return cls(StepKind.REVOKED, *shared, reason=reason, location=suspect.location)

    @classmethod
    def replacing(
        cls,
        what: StepKind,
        account: str,
        entry: SecretEntry,
        key_id: str | None,
        note: str = "",
        error: str | None = None,
        reason: Reason | None = None,
    ) -> EmergencyStep:
        """A step of one secret's replacement."""
        return cls(what, account, entry.name, key_id, note, error, reason=reason, location=entry.location)

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None


@dataclass(slots=True)
class EmergencyReport:
    """The outcome of one plan.

    :param errors: sentences for the operator, without any secret value.
    :param on_step: called with each step as soon as it is done.
    """

    account: str
    strategy: Strategy
    dry_run: bool = False
    notes: list[str] = field(default_factory=list)
    steps: list[EmergencyStep] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    on_step: Callable[[EmergencyStep], None] = field(default=lambda _: None, repr=False)

    def add(self, step: EmergencyStep) -> None:
        """Add a step; its error, if it has one, is one of the report."""
        self.steps.append(step)
        if step.error is not None:
            self.errors.append(step.error)
        self.on_step(step)

    @property
    def ok(self) -> bool:
        """Whether every key is revoked and every secret that should have a new key has one."""
        return not self.errors

    @property
    def revoked(self) -> tuple[str, ...]:
        """The revoked keys."""
        return tuple(step.key_id for step in self._done(StepKind.REVOKED) if step.key_id)

    @property
    def replaced(self) -> tuple[str, ...]:
        """The names of the secrets that have a new key."""
        return tuple(step.secret for step in self._done(StepKind.PROMOTED))

    @property
    def replaced_titles(self) -> tuple[str, ...]:
        """The secrets that have a new key, for people."""
        return tuple(step.title for step in self._done(StepKind.PROMOTED))

    def _done(self, what: StepKind) -> list[EmergencyStep]:
        return [step for step in self.steps if step.what == what and step.ok]


def emergency_document(
    reports: Sequence[EmergencyReport], strategy: Strategy, incident: str | None, run_id: str, *, dry_run: bool
) -> dict[str, Any]:
    """``revoke --json``, and the response of the handler ``revoke``: all reports in one document."""
    steps = [(report, step) for report in reports for step in report.steps]
    return {
        "strategy": str(strategy),
        "incident": incident,
        "dry_run": dry_run,
        "keys": [_key(report, step) for report, step in steps if step.what == StepKind.REVOKED],
        "replacements": [_common(report, step) for report, step in steps if step.what == StepKind.PROMOTED],
        "errors": [error for report in reports for error in report.errors],
        "notes": [note for report in reports for note in report.notes],
        "run_id": run_id,
    }


def _key(report: EmergencyReport, step: EmergencyStep) -> dict[str, Any]:
    suspect = step.suspect
    assert suspect is not None
    return {
        **_common(report, step),
        "role": suspect.role,
        "verified": step.verified if report.dry_run else bool(step.verified),
        "version_id": suspect.version_id,
        "revoke_at": suspect.revoke_at and utc_text(suspect.revoke_at),
    }


def _common(report: EmergencyReport, step: EmergencyStep) -> dict[str, Any]:
    return {
        "account": step.account,
        **step.secret_fields,
        "key_id": step.key_id,
        "outcome": "failed" if not step.ok else "planned" if report.dry_run else "done",
        "error": step.error,
        "detail": step.note or None,
        "seconds": round(step.after.total_seconds(), 3),
    }
