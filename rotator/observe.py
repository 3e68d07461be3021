"""Gathering: what stands in Secrets Manager and at Infobip, without a call per secret and without keeping values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rotator.core.directory import Directory, Others
from rotator.core.garbage import no_search_for_garbage
from rotator.core.labels import CURRENT
from rotator.core.lifecycle import read_lifecycle
from rotator.core.model import AccountSnapshot, Alert, Key, Reason, Resolution, SecretEntry, Severity
from rotator.core.secret import Secret
from rotator.core.spec import ACCOUNT_TAG, parse_spec, role
from rotator.core.text import printable
from rotator.core.values import decode, possible_keys, recorded_key_id
from rotator.errors import (
    BadSecretValue,
    ConfigurationError,
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    MissingRole,
    SecretNotFound,
    StoreError,
)
from rotator.ports import KeyProvider, SecretStore

ABOUT_ONE_VALUE = (InvalidRequest, ContractViolation, MissingRole, KeyNotFound)
"""What Infobip may say to a question about one value, and that says nothing of the others (a filter in front of it
refuses a URL, say): it is that secret's trouble, never its account's."""
MAX_CANDIDATES = 10
"""Texts in one value that look like keys, and that Infobip is asked about one by one."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every tagged secret, sorted by what it is.

    :param managements: by account; more than one is a mistake to be reported.
    :param managed: by account.
    :param alerts: secrets whose role or account can't be made out.
    :param directory: the managed ones, to be found by their keys, versions and names.
    """

    managements: dict[str, tuple[SecretEntry, ...]]
    managed: dict[str, tuple[SecretEntry, ...]]
    alerts: tuple[Alert, ...]
    directory: Directory

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every account that a tag names."""
        return tuple(sorted(self.managements.keys() | self.managed.keys()))

    def chosen(self, account: str | None) -> tuple[str, ...]:
        """The account that is meant, or every one.

        :raises ConfigurationError: no tag names it.
        """
        if account is None:
            return self.accounts
        if account not in self.accounts:
            known = ", ".join(map(printable, self.accounts)) or "none"
            raise ConfigurationError(
                f"account {printable(account)} is not known; known are: {known}",
                advice="Check its name, and the region: an account is what a tag rotator:account names.",
            )
        return (account,)

    def find(self, secret: str) -> SecretEntry | None:
        """A managed secret by name or ARN."""
        every = (entry for entries in self.managed.values() for entry in entries)
        return next((entry for entry in every if secret in (entry.name, entry.arn)), None)


@no_search_for_garbage()
def observe_fleet(store: SecretStore) -> Fleet:
    """List every tagged secret: one page a hundred, nothing per secret."""
    managements: dict[str, list[SecretEntry]] = defaultdict(list)
    managed: dict[str, list[SecretEntry]] = defaultdict(list)
    alerts: list[Alert] = []
    for entry in store.list_secrets():
        account = entry.tags.get(ACCOUNT_TAG, "").strip()
        match role(entry.tags):
            case "management" if account:
                if entry.deleted_at is None:
                    managements[account].append(entry)
            case "key" if account:
                managed[account].append(entry)
            case "management" | "key":
                detail = f"the tag {ACCOUNT_TAG} is missing; set it to the account's name"
                alerts.append(Alert(Reason.MISCONFIGURED, detail, entry.name, severity=Severity.ERROR))
            case other:
                detail = f"the tag rotator:role is {printable(str(other), limit=40)!r}; write key or management"
                alerts.append(Alert(Reason.MISCONFIGURED, detail, entry.name, severity=Severity.ERROR))
    by_account = {name: tuple(entries) for name, entries in managed.items()}
    return Fleet(
        {name: tuple(entries) for name, entries in managements.items()},
        by_account,
        tuple(alerts),
        Directory(by_account).gather(),
    )


def management_of(fleet: Fleet, account: str) -> SecretEntry:
    """The account's one management secret.

    :raises ConfigurationError: there is none, or more than one.
    """
    found = fleet.managements.get(account, ())
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigurationError(
            f"account {printable(account)} has no management secret",
            advice="Tag the secret with its credentials rotator:role=management and "
            f"rotator:account={printable(account)}.",
        )
    names = ", ".join(sorted(entry.name for entry in found))
    raise ConfigurationError(
        f"account {printable(account)} has {len(found)} management secrets: {names}",
        advice="Leave the tag rotator:role=management on one of them.",
    )


