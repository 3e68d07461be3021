"""Observes Secrets Manager and Infobip, without a call per secret and without keeping values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

from rotator.engine.context import Services
from rotator.engine.version_values import value_field, with_values
from rotator.errors import (
    AmbiguousName,
    ConfigurationError,
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    RotatorError,
    SecretNotFound,
)
from rotator.message import Message
from rotator.model import AccountSnapshot, Key, Location, SecretEntry
from rotator.plan import Alert, Severity
from rotator.policy.holdings import Directory, Others
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.tags import ACCOUNT_TAG, role
from rotator.ports import KeyProvider, SecretStore
from rotator.reasons import Reason
from rotator.text import did_you_mean, printable, quoted

MAX_READS = 100
"""Keys that one sweep reads by their ids: if the list lacks more than this, it is probably another account's list."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every tagged secret, sorted by what it is.

    :param managements: by account; more than one is a mistake to be reported.
    :param managed: by account.
    :param alerts: secrets whose tags name no role or no account.
    :param unassigned: those among them that may hold a key. They are never changed, but a key that one of them holds
        is in use.
    :param unlisted: the stores that could not be listed.
    :param directory: the managed and the unassigned ones, indexed by their keys, versions and names.
    """

    managements: dict[str, tuple[SecretEntry, ...]]
    managed: dict[str, tuple[SecretEntry, ...]]
    alerts: tuple[Alert, ...]
    directory: Directory
    unassigned: tuple[SecretEntry, ...] = ()
    unlisted: tuple[str, ...] = ()

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every account that a tag names."""
        return tuple(sorted(self.managements.keys() | self.managed.keys()))

    def chosen(self, account: str | None, secret: str | None = None) -> tuple[str, ...]:
        """The named account, or the named secret's account, or every account.

        :param secret: a managed secret's name or ARN.
        :raises SecretNotFound: there is no such managed secret.
        :raises ConfigurationError: no tag names the account, or the secret does not belong to it.
        """
        if secret is not None:
            entry = self.find(secret)
            if entry is None:
                raise self.unknown(secret)
            names = tuple(name for name in self.accounts if entry in self.managed.get(name, ()))
            if not names:
                raise self.unknown(secret)
            if account is not None and account not in names:
                raise ConfigurationError(
                    f"{secret} belongs to account {names[0]}, not to {account}",
                    advice="Omit --account, or correct it.",
                )
            return names
        if account is None:
            return self.accounts
        if account not in self.accounts:
            known = ", ".join(map(printable, self.accounts)) or "none"
            raise ConfigurationError(
                f"unknown account {printable(account)}; known accounts: {known}",
                advice="Check its name and the region. Accounts are defined by the tag rotator:account.",
                reason=Reason.UNKNOWN_ACCOUNT,
            )
        return (account,)

    def every(self) -> Iterator[SecretEntry]:
        """Every secret that may hold a key: the managed ones of every account, and the unassigned ones."""
        return chain(chain.from_iterable(self.managed.values()), self.unassigned)

    def find(self, secret: str) -> SecretEntry | None:
        """A managed or unassigned secret by name or ARN.

        :raises AmbiguousName: several stores have one of that name; replicas do not count.
        """
        found = [entry for entry in self.every() if secret in (entry.name, entry.arn)]
        own = [entry for entry in found if not entry.is_replica]
        if len(own) > 1:
            raise AmbiguousName(secret, [entry.arn for entry in own])
        return next(iter(own or found), None)

    def unknown(self, secret: str) -> SecretNotFound:
        """The error for a secret that is not listed, with the likely mistake: its name, or its location."""
        entries = [*self.every()]
        at, here = Location.of(secret), {Location.of(entry.arn) for entry in entries}
        several = bool(self.unlisted) or any(entry.location for entry in entries)
        advice = did_you_mean(secret, [entry.name for entry in entries])
        if self.unlisted:
            advice = f"{', '.join(self.unlisted)} could not be searched for it. To find the cause: `rotator doctor`."
        elif at.region and here and at not in here:
            fix = "check ROTATOR_STORES" if several else "use --region or --profile"
            advice = (
                f"It is in {printable(str(at))}, the secrets here are in {', '.join(sorted(map(str, here)))}: {fix}."
            )
        where = "the stores of this deployment" if several else "this AWS account and region"
        return SecretNotFound(
            f"{printable(secret)} is not a managed secret in "
            f"{'the stores that could be searched' if self.unlisted else where}",
            advice=advice
            or "Check its name and the region, and that it is tagged rotator:role=key and rotator:account.",
        )


