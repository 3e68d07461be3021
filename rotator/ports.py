"""The core's external dependencies, as protocols. Adapters implement them; only ``bootstrap`` connects the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from rotator.audit_events import Event
from rotator.errors import StoreError
from rotator.model import Key, Platform, Reads, SecretEntry, Write
from rotator.plan import Alert
from rotator.secret import Secret


class Clock(Protocol):
    """Time that a test or the sandbox can control."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary moment. Never decreases, even if the wall clock is set."""

    def sleep(self, seconds: float) -> None:
        """Wait for the given seconds."""


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
    """A key and its value (``None`` if the response masked it or left it out)."""

    key: Key
    value: Secret | None


@dataclass(frozen=True, slots=True)
class KeyListing:
    """The requested keys of an account, each once.

    ``complete`` is false if the pages' counts did not match, or if there are more keys than the pages can show.
    """

    keys: tuple[Key, ...]
    complete: bool


class ProbeVerdict(StrEnum):
    """A probe's result: 2xx and 403 ``authenticates``, 401 ``rejected``, anything else ``inconclusive``."""

    AUTHENTICATES = "authenticates"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe: the verdict, and what happened (``HTTP 401``, ``timed out``).

    :param lasting: the path is the cause, so a retry does not help.
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
        """The account for new keys if a request names none; ``None`` means the user's own."""

    @property
    def named_wait(self) -> bool | None:
        """Whether the last 429 named a time to wait; ``None`` if there was none."""

    def list_keys(self, *, enabled: bool | None = None) -> KeyListing:
        """List all keys, or only the enabled or disabled ones, without values.

        Keys are never deleted, so the number of disabled ones grows without limit. If one query cannot reach them all,
        the list is read from both ends. If that does not reach all either, ``complete`` is false.
        """

    def count_keys(self, *, enabled: bool | None = None) -> int | None:
        """Return how many keys the account has, in one call; ``None`` if the response has no count.

        :param enabled: count only the enabled, or the disabled ones, by Infobip's own filter.
        """

    def find_by_name(self, name: str, account_id: str | None = None, *, exact: bool = True) -> tuple[Key, ...]:
        """Return the keys with exactly this name.

        :param account_id: the account that a request for the key named; by default :attr:`account_id`.
        :param exact: false returns everything that Infobip's own filter lets through.
        """

    def find_by_value(self, value: Secret, *, alone: bool = False) -> Key | None:
        """Return the key that a value belongs to, or ``None`` if Infobip has no such key.

        :param alone: for an ownership proof, the response must contain only this key.

        :raises ContractViolation: the response is inconclusive.
        """

    def get_key(self, key_id: str) -> FetchedKey:
        """Fetch one key."""

    def create_key(self, request: KeyRequest) -> FetchedKey:
        """Create a key in one attempt, never repeated. ``OutcomeUnknown`` if it may have happened."""

    def revoke_key(self, key: Key, end: datetime | None) -> None:
        """Disable a key, and set its expiry to ``end`` if given. Safe to repeat; retries by itself.

        :param key: as Infobip returned it: the change names the account that the key was read with.
        """

    def probe(self, value: Secret, path: str) -> Probe:
        """Use a key once, as a consumer would. Never raises for a server's response or failure."""

    def skew(self) -> timedelta | None:
        """Return Infobip's time minus our wall clock's, as of now; ``None`` before the first response with a ``Date``.

        Infobip's time is the last response's ``Date`` plus the time since then by :meth:`Clock.monotonic`, so a step of
        the wall clock shows at once. The skew is zero if the clocks agree to within whole seconds.
        """

    def close(self) -> None:
        """Close sessions and connections. Never raises."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """One version's value, and its labels when it was read."""

    version_id: str
    text: Secret
    labels: frozenset[str]


class Listing(tuple[SecretEntry, ...]):
    """Secrets, of one or several stores.

    :param unlisted: the stores that could not be listed. They are not empty.
    :param alerts: about these stores, and about secrets that were left out.
    """

    unlisted: tuple[str, ...]
    alerts: tuple[Alert, ...]

    def __new__(
        cls, entries: Iterable[SecretEntry], unlisted: tuple[str, ...] = (), alerts: tuple[Alert, ...] = ()
    ) -> Listing:
        """Make a listing."""
        self = super().__new__(cls, entries)
        self.unlisted, self.alerts = unlisted, alerts
        return self


