"""What the planner sees: secrets, keys, their owners and readers. Plain frozen data; times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

BEGINS_WITHIN = timedelta(minutes=1)
"""A ``validFrom`` this little ahead counts as begun, because clocks differ and Infobip uses whole seconds."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A CPaaS X application and entity link of a key, without Infobip's read-only ``key``."""

    application_id: str
    entity_id: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as Infobip lists it, without its value.

    ``scopes`` and ``permissions`` are ``None`` if the answer did not include them, which does not mean empty.
    ``value_readable``: whether the answer seems to include the real value rather than a mask.
    ``digest``: the SHA-256 of a readable value, to compare a secret's value with. The value itself is not kept.
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
    digest: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def lifetime(self) -> timedelta | None:
        """From its beginning to its expiry, if both are known."""
        return None if self.valid_from is None or self.valid_to is None else self.valid_to - self.valid_from

    def expired(self, now: datetime) -> bool:
        """Whether its expiry has passed."""
        return self.valid_to is not None and self.valid_to <= now

    def begun(self, now: datetime) -> bool:
        """Whether its ``validFrom`` has passed, give or take :data:`BEGINS_WITHIN`."""
        return self.valid_from is None or self.valid_from <= now + BEGINS_WITHIN

    def alive(self, now: datetime) -> bool:
        """Whether it authenticates as far as Infobip's list shows: enabled, begun and not expired."""
        return self.enabled and self.begun(now) and not self.expired(now)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a secret is: its AWS account's id and its region. ``""`` is unknown."""

    aws_account: str
    region: str

    @classmethod
    def of(cls, arn: str) -> Location:
        """Return what an ARN says; nothing for a name."""
        _, _, _, region, account, *_ = (*arn.split(":"), *[""] * 5)
        return cls(account, region)

    def __str__(self) -> str:
        return f"{self.aws_account} {self.region}"


Which = tuple[str | None, Location | None]
"""A secret's name and location: the secrets of two stores may have one name."""


class OfSecret:
    """Base class of what is about one secret, whose location is known if there is more than one store."""

    __slots__ = ()
    if TYPE_CHECKING:

        @property
        def secret(self) -> str | None:
            """Its name."""

        @property
        def location(self) -> Location | None:
            """Its location."""

    @property
    def which(self) -> Which:
        """The secret."""
        return self.secret, self.location

    @property
    def title(self) -> str:
        """The secret's name for people, with its location."""
        return f"{self.secret or ''}" + (f" ({self.location})" if self.location else "")

    @property
    def secret_fields(self) -> dict[str, Any]:
        """The secret in audit lines and events."""
        return {"secret": self.secret or None, **location_fields(self.location)}

    def version_fields(self, version_id: str | None, key_id: str | None, reason: str) -> dict[str, Any]:
        """A version of the secret and its key in audit lines and events."""
        return {**self.secret_fields, "version_id": version_id, "key_id": key_id, "reason": reason}


def location_fields(location: Location | None) -> dict[str, str]:
    """Return a location in JSON, audit lines and events: nothing if there is only one store."""
    return {} if location is None else {"aws_account": location.aws_account, "region": location.region}


@dataclass(frozen=True, slots=True)
class SecretEntry(OfSecret):
    """A secret as ``ListSecrets`` or ``DescribeSecret`` gives it: names, tags and labels, never a value.

    ``versions`` maps version ids to their staging labels. ``current`` etc. are derived in :mod:`rotator.policy.labels`.
    ``last_accessed`` is the day on which its value was last read, ``None`` if the store does not have it.
    ``rotation_function`` is the ARN of the Lambda function of Secrets Manager's own rotation.
    ``location`` is set if there is more than one store. ``kms_key`` names a customer-managed KMS key.
    ``lives`` caches the results of :func:`rotator.policy.lifecycle.read_lifecycle`.
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
    rotation_function: str | None = None
    kms_key: str | None = None
    location: Location | None = None
    lives: dict[str | None, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def region(self) -> str:
        """The region in the ARN, or ``""``."""
        return Location.of(self.arn).region

    @property
    def secret(self) -> str:
        """Its name, as the items about it say it."""
        return self.name

    @property
    def argument(self) -> str:
        """The secret in a suggested command: its ARN if there are several stores, since two may have its name."""
        return self.arn if self.location is not None else self.name

    @property
    def is_replica(self) -> bool:
        """Whether Secrets Manager copies it from another region."""
        return bool(self.primary_region) and self.primary_region != self.region


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which Infobip key a version contains, found by reading its value (never kept here).

    :param key_id: the key, or ``None``.
    :param problem: if there is none, a sentence for the operator.
    :param known_foreign: the value was read, and it holds none of this account's keys but those in ``holds``.
    :param holds: keys found in a value that can't be read as its tags say; they count as in use.
    :param own_fields: fields that the rotator writes but that another program has filled.
    :param silent: whether Infobip did not answer.
    :param key: the key as the search returned it.
    """

    key_id: str | None
    problem: str = ""
    known_foreign: bool = False
    holds: frozenset[str] = frozenset()
    own_fields: tuple[str, ...] = ()
    silent: bool = False
    key: Key | None = None

    @property
    def unreadable(self) -> bool:
        """Whether the key is not known because the value, or Infobip's answer about it, can't be read."""
        return self.key_id is None and not self.known_foreign


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Which other Infobip account has a key that a secret's own account does not have.

    :param account: the account, and ``key`` the key as it shows it; ``None`` if no account that was asked has the key.
    :param unasked: the accounts that could not be asked.
    """

    account: str | None = None
    key: Key | None = None
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly window in a time zone: ``days`` (0 is Monday) and minutes ``[start, end)``; may wrap midnight."""

    days: frozenset[int]
    start: int
    end: int
    zone: str


