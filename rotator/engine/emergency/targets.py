"""The plain data of an emergency: the target, the plan, the report and its JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from rotator.engine.observe import Fleet
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.labels import key_label, parse_key_label, parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.tags import spec_or_none
from rotator.secret import Secret


class Role(StrEnum):
    """A key's role in its secret."""

    CURRENT = "current"
    RETIRING = "retiring"
    SUPERSEDED = "superseded"
    PENDING = "pending"
    ORPHAN = "orphan"


class StepKind(StrEnum):
    """What a step does: make a key, make it current, or revoke one."""

    CREATED = "created"
    PROMOTED = "promoted"
    REVOKED = "revoked"


class Strategy(StrEnum):
    """What comes first: a new key for the consumers, or the revocation."""

    REPLACE_FIRST = "replace-first"
    REVOKE_FIRST = "revoke-first"
    REVOKE_ONLY = "revoke-only"


@dataclass(frozen=True, slots=True)
class Target:
    """What leaked: a secret, a key id with its account, or a value (perhaps with its account)."""

    secret: str | None = None
    key_id: str | None = None
    account: str | None = None
    leaked: Secret | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key to be revoked.

    :param version_id: the version that holds it; ``None`` if no label names one.
    :param revoke_at: when its grace period would have ended.
    """

    key_id: str
    role: Role
    secret: str
    arn: str
    version_id: str | None = None
    revoke_at: datetime | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """Audit fields. The context adds the account, and the reason and the incident are bound to every line."""
        return {"secret": self.secret, "version_id": self.version_id, "key_id": self.key_id}


@dataclass(frozen=True, slots=True)
class Named:
    """A key that the operator named by its id, or by its value; ``key`` is set if Infobip was asked about it."""

    key_id: str
    key: Key | None = None
    value: Secret | None = None


@dataclass(frozen=True, slots=True)
class EmergencyPlan:
    """The plan for one account.

    :param leak: the key that was named by its id or value; ``None`` if the whole secret was.
    :param revocations: the key that was named (or else the current one) first.
    :param replaced: the secrets that get a new key: the one concerned, and others that hold a key to be revoked.
    :param notes: sentences for the operator, without a full stop.
    :param secret: the secret concerned; ``None`` for an orphan, or if nothing is to be done.
    :param unlabelled: the secret's current version carries no key label; the entry here has it.
    :param repeated: this incident has made the replacement already; only keys older than that are revoked.
    """

    account: str
    strategy: Strategy
    fleet: Fleet
    leak: Named | None = None
    revocations: tuple[Revocation, ...] = ()
    replaced: tuple[SecretEntry, ...] = ()
    notes: tuple[str, ...] = ()
    secret: SecretEntry | None = None
    unlabelled: bool = False
    repeated: bool = False

    @property
    def named(self) -> str | None:
        """The id of the key that was named."""
        return self.leak.key_id if self.leak is not None else None

    @property
    def named_revocation(self) -> Revocation | None:
        """The named key, if it is among those to be revoked."""
        return next((item for item in self.revocations if item.key_id == self.named), None)

    def is_main(self, arn: str) -> bool:
        """Whether that is the secret concerned."""
        return self.secret is not None and self.secret.arn == arn


# ---- what became of it, or would: the same for a dry run and for the execution ---------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done (in a dry run: would be), or failed.

    :param key_id: the new key, or the one that is revoked.
    :param after: how long after the beginning.
    :param note: for a revoked key, how far that was verified.
    :param error: why it failed, as a sentence.
    :param revocation: the revoked key's role, version and time.
    :param verified: the revoked key was used once more and refused; ``None`` if that was not tried.
    """

    what: StepKind
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
    """The outcome of one plan.

    :param errors: sentences for the operator, without any secret value.
    :param keys: the keys as Infobip showed them last, by id.
    """

    account: str
    strategy: Strategy
    dry_run: bool = False
    notes: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    keys: Mapping[str, Key] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether every key is revoked and every secret that should have a new key has one."""
        return not self.errors

    @property
    def revoked(self) -> tuple[str, ...]:
        """The keys that are revoked now."""
        return tuple(step.key_id for step in self._done(StepKind.REVOKED) if step.key_id)

    @property
    def replaced(self) -> tuple[str, ...]:
        """The secrets that have a new key."""
        return tuple(step.secret for step in self._done(StepKind.PROMOTED))

    def _done(self, what: StepKind) -> list[Step]:
        return [step for step in self.steps if step.what == what and step.ok]


def emergency_document(
    reports: Sequence[EmergencyReport], strategy: Strategy, incident: str | None, run_id: str, *, dry_run: bool
) -> dict[str, Any]:
    """``revoke --json``, and the answer of the handler ``revoke``: everything of all reports."""
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


def _key(report: EmergencyReport, step: Step) -> dict[str, Any]:
    item = step.revocation
    assert item is not None
    return {
        **_common(report, step),
        "role": item.role,
        "verified": step.verified,
        "version_id": item.version_id,
        "revoke_at": f"{item.revoke_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if item.revoke_at is not None else None,
    }


def _common(report: EmergencyReport, step: Step) -> dict[str, Any]:
    return {
        "account": report.account,
        "secret": step.secret or None,
        "key_id": step.key_id,
        "outcome": "failed" if not step.ok else "planned" if report.dry_run else "done",
        "error": step.error,
        "detail": step.note or None,
        "seconds": round(step.after.total_seconds(), 3),
    }


# ---- what labels say ------------------------------------------------------------------------------------------------


def revocations_of(entry: SecretEntry) -> Iterator[Revocation]:
    """Every key that a secret's labels name: the current one first, each once."""
    life = read_lifecycle(entry)
    seen: set[str] = set()
    # A pending key was stored and never promoted: no consumer needs it, and a reader of the secret could read it too.
    for key_id, role, version_id, revoke_at in (
        (life.current_key, Role.CURRENT, life.current_version, None),
        *((item.key_id, Role.RETIRING, item.version_id, item.revoke_at) for item in life.retiring),
        (life.pending_key, Role.PENDING, life.pending_version, None),
        *((key_id, Role.SUPERSEDED, version, None) for key_id, version in sorted(life.holders.items())),
    ):
        if key_id is not None and key_id not in seen:
            seen.add(key_id)
            yield Revocation(key_id, role, entry.name, entry.arn, version_id, revoke_at)