def observe_account(store: SecretStore, provider: KeyProvider, fleet: Fleet, account: str) -> AccountSnapshot:
    """One account's snapshot: its secrets, every key at Infobip, and whose key each unlabelled value is."""
    with no_search_for_garbage():
        listing = provider.list_keys()
    secrets = fleet.managed.get(account, ())
    snapshot = AccountSnapshot(
        account=account,
        management=management_of(fleet, account),
        secrets=secrets,
        keys={key.id: key for key in listing.keys},
        others=Others(fleet.directory, account),
        skew=provider.skew(),
        complete=listing.complete,
    )
    unread = [entry for entry in secrets if _must_be_read(entry, snapshot.keys if listing.complete else None)]
    # Values of other accounts' secrets are never sent to this account's far end; before a revocation they are compared
    # with the key in question right here (`rotator.revocation`).
    resolutions = {entry.arn: resolve_current(store, provider, entry) for entry in unread}
    return replace(snapshot, resolutions=resolutions)


def _must_be_read(entry: SecretEntry, keys: Mapping[str, Key] | None) -> bool:
    """Only a value whose label does not tell its key: there is none, or it names a key that is not in ``keys``."""
    life = read_lifecycle(entry)
    if life.current_version is None or entry.deleted_at is not None:
        return False
    return life.current_key is None or (keys is not None and life.current_key not in keys)


def resolve_current(store: SecretStore, provider: KeyProvider, entry: SecretEntry) -> Resolution:
    """Which key of this account an unlabelled current value is: asked of Infobip by value, then by the recorded id.

    Reads the value and forgets it. Never raises for one secret's trouble: that is the resolution's ``problem``.
    Infobip's own troubles are raised, unless they concern this one value only.
    """
    parsed = parse_spec(entry.tags)
    field = "api_key" if isinstance(parsed, tuple) else parsed.value_field
    try:
        stored = store.read_current(entry.arn)
    except SecretNotFound:
        return Resolution(None, "its value is gone")
    except StoreError as error:
        return Resolution(None, str(error))
    except BadSecretValue as error:
        return Resolution(None, str(error), known_foreign=True)
    try:
        value = decode(stored.text, field, entry.name)
    except BadSecretValue as error:
        return _no_key(provider, stored.text, str(error))
    try:
        found = resolve_value(provider, value.key, recorded_key_id(stored.text))
    except ABOUT_ONE_VALUE as error:
        return Resolution(None, f"which key its value is can't be asked: {error}")
    return found or _no_key(provider, stored.text, _NO_KEY, asked=value.key)


_NO_KEY = (
    "its value is no key of this Infobip account; store one that is, correct rotator:account, or name it with "
    "`rotator adopt --key-id`"
)


def _no_key(provider: KeyProvider, text: Secret, problem: str, *, asked: Secret | None = None) -> Resolution:
    """For a value that is no key as tagged: it may hold one somewhere, which then must not be revoked."""
    candidates = [candidate for candidate in possible_keys(text) if candidate != asked]
    if len(candidates) > MAX_CANDIDATES:
        return Resolution(None, problem)  # it may hold any key
    try:
        found = [provider.find_by_value(candidate) for candidate in candidates]
    except ABOUT_ONE_VALUE:
        return Resolution(None, problem)
    return Resolution(None, problem, known_foreign=True, holds=frozenset(key.id for key in found if key is not None))


def resolve_value(provider: KeyProvider, value: Secret, recorded: str | None) -> Resolution | None:
    """The key that a value belongs to, or ``None``.

    :param recorded: the ``key_id`` that stands beside it, tried where Infobip does not find it by value.
    """
    found = provider.find_by_value(value)
    if found is not None:
        return Resolution(found.id)
    if recorded is not None:
        try:
            fetched = provider.get_key(recorded)
        except KeyNotFound:
            fetched = None
        if fetched is not None and fetched.value is not None and fetched.value == value:
            return Resolution(fetched.key.id)
    return None


def account_of(entry: SecretEntry) -> str:
    """The account that a managed secret belongs to.

    :raises ConfigurationError: it is not tagged as managed.
    """
    account = entry.tags.get(ACCOUNT_TAG, "").strip()
    if role(entry.tags) != "key" or not account:
        raise ConfigurationError(
            f"{printable(entry.name)} is not managed",
            advice=(
                "Tag it: aws secretsmanager tag-resource --secret-id "
                f"{printable(entry.name)} --tags Key=rotator:role,Value=key Key=rotator:account,Value=<account>."
            ),
        )
    return account


def has_value(entry: SecretEntry) -> bool:
    """Whether some version carries ``AWSCURRENT``."""
    return any(CURRENT in labels for labels in entry.versions.values())


__all__ = [
    "Fleet",
    "account_of",
    "has_value",
    "management_of",
    "observe_account",
    "observe_fleet",
    "resolve_current",
    "resolve_value",
]