@dataclass(frozen=True, slots=True)
class Spec:
    """One managed secret's settings, parsed from its tags.

    :param gate: whether an old key's revocation waits for consumers that have not read the new value.
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


@dataclass(frozen=True, slots=True)
class Policy:
    """The deployment's own settings that decisions depend on.

    :param deployment: separates deployments: two of them on one Infobip account never change each other's keys.
    :param daily_limit: how many creates (and as many updates) Infobip allows an account in 24 hours.
    :param reserve: how many of them scheduled work leaves for emergencies.
    :param sweep_every: the time between sweeps, which also decides how soon a free slot is used again.
    :param rotation_function: the ARN of this deployment's function for Secrets Manager's own rotation, if it is known.
    """

    deployment: str = "default"
    daily_limit: int = 40
    reserve: int = 8
    sweep_every: timedelta = timedelta(hours=1)
    rotation_function: str | None = None

    @property
    def slots(self) -> int:
        """How many creates, and as many updates, scheduled work may use in 24 hours."""
        return max(0, self.daily_limit - self.reserve)


@dataclass(frozen=True, slots=True)
class Read:
    """One read of a secret's value that was allowed.

    :param principal: the ARN of a role or user without the session name, or what the log has instead. Untrusted input.
    :param current: whether it read ``AWSCURRENT``; false if it named a version that is not current now.
    """

    principal: str
    at: datetime
    current: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """One change of a secret's versions, labels or tags that was allowed.

    :param principal: as :class:`Read`'s.
    :param call: such as ``PutSecretValue``.
    :param tags: the tags that it set.
    """

    principal: str
    at: datetime
    call: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reads:
    """One secret's reads in the access log.

    :param since: from when on reads are known; later than requested if the answer was cut or the log starts later.
    :param until: up to when reads are known, since the log lags.
    :param gap: why reads in between may be missing, as a clause; ``""`` if none is.
    """

    reads: tuple[Read, ...]
    since: datetime
    until: datetime
    gap: str = ""


@dataclass(frozen=True, slots=True)
class ReadsUnknown:
    """The access log could not be read, or there was no time to read it.

    :param problem: what happened and what to do, as a sentence without a full stop; ``""`` if there was no time.
    """

    problem: str


@dataclass(frozen=True, slots=True)
class StoreId:
    """A store: a region with the process's own credentials, or a role in another AWS account.

    :param role: the role's ARN.
    """

    region: str
    role: str | None = None

    @property
    def account(self) -> str | None:
        """The role's AWS account."""
        return Location.of(self.role).aws_account if self.role is not None else None

    def __str__(self) -> str:
        return f"{self.role}@{self.region}" if self.role is not None else self.region


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """Everything that one account's decisions depend on, as observed.

    :param secrets: every secret of this account with ``rotator:role=key``, including those that will be skipped.
    :param management: the management secret, if the age of its password is to be checked.
    :param others: managed secrets of other accounts, since a copied secret may hold a key of this one; in a sweep, a
        :class:`~rotator.policy.holdings.Others`, whose directory all accounts' snapshots share.
    :param keys: by id: every enabled key that Infobip lists, keys that were read by id because a label names them and
        the list does not, and with ``disabled_keys`` also the disabled keys. A key that a label names and that is not
        in it is not found: a read by its id was answered with 404.
    :param unlisted: stores that could not be listed, so their secrets may contain any key.
    :param unreadable_keys: keys that are not in ``keys`` because they could not be read by their ids.
    :param elsewhere: by key id, where a key was searched for that the account does not have.
    :param values: by ARN and version id, which key a version's value is, if it was read.
    :param copies: by key id, the managed secrets whose current value was found to hold the key's value; a key that is
        not in it was not searched for.
    :param versions: by ARN, every version id that AWS still has, deprecated ones included, if they were listed.
    :param unreadable: managed secrets whose current value could not be read in that search.
    :param skew: Infobip's clock minus ours, if an answer included it.
    :param complete: whether the listing is known to contain every enabled key.
    :param disabled_keys: whether ``keys`` also contains the disabled keys, as far as Infobip shows them.
    :param disabled_complete: whether Infobip shows all disabled keys.
    :param total: how many keys the account had when they were listed, disabled ones included, if known.
    :param readers: by ARN, who read a secret whose due revocation may have to wait for consumers.
    """

    account: str
    secrets: tuple[SecretEntry, ...]
    keys: Mapping[str, Key]
    management: SecretEntry | None = None
    others: Iterable[SecretEntry] = ()
    values: Mapping[tuple[str, str], Resolution] = field(default_factory=dict)
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unreadable: tuple[SecretEntry, ...] = ()
    skew: timedelta | None = None
    complete: bool = True
    disabled_keys: bool = True
    disabled_complete: bool = True
    total: int | None = None
    readers: Mapping[str, Reads | ReadsUnknown] = field(default_factory=dict)
    unreadable_keys: frozenset[str] = frozenset()
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
