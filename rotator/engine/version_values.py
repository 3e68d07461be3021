"""Reads values of versions, finds out which keys they are, and forgets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rotator.errors import (
    BadSecretValue,
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    MissingRole,
    ProviderUnavailable,
    SecretNotFound,
    StoreError,
)
from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.policy.ownership import is_current
from rotator.policy.tags import FIELD_TAG
from rotator.policy.values import decode, keys_in, others_fields, recorded_key_id
from rotator.ports import KeyProvider, SecretStore
from rotator.secret import Secret

ABOUT_ONE_VALUE = (InvalidRequest, ContractViolation, MissingRole, KeyNotFound)
"""Errors of a search for one value that concern only its secret, never the account: a filter in front of Infobip may
refuse one URL, for example."""
MAX_SILENT = 2
"""After this many unanswered searches by value a sweep stops searching."""
MAX_CANDIDATES = 10
"""Possible keys in one value that are searched for at Infobip one by one."""


def value_field(entry: SecretEntry) -> str:
    """The field of a JSON value that holds a secret's key, by its tag, even if its other tags can't be read."""
    return entry.tags.get(FIELD_TAG, "").strip() or "api_key"


def key_in(text: Secret, entry: SecretEntry) -> Secret:
    """The key in the tagged field of a secret's value.

    :raises BadSecretValue: there is none.
    """
    return decode(text, value_field(entry), entry.name)


def stored_key(store: SecretStore, entry: SecretEntry, version_id: str) -> Secret | None:
    """The key in a version's tagged field; ``None`` if it can't be read."""
    try:
        return key_in(store.read_version(entry.arn, version_id).text, entry)
    except (BadSecretValue, StoreError):
        return None


def resolve_version(
    store: SecretStore, provider: KeyProvider, entry: SecretEntry, version_id: str | None = None
) -> Resolution:
    """Find the key of this account that a version's value is: search by value, then compare with the recorded key's.

    Reads the value and forgets it. An error that concerns one secret is not raised: it is the resolution's ``problem``.
    Infobip's own errors are raised, unless they concern only the search by value.

    :param version_id: by default the current one.
    """
    text = read_value(store, entry, version_id)
    return text if isinstance(text, Resolution) else resolve_value(provider, entry, text)


def read_value(store: SecretStore, entry: SecretEntry, version_id: str | None) -> Secret | Resolution:
    """Read a version's value, by default the current one; the resolution says why it can't be read."""
    try:
        stored = store.read_current(entry.arn) if version_id is None else store.read_version(entry.arn, version_id)
    except SecretNotFound:
        return Resolution(None, "its value does not exist", known_foreign=version_id is not None)
    except StoreError as error:
        return Resolution(None, str(error))
    except BadSecretValue as error:
        return Resolution(None, str(error), known_foreign=True)
    return stored.text


def resolve_value(provider: KeyProvider, entry: SecretEntry, text: Secret) -> Resolution:
    """Find the key of this account that a value is; see :func:`resolve_version`."""
    field = value_field(entry)
    try:
        value = decode(text, field, entry.name)
    except BadSecretValue as error:
        return _no_key(provider, text, str(error))
    try:
        found = _find_key(provider, value, recorded_key_id(text))
    except (*ABOUT_ONE_VALUE, ProviderUnavailable) as error:
        silent = isinstance(error, ProviderUnavailable)
        return Resolution(None, f"its key can't be identified: {error}", silent=silent)
    if found is None:
        return _no_key(provider, text, _NO_KEY, asked=value)
    others = others_fields(text, field, found.id, found.valid_to, provider.base_url)
    return Resolution(found.id, own_fields=others, key=found)


def with_values(
    store: SecretStore,
    provider: KeyProvider,
    snapshot: AccountSnapshot,
    wanted: Sequence[tuple[SecretEntry, str | None]],
) -> AccountSnapshot:
    """Return the snapshot with the keys that the wanted versions' values are found to be.

    After a few unanswered searches Infobip is not asked for the rest.

    :param wanted: secrets and version ids; ``None`` is no version.
    """
    values = dict(snapshot.values)
    silent: list[Resolution] = []
    for entry, version in wanted:
        if version is None:
            continue
        found = silent[-1] if len(silent) >= MAX_SILENT else None
        if found is None:
            found = resolve_version(store, provider, entry, None if is_current(entry, version) else version)
            silent += [found] if found.silent else []
        values[(entry.arn, version)] = found
    return replace(snapshot, values=values)


_NO_KEY = "its value is not a key of this Infobip account; store one, or correct the tag rotator:account"


def _no_key(provider: KeyProvider, text: Secret, problem: str, *, asked: Secret | None = None) -> Resolution:
    """The resolution of a value whose tagged field is no key. A key in another field of it must not be revoked."""
    candidates = [candidate for candidate in keys_in(text) if candidate != asked]
    if len(candidates) > MAX_CANDIDATES:
        return Resolution(None, problem)  # it may hold any key
    try:
        found = [provider.find_by_value(candidate) for candidate in candidates]
    except ABOUT_ONE_VALUE:
        return Resolution(None, problem)
    return Resolution(None, problem, known_foreign=True, holds=frozenset(key.id for key in found if key is not None))


def _find_key(provider: KeyProvider, value: Secret, recorded: str | None) -> Key | None:
    """The key that a value belongs to, or ``None``.

    :param recorded: the ``key_id`` stored beside it, tried if Infobip does not find it by value.
    """
    found = provider.find_by_value(value, alone=True)
    if found is not None or recorded is None:
        return found
    try:
        fetched = provider.get_key(recorded)
    except KeyNotFound:
        return None
    return fetched.key if fetched.value is not None and fetched.value == value else None
