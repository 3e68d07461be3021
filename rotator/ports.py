"""What the core needs from the outside, as protocols. Adapters implement them; only ``bootstrap`` joins the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from rotator.errors import StoreError
from rotator.model import Key, Platform, Reads, SecretEntry
from rotator.secret import Secret


class Clock(Protocol):
    """Time, so that a test or the sandbox can move it."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment. Never decreases, and does not see the wall clock being set."""

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to be created. Either ``platform`` or ``scopes``/``permissions`` is set, never both."""

    name: str
    valid_to: datetime
    scopes: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    allowed_ips: frozenset[str] = frozenset()
    platform: frozenset[Platform] = frozenset()
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class FetchedKey:
    """A key and its value, where the answer held the real one (``None``: masked or absent)."""

    key: Key
    value: Secret | None


@dataclass(frozen=True, slots=True)
class KeyListing:
    """The keys of an account that were asked for, each once.

    ``complete`` is false where the pages did not add up, or where there are more keys than they can show.
    """

    keys: tuple[Key, ...]
    complete: bool


class ProbeVerdict(StrEnum):
    """What a probe showed: 2xx and 403 ``authenticates``, 401 ``rejected``, anything else ``inconclusive``."""

    AUTHENTICATES = "authenticates"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe: the verdict, and what was seen (``HTTP 401``, ``timed out``).

    :param lasting: it is the path's fault, which waiting does not fix.
    """

    verdict: ProbeVerdict
    detail: str
    lasting: bool = False


class KeyProvider(Protocol):
    """Infobip's key-management API for one account. Every method raises :class:`~rotator.errors.ProviderError`."""

    @property
    def base_url(self) -> str:
        """The account's own URL, without a trailing slash."""

    @property
    def account_id(self) -> str | None:
        """The account that keys are made in where nothing else is asked for; ``None``: the user's own."""

    def list_keys(self, *, enabled: bool | None = None) -> KeyListing:
        """Every key, without values; with ``enabled`` only those that are, or are not.

        Keys are never deleted, so the disabled ones grow without limit: where one query does not reach them all they
        are read from both ends of the list, and ``complete`` is false if that does not reach either.
        """

    def count_keys(self) -> int | None:
        """How many keys the account has, enabled or not, in one call; ``None`` where the answer has no count."""

    def find_by_name(self, name: str) -> tuple[Key, ...]:
        """The keys with exactly that name."""

    def find_by_value(self, value: Secret, *, alone: bool = False) -> Key | None:
        """The key that a value belongs to; ``None`` if Infobip knows none.

        :param alone: as a proof of ownership: the answer must be this key alone.

        :raises ContractViolation: the answer shows neither.
        """

    def get_key(self, key_id: str) -> FetchedKey:
        """One key, read now."""

    def create_key(self, request: KeyRequest) -> FetchedKey:
        """Create a key: one attempt, never repeated. ``OutcomeUnknown`` where it may have happened."""

    def revoke_key(self, key_id: str, end: datetime | None) -> None:
        """Disable a key, and set its end to ``end`` where given. Safe to repeat; retried inside."""

    def probe(self, value: Secret, path: str) -> Probe:
        """Use a key once, as a consumer would. Never raises for what the server does."""

    def skew(self) -> timedelta | None:
        """Infobip's time less our wall clock's, right now; ``None`` before the first answer with a ``Date``.

        Infobip's time is the last answer's ``Date`` plus what has passed since by :meth:`Clock.monotonic`, so that a
        step of the wall clock shows at once. Zero where the two agree as far as whole seconds show.
        """

    def close(self) -> None:
        """End sessions and connections; never raises."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """One version's value and its labels at the moment of reading."""

    version_id: str
    text: Secret
    labels: frozenset[str]


class SecretStore(Protocol):
    """AWS Secrets Manager. Every method raises :class:`~rotator.errors.StoreError`."""

    def list_secrets(self) -> tuple[SecretEntry, ...]:
        """Every secret with a ``rotator:role`` tag, those pending deletion included; up to 5 minutes stale."""

    def describe(self, secret_id: str) -> SecretEntry:
        """One secret (name or ARN), read now."""

    def read_current(self, secret_id: str) -> StoredValue:
        """The value behind ``AWSCURRENT``. ``SecretNotFound`` where there is none, ``BadSecretValue``: it is binary."""

    def read_version(self, secret_id: str, version_id: str) -> StoredValue:
        """One version's value."""

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """The content behind ``AWSCURRENT`` of each, by ARN, 20 a call: a text, or a binary value as Latin-1.

        An error stands for one that can't be read; one without a value is left out.
        """

    def version_dates(self, secret_id: str) -> Mapping[str, datetime]:
        """When each version was created, versions without a label (deprecated ones) included."""

    def stage(self, secret_id: str, version_id: str, text: Secret, labels: tuple[str, ...]) -> None:
        """Store a new version under exactly these labels (``PutSecretValue``); the same again is a no-op.

        Another value under the same version id is ``PreconditionFailed``.
        """

    def promote(self, secret_id: str, to_version: str, from_version: str | None) -> None:
        """Move ``AWSCURRENT``: compare-and-swap, ``PreconditionFailed`` when it is not on ``from_version``."""

    def add_label(self, secret_id: str, label: str, version_id: str, *, remove_from: str | None = None) -> None:
        """Put a label on a version, taking it off ``remove_from``."""

    def remove_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Take a label off a version; that it is gone already is not an error."""


class ReaderLog(Protocol):
    """Who read a secret's value (CloudTrail). Raises :class:`~rotator.errors.ReadersUnknown`."""

    def reads(self, secret: SecretEntry, since: datetime) -> Reads:
        """Every read of one secret that was allowed, the rotator's own left out. Lags, and may be cut: it says so."""


class AuditSink(Protocol):
    """Where audit lines go. It adds timestamp, run, sequence and digest, and redacts."""

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line. ``fields`` are the contract's: account, secret, version_id, key_id, reason, error, …"""


class EventSink(Protocol):
    """Where events for consumers go (EventBridge). Never raises."""

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Send one event."""