def find_secret(store: SecretStore, secret: str) -> SecretEntry:
    """Describe the secret that a person named.

    The list shows which of several stores has a name; they may not describe what they do not have.

    :param secret: its name or ARN.
    :raises SecretNotFound: there is none; the advice names a similar one.
    :raises AmbiguousName: several stores have that name, or one has it and another can't be searched.
    """
    try:
        return store.describe(secret)
    except SecretNotFound as error:
        missing = error
    try:
        fleet = observe_fleet(store)
    except RotatorError:
        raise missing from None
    listed = fleet.find(secret)
    if listed is None:
        raise fleet.unknown(secret)
    if fleet.unlisted and secret != listed.arn:
        raise AmbiguousName(secret, [listed.arn], fleet.unlisted)
    return store.describe(listed.arn)


def observe_fleet(store: SecretStore, role_only: str = "") -> Fleet:
    """List every tagged secret: one call per hundred secrets, and none per secret.

    :param role_only: list only the secrets with this role.
    """
    managements: dict[str, list[SecretEntry]] = defaultdict(list)
    managed: dict[str, list[SecretEntry]] = defaultdict(list)
    unassigned: list[SecretEntry] = []
    listing = store.list_secrets(role_only)
    alerts = [*listing.alerts]
    for entry in listing:
        account = entry.tags.get(ACCOUNT_TAG, "").strip()
        match role(entry.tags):
            case "management" if account:
                if entry.deleted_at is None:
                    managements[account].append(entry)
            case "key" if account:
                managed[account].append(entry)
            case other:
                message = Message.of(
                    "the tag rotator:role is {role}; use key or management", role=quoted(str(other), 40)
                )
                if other in ("management", "key"):
                    message = Message(f"the tag {ACCOUNT_TAG} is missing; set it to the account's name")
                alerts.append(
                    Alert(Reason.MISCONFIGURED, message, entry.name, severity=Severity.ERROR, location=entry.location)
                )
                if other != "management":
                    unassigned.append(entry)
    by_account = {name: tuple(entries) for name, entries in managed.items()}
    return Fleet(
        {name: tuple(entries) for name, entries in managements.items()},
        by_account,
        tuple(alerts),
        Directory({**by_account, "": tuple(unassigned)} if unassigned else by_account).gather(),
        tuple(unassigned),
        listing.unlisted,
    )


def management_of(fleet: Fleet, account: str) -> SecretEntry:
    """The account's one management secret.

    :raises ConfigurationError: there is none, or more than one.
    """
    found = fleet.managements.get(account, ())
    if len(found) == 1:
        return found[0]
    if not found:
        near = "" if account in fleet.managed else did_you_mean(account, fleet.managements)
        raise ConfigurationError(
            f"account {printable(account)} has no management secret",
            advice=near
            or f"Tag the secret with its credentials rotator:role=management and rotator:account={printable(account)}.",
            reason=Reason.UNKNOWN_ACCOUNT,
        )
    names = ", ".join(sorted(entry.name for entry in found))
    raise ConfigurationError(
        f"account {printable(account)} has {len(found)} management secrets: {names}",
        advice="Keep the tag rotator:role=management on only one of them.",
        reason=Reason.DUPLICATE_MANAGEMENT,
    )


@contextmanager
def connected(services: Services, fleet: Fleet, account: str) -> Iterator[KeyProvider]:
    """A provider for one account, its session ended afterwards.

    :raises RotatorError: no or several management secrets, or one that can't be read.
    """
    entry = management_of(fleet, account)
    provider = services.connect(entry, services.store.read_current(entry.arn).text)
    try:
        yield provider
    finally:
        provider.close()