def current_of(entry: SecretEntry) -> Revocation | None:
    """The key that consumers get, if a label names it."""
    return next((item for item in revocations_of(entry) if item.role == Role.CURRENT), None)


def is_unlabelled(entry: SecretEntry) -> bool:
    """Whether it has a current value whose key no label names."""
    return entry.deleted_at is None and read_lifecycle(entry).unlabelled


def with_label(entry: SecretEntry, key_id: str) -> SecretEntry:
    """Return the entry as if its current version carried the label of the key that it was found to hold."""
    current = read_lifecycle(entry).current_version
    if current is None:
        return entry
    label = key_label(key_id)
    versions = {version: labels - {label} for version, labels in entry.versions.items()}
    versions[current] = frozenset(each for each in versions[current] if parse_key_label(each) is None) | {label}
    return replace(entry, versions=versions)


def without_keys(entry: SecretEntry, key_ids: Collection[str]) -> SecretEntry:
    """Return the entry without the labels of these keys."""
    removed = set(map(key_label, key_ids))

    def stays(label: str) -> bool:
        parsed = parse_retire_label(label)
        return label not in removed and (parsed is None or parsed[0] not in key_ids)

    versions = {version: frozenset(filter(stays, labels)) for version, labels in entry.versions.items()}
    return replace(entry, versions=versions)


def spec_of(entry: SecretEntry | None) -> Spec:
    """A secret's spec, or the defaults if it can't be read."""
    spec = spec_or_none(entry.tags) if entry is not None else None
    return spec or Spec(account="")