class SecretStore(Protocol):
    """AWS Secrets Manager. Every method raises :class:`~rotator.errors.StoreError`."""

    def list_secrets(self, role: str = "") -> Listing:
        """List the secrets with a ``rotator:role`` tag, including those pending deletion; up to 5 minutes stale.

        :param role: only those with this role.
        """

    def describe(self, secret_id: str) -> SecretEntry:
        """Describe one secret (name or ARN)."""

    def read_current(self, secret_id: str) -> StoredValue:
        """Read the value in ``AWSCURRENT``. ``SecretNotFound`` if there is none, ``BadSecretValue`` if binary."""

    def read_version(self, secret_id: str, version_id: str) -> StoredValue:
        """Read one version's value."""

    def read_content(self, secret_id: str, version_id: str) -> Secret:
        """Read one version's content. A binary value is decoded as Latin-1. ``SecretNotFound`` if it has none."""

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """Read the content in ``AWSCURRENT`` of each secret, 20 per call. A binary value is decoded as Latin-1.

        :returns: by ARN, the content, or the error if it can't be read. Secrets without a value are left out.
        """

    def version_dates(self, secret_id: str) -> Mapping[str, datetime]:
        """Return when each version was created, including versions without a label (deprecated ones)."""

    def stage(self, secret_id: str, version_id: str, text: Secret, labels: tuple[str, ...]) -> None:
        """Store a new version with exactly these labels (``PutSecretValue``). Repeating this is a no-op.

        ``PreconditionFailed`` if another value already has the version id.
        """

    def promote(self, secret_id: str, to_version: str, from_version: str | None) -> None:
        """Move ``AWSCURRENT`` by compare-and-swap. ``PreconditionFailed`` if it is not on ``from_version``."""

    def add_label(self, secret_id: str, label: str, version_id: str, *, remove_from: str | None = None) -> None:
        """Put a label on a version, and take it off ``remove_from``."""

    def remove_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Remove a label from a version. It is not an error if the version does not have it."""


REHEARSAL_PREFIX = "rotator/rehearsal/"
"""What the names of rehearsals' secrets begin with."""
REHEARSAL_TAG = "rotator:rehearsal"
"""The tag of rehearsals' secrets; its value is the deployment. They have no ``rotator:role``, so no sweep sees them."""


class RehearsalStore(SecretStore, Protocol):
    """Secrets Manager for rehearsals: they create a secret of their own, and delete it."""

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a secret without a value and return its ARN."""

    def delete(self, entry: SecretEntry) -> None:
        """Delete a rehearsal's secret without a recovery window. It is no error if it does not exist."""

    def rehearsals(self) -> tuple[SecretEntry, ...]:
        """List the secrets of rehearsals; up to 5 minutes stale."""

    def read_batch(self, arns: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """Read the content behind ``AWSCURRENT`` of at most 20 secrets in one call."""

    def view(self, management: SecretEntry, arn: str, name: str, tags: Mapping[str, str]) -> SecretStore:
        """Return a store that shows a management secret, and a rehearsal's secret as a managed one of its account.

        :param tags: those of the rehearsal's secret there, besides role and account.
        """


class ReaderLog(Protocol):
    """The access log: who used a secret (CloudTrail). Raises :class:`~rotator.errors.ReadersUnknown`."""

    def reads(self, secret: SecretEntry, since: datetime) -> Reads:
        """Return every allowed read of one secret, except the rotator's own. The result shows any lag or gap."""

    def writes(self, secret: SecretEntry, since: datetime) -> tuple[Write, ...]:
        """Return the allowed changes of one secret, except the rotator's own; the oldest first."""


class AuditSink(Protocol):
    """Writes audit lines. Adds timestamp, run, sequence and digest, and redacts."""

    def emit(self, event: Event, outcome: str, **fields: Any) -> None:
        """Write one line. ``fields`` are those of audit lines: account, secret, version_id, key_id, reason, error, …"""


class EventSink(Protocol):
    """Sends events to consumers (EventBridge). Never raises."""

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Send one event."""