def observe_account(
    store: SecretStore, provider: KeyProvider, fleet: Fleet, account: str, *, disabled_keys: bool = False
) -> AccountSnapshot:
    """One account's snapshot: its secrets, its enabled keys, and the key that each unlabelled value is.

    Keys that a label names and the list does not show are read by their ids: they are disabled, or not found.

    :param disabled_keys: list the disabled keys too. Infobip never deletes a key, so their list only grows.
    """
    listing = provider.list_keys(enabled=True)
    secrets = fleet.managed.get(account, ())
    keys = {key.id: key for key in listing.keys}
    lives = {entry.arn: read_lifecycle(entry) for entry in secrets}
    current = {life.current_key for life in lives.values() if life.current_key not in keys} - {None}
    absent = {key_id for life in lives.values() for key_id in life.named if key_id not in keys}
    # Read the current keys first: other labels are untrusted, and there may be many.
    agrees, not_read = _read_keys(provider, [*sorted(filter(None, current)), *sorted(absent - current)], keys)
    snapshot = AccountSnapshot(
        account=account,
        management=management_of(fleet, account),
        secrets=secrets,
        keys=keys,
        others=Others(fleet.directory, account),
        complete=listing.complete and agrees,
        disabled_keys=False,
        unreadable_keys=not_read,
        unlisted=fleet.unlisted,
    )
    if disabled_keys:
        snapshot = with_disabled_keys(provider, snapshot)
    unread = [entry for entry in secrets if _must_be_read(entry, lives[entry.arn], snapshot)]
    # Values of other accounts' secrets are never sent to this account's Infobip.
    snapshot = with_values(store, provider, snapshot, [(entry, lives[entry.arn].current_version) for entry in unread])
    return replace(snapshot, skew=provider.skew())


def with_disabled_keys(provider: KeyProvider, snapshot: AccountSnapshot) -> AccountSnapshot:
    """Return the snapshot with the disabled keys, which are needed to count today's creates and updates."""
    listing = provider.list_keys(enabled=False)
    keys = {**{key.id: key for key in listing.keys}, **snapshot.keys}
    whole = snapshot.complete and listing.complete
    total = len(keys) if whole else provider.count_keys()
    return replace(snapshot, keys=keys, disabled_keys=True, disabled_complete=listing.complete, total=total)


def with_secret(
    store: SecretStore,
    provider: KeyProvider,
    snapshot: AccountSnapshot,
    entry: SecretEntry,
    again: Collection[str] = (),
) -> AccountSnapshot:
    """Return the snapshot with one secret as it was described a moment ago, which is newer than the listing.

    If no label names a known key, the current value is searched for at Infobip. Values that were read before count,
    unless the tag names another field now.

    :param again: ids of keys that are read again although they are known.
    """
    life = read_lifecycle(entry)
    wanted = {*again, *({life.current_key} - {None} - snapshot.keys.keys())}
    keys = {key_id: key for key_id, key in snapshot.keys.items() if key_id not in wanted}
    _, unread = _read_keys(provider, sorted(filter(None, wanted)), keys)
    listed = next((each for each in snapshot.secrets if each.arn == entry.arn), entry)
    same = value_field(listed) == value_field(entry)
    values = {pair: found for pair, found in snapshot.values.items() if same or pair[0] != entry.arn}
    snapshot = replace(
        snapshot,
        secrets=(entry, *(other for other in snapshot.secrets if other.arn != entry.arn)),
        keys=keys,
        unreadable_keys=snapshot.unreadable_keys - wanted | unread,
        values=values,
    )
    if life.current_key not in keys:
        snapshot = with_values(store, provider, snapshot, [(entry, life.current_version)])
    return replace(snapshot, skew=provider.skew())


def _read_keys(provider: KeyProvider, wanted: Sequence[str], keys: dict[str, Key]) -> tuple[bool, frozenset[str]]:
    """Read keys by their ids; one that is not found is left out.

    :returns: whether this agrees with the list, which shows all enabled keys, and the ids that could not be read.
    """
    agrees, unread = len(wanted) <= MAX_READS, set(wanted[MAX_READS:])
    for key_id in wanted[:MAX_READS]:
        try:
            keys[key_id] = provider.get_key(key_id).key
            agrees = agrees and not keys[key_id].enabled
        except KeyNotFound:
            continue
        except InvalidRequest:  # a label may name anything
            unread.add(key_id)
        except ContractViolation:
            unread.add(key_id)
            agrees = False
    return agrees, frozenset(unread)


def _must_be_read(entry: SecretEntry, life: Lifecycle, snapshot: AccountSnapshot) -> bool:
    """Whether the current value must be read: no label names its key, or the label names a key that is not found."""
    if life.current_version is None or entry.deleted_at is not None:
        return False
    return life.current_key not in snapshot.keys and life.current_key not in snapshot.unreadable_keys
