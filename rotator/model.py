"""What the planner sees and what it says. Plain frozen data; times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from rotator.message import NO_MESSAGE, Message

BEGINS_WITHIN = timedelta(minutes=1)
"""A key whose ``validFrom`` lies that little ahead counts as begun: clocks differ, and Infobip has whole seconds."""


class ActionKind(StrEnum):
    """What can be done to a secret or a key (``plan --json``: ``kind``)."""

    ROTATE = "rotate"
    RESUME = "resume"
    LABEL = "label"
    RETIRE = "retire"
    REVOKE = "revoke"


class Reason(StrEnum):
    """Why something is done or left; the same word in plan, log, audit line, metric and status."""

    # rotate
    FIRST_KEY = "first-key"
    KEY_MISSING = "key-missing"
    KEY_DISABLED = "key-disabled"
    EXPIRED = "expired"
    EXPIRING = "expiring"
    MAX_AGE = "max-age"
    CAPACITY = "capacity"
    REQUESTED = "requested"
    EMERGENCY = "emergency"
    # resume
    PENDING = "pending"
    # label, retire
    UNADOPTED = "unadopted"
    SUPERSEDED = "superseded"
    STALE_LABEL = "stale-label"
    MISLABELLED = "mislabelled"
    # revoke
    GRACE_OVER = "grace-over"
    KEY_NOT_ACTIVE = "key-not-active"
    ORPHAN = "orphan"
    # skipped
    HOLD = "hold"
    MISCONFIGURED = "misconfigured"
    EMPTY = "empty"
    REPLICA = "replica"
    OWNED = "owned-by-service"
    DELETED = "pending-deletion"
    FOREIGN_ROTATION = "rotation-in-progress"
    UNREADABLE = "unreadable"
    WINDOW = "window"
    DAILY_LIMIT = "daily-limit"
    LABEL_LIMIT = "label-limit"
    NO_SCOPES = "no-scopes"
    SHARED_KEY = "shared-key"
    BROKEN_CURRENT = "broken-current"
    NOT_ADOPTED = "not-adopted"
    MASS_REVOCATION = "mass-revocation"
    MASS_MISSING = "mass-missing"
    UNKNOWN_ACCOUNT = "unknown-account"
    DUPLICATE_MANAGEMENT = "duplicate-management"
    CLOCK_SKEW = "clock-skew"
    INCONSISTENT = "inconsistent-labels"
    UNKNOWN_KEY_EXPIRING = "unknown-key-expiring"
    ORPHAN_UNPROVEN = "orphan-unproven"
    KEY_REENABLED = "key-re-enabled"
    OLD_CREDENTIALS = "management-credentials-old"
    NOT_IN_TIME = "not-in-time"
    LISTING_INCOMPLETE = "listing-incomplete"
    UNPROVEN_LABEL = "unproven-label"
    FOREIGN_KEY = "foreign-key"
    OVERDUE = "overdue"
    REVOCATION_LIMIT = "revocation-limit"
    NO_EXPIRY = "no-expiry"
    SHARED_ACCOUNT = "shared-account"
    FIELD_OVERWRITTEN = "field-overwritten"


class Severity(StrEnum):
    """An ``error`` is to be fixed, and one about a whole account fails its sweep; a ``warning`` is only reported."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Platform:
    """A CPaaS X application and entity link of a key, without Infobip's read-only ``key``."""

    application_id: str
    entity_id: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as Infobip lists it, without its value.

    ``scopes`` and ``permissions`` are ``None`` where the answer did not hold them (not readable is not empty).
    ``value_readable`` says that the answer held what looks like the real value rather than a mask.
    """

    id: str
    name: str
    account_id: str | None
    enabled: bool
    valid_from: datetime | None
    valid_to: datetime | None
    scopes: frozenset[str] | None = None
    permissions: frozenset[str] | None = None
    allowed_ips: frozenset[str] = frozenset()
    platform: frozenset[Platform] = frozenset()
    value_readable: bool = False

    def expired(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.valid_to is not None and self.valid_to <= now

    def begun(self, now: datetime) -> bool:
        """Whether its ``validFrom`` has come, give or take :data:`BEGINS_WITHIN`."""
        return self.valid_from is None or self.valid_from <= now + BEGINS_WITHIN

    def alive(self, now: datetime) -> bool:
        """Whether it authenticates as far as Infobip's list shows: enabled, begun and not expired."""
        return self.enabled and self.begun(now) and not self.expired(now)


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """A secret as ``ListSecrets`` or ``DescribeSecret`` gives it: names, tags and labels, never a value.

    ``versions`` maps version ids to their staging labels. ``current`` etc. are derived in :mod:`rotator.policy.labels`.
    ``last_accessed`` is the day on which its value was read last, ``None`` where the store does not have it.
    ``lives`` is what :func:`rotator.policy.lifecycle.read_lifecycle` made of the labels, kept beside them.
    """

    arn: str
    name: str
    tags: Mapping[str, str]
    versions: Mapping[str, frozenset[str]]
    owning_service: str | None = None
    primary_region: str | None = None
    deleted_at: datetime | None = None
    rotation_enabled: bool | None = None
    last_changed: datetime | None = None
    last_accessed: datetime | None = None
    lives: dict[str | None, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def region(self) -> str:
        """The region in the ARN, or ``""``."""
        parts = self.arn.split(":")
        return parts[3] if len(parts) > 3 else ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which Infobip key an unlabelled current version holds, found by reading its value (never kept here).

    :param key_id: the key, or ``None``.
    :param problem: a sentence for the operator where there is none.
    :param known_foreign: the value was read, and it holds none of this account's keys but those in ``holds``.
    :param holds: keys found somewhere in a value that can't be read as tagged; they count as in use.
    :param own_fields: fields that the rotator writes and that another program has filled with something else.
    :param silent: Infobip did not answer the question.
    """

    key_id: str | None
    problem: str = ""
    known_foreign: bool = False
    holds: frozenset[str] = frozenset()
    own_fields: tuple[str, ...] = ()
    silent: bool = False

    @property
    def unreadable(self) -> bool:
        """Whether nothing could be found out: the value, or Infobip's answer about it, can't be read."""
        return self.key_id is None and not self.known_foreign


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly window in a time zone: ``days`` (0 is Monday) and minutes ``[start, end)``; may wrap midnight."""

    days: frozenset[int]
    start: int
    end: int
    zone: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What the operator wants for one managed secret: its tags, parsed. Lengths are ``timedelta``.

    :param gate: whether the revocation of an old key waits for consumers that have not read the new one.
    """

    account: str
    rotate_before: float | timedelta = 0.33
    max_age: timedelta | None = None
    validity: timedelta = timedelta(days=90)
    grace: timedelta = timedelta(hours=72)
    scopes: frozenset[str] | None = None
    value_field: str = "api_key"
    verify: bool = True
    verify_path: str = "/account/1/balance"
    window: Window | None = None
    hold: str | None = None
    gate: bool = False


class Told:
    """What has a message for people."""

    __slots__ = ()
    message: Message

    @property
    def detail(self) -> str:
        """The message as programs read it."""
        return str(self.message)


@dataclass(frozen=True, slots=True)
class Action(Told):
    """One thing to do.

    :param key_id: the key concerned: the old one for ``rotate``, the one to be promoted, labelled, retired or revoked.
    :param version_id: the version concerned: current for ``rotate`` and ``label``, pending for
        ``resume``, else superseded.
    :param due_at: since when it is due.
    :param deadline: when it is too late (the old key's end), if there is such a time.
    :param costs_update: whether a ``revoke`` needs a call that counts against the daily limit.
    :param label: the staging label that contradicts the others, where that is what goes.
    """

    kind: ActionKind
    account: str
    secret: str
    reason: Reason
    due_at: datetime
    key_id: str | None = None
    version_id: str | None = None
    deadline: datetime | None = None
    message: Message = NO_MESSAGE
    arn: str = ""
    costs_update: bool = False
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Skip(Told):
    """A secret (or one of its actions) that is skipped, and why."""

    secret: str
    reason: Reason
    message: Message


@dataclass(frozen=True, slots=True)
class Alert(Told):
    """Something a person should know or fix.

    :param count: how many keys it speaks of, where it names none.
    :param by_account: whether the account as a whole is the cause, and not this one secret.
    :param action: what is overdue.
    """

    kind: Reason
    message: Message
    secret: str | None = None
    key_id: str | None = None
    severity: Severity = Severity.WARNING
    count: int = 1
    by_account: bool = False
    action: ActionKind | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """One account's daily quota: what was used in the last 24 hours, the limits, and the part kept for emergencies.

    :param updates_used: ``None`` where disabled keys, which show it, were not listed because nothing is to be done.
    """

    creates_used: int
    creates_limit: int
    updates_used: int | None
    updates_limit: int
    reserve: int

    @property
    def creates_left(self) -> int:
        """What scheduled work may still create."""
        return max(0, self.creates_limit - self.reserve - self.creates_used)

    @property
    def updates_left(self) -> int:
        """What scheduled work may still update."""
        return max(0, self.updates_limit - self.reserve - (self.updates_used or 0))


@dataclass(frozen=True, slots=True)
class Policy:
    """The deployment's own settings that decisions depend on.

    :param sweep_every: how often sweeps come; by it is judged how soon a place in the daily limit is used again.
    """

    deployment: str = "default"
    daily_limit: int = 40
    reserve: int = 8
    sweep_every: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Questions:
    """What a plan needs to know beyond the listings before it may be carried out; most plans need nothing.

    :param versions: ``(ARN, version id)`` whose value must be read for an ownership proof of its label.
    :param copies: keys to be revoked, by id, with the ``(ARN, version id)`` that holds the value, if one does: the
        current values of all managed secrets must be searched for them.
    :param histories: ARNs whose versions must be listed, deprecated ones included.
    :param history: whether the disabled keys must be listed, since creates or updates are to be done.
    :param readers: ARNs whose readers must be known: since when the revocation is due, and since when reads matter.
    """

    versions: set[tuple[str, str]] = field(default_factory=set)
    copies: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    histories: set[str] = field(default_factory=set)
    history: bool = False
    readers: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.versions or self.copies or self.histories or self.history or self.readers)


@dataclass(frozen=True, slots=True)
class Read:
    """One read of a secret's value that was allowed.

    :param principal: who: a role's or user's ARN without the session's name, or what else the log says. Outside text.
    :param current: whether it asked for ``AWSCURRENT``; false where it named a version that is not current now.
    """

    principal: str
    at: datetime
    current: bool = True


@dataclass(frozen=True, slots=True)
class Reads:
    """What the log says of one secret.

    :param since: from when on reads are known; later than asked for where the answer was cut or the log begins later.
    :param until: up to when they are known; the log lags.
    :param gap: why reads in between may be missing, as a clause; ``""`` where none is.
    """

    reads: tuple[Read, ...]
    since: datetime
    until: datetime
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """The log was not read.

    :param problem: what happened, as a sentence without a stop, and what to do; ``""`` where there was no time for it.
    """

    problem: str


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """Everything that one account's decisions depend on, as it was observed.

    :param management: the management secret's entry.
    :param secrets: every secret with ``rotator:role=key`` of this account, also those that will be skipped.
    :param others: managed secrets of other accounts (a copied secret may stand there and hold a key of this one); in a
        sweep a :class:`~rotator.policy.holdings.Others`, which all accounts' snapshots share.
    :param keys: by id, every enabled key that Infobip lists, every key that was read by its id because a label names it
        and the list does not show it, and with ``history`` the disabled keys too.
    :param resolutions: by ARN, which key a current version's value is, where that was searched for.
    :param held: by ARN and version id, the same for other versions.
    :param copies: by key id, the managed secrets whose current value was found to hold the key's value; a key that is
        not in it was not searched for.
    :param versions: by ARN, every version id that AWS still has, deprecated ones included, where that was asked.
    :param unreadable: managed secrets whose current value could not be read in that search.
    :param skew: Infobip's clock less ours, where an answer had it.
    :param complete: whether the listing is known to hold every enabled key.
    :param history: whether ``keys`` holds the disabled keys too, as far as Infobip shows them.
    :param history_complete: whether it shows all of them.
    :param total: how many keys the account had when they were listed, disabled ones included, where that is known.
    :param readers: by ARN, who read a secret whose due revocation may have to wait for consumers.
    """

    account: str
    management: SecretEntry
    secrets: tuple[SecretEntry, ...]
    keys: Mapping[str, Key]
    others: Iterable[SecretEntry] = ()
    resolutions: Mapping[str, Resolution] = field(default_factory=dict)
    held: Mapping[tuple[str, str], Resolution] = field(default_factory=dict)
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    skew: timedelta | None = None
    complete: bool = True
    history: bool = True
    history_complete: bool = True
    total: int | None = None
    readers: Mapping[str, Reads | Unread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """What a sweep of one account would do, in order, and what it skips.

    :param error: why it could not be observed.
    :param deferred: what is due and waits for a slot, or for another sweep because of its number.
    """

    account: str
    quota: Quota
    actions: tuple[Action, ...] = ()
    skipped: tuple[Skip, ...] = ()
    alerts: tuple[Alert, ...] = ()
    error: str | None = None
    keys: int = 0
    earliest_end: datetime | None = None
    questions: Questions = field(default_factory=Questions)
    infobip_account: str | None = None
    deferred: tuple[Action, ...] = ()

    @property
    def ran_through(self) -> bool:
        """Whether a sweep by it goes as far as it can: it was observed, and no error concerns the account as a whole.

        What has to be fixed in a single secret is an alert, and keeps no other secret from anything.
        """
        wide = (alert for alert in self.alerts if alert.secret is None)
        return self.error is None and not any(alert.severity is Severity.ERROR for alert in wide)


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan an account, at one moment."""

    generated_at: datetime
    accounts: tuple[AccountPlan, ...]


class Outcome(StrEnum):
    """What became of an action (``run --json``)."""

    DONE = "done"
    FAILED = "failed"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Result:
    """An action and what became of it; ``error`` is redacted text.

    :param new_key_id: the replacement that was promoted, if one was, and ``new_expires_at`` its end.
    :param by_account: whether the account as a whole kept it from being done, and not this one secret.
    """

    action: Action
    outcome: Outcome
    error: str | None = None
    new_key_id: str | None = None
    new_version_id: str | None = None
    duration: timedelta = timedelta(0)
    new_expires_at: datetime | None = None
    by_account: bool = False
