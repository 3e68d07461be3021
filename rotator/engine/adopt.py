"""``rotator adopt``: an existing key and its secret become managed."""

from __future__ import annotations

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.key_ids import account_key_id
from rotator.engine.observe import Fleet, connected, find_secret, observe_fleet
from rotator.engine.secret_changes import managed_account
from rotator.engine.version_values import resolve_version
from rotator.errors import KeyNotFound, Refused
from rotator.model import AccountSnapshot, SecretEntry, Spec
from rotator.plan import ActionKind, Outcome, Result
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.tags import parse_spec
from rotator.policy.values import decode
from rotator.ports import KeyListing, KeyProvider, ProbeVerdict, SecretStore
from rotator.reasons import Reason
from rotator.text import printable


def adopt(services: Services, secret: str, key_id: str | None = None) -> Result:
    """Adopt an existing key and secret: label the current version with its key.

    A label that is already there is only checked.

    :param key_id: the key according to the operator, if Infobip can't be searched for the value.
    :raises RotatorError: not managed, no value, or the value is a different key or not a key; nothing was changed.
    """
    entry = find_secret(services.store, secret)
    account = managed_account(entry)
    spec = parse_spec(entry.tags, entry.name)
    fleet = observe_fleet(services.store)
    if key_id is not None:
        key_id = account_key_id(key_id, fleet, account, lambda: _listed(services, fleet, account))
    life = read_lifecycle(entry)
    if life.current_version is None:
        raise Refused(
            f"{entry.name} has no value to adopt",
            advice="Store a key in it, or add the tag rotator:scopes; the next sweep then creates its first key.",
            reason=Reason.EMPTY,
        )
    if life.current_key is not None and key_id not in (None, life.current_key):
        raise Refused(
            f"{entry.name} is already managed, with key {life.current_key}",
            advice=f"Nothing was changed. Current state: `rotator status --secret {printable(entry.argument)}`.",
        )
    with connected(services, fleet, account) as provider:
        found = _identify(services.store, provider, entry, spec, key_id or life.current_key)
        snapshot = AccountSnapshot(account, (entry,), {})
        context = AccountContext(services, provider, snapshot, Budget())
        action = context.action(ActionKind.LABEL, Reason.UNADOPTED, entry, found, life.current_version)
        if life.current_key is not None:
            return Result(action, Outcome.DONE)
        return apply(context, action)[0]


def _listed(services: Services, fleet: Fleet, account: str) -> KeyListing:
    with connected(services, fleet, account) as provider:
        return provider.list_keys()


def _identify(store: SecretStore, provider: KeyProvider, entry: SecretEntry, spec: Spec, key_id: str | None) -> str:
    """Return the current value's key: the named one, unless it is contradicted.

    If the search fails, the key is read by its id and the value is probed once.

    :raises RotatorError: the value is a different key, not a key of the account, or can't be identified.
    """
    resolution = resolve_version(store, provider, entry)
    if key_id is None:
        if resolution.key_id is None:
            raise Refused(f"{entry.name} was not adopted: {resolution.problem}", advice="Nothing was changed.")
        return resolution.key_id
    if resolution.key_id is not None and resolution.key_id != key_id:
        raise Refused(
            f"{entry.name} contains key {resolution.key_id}, not {key_id}",
            advice="Nothing was changed.",
            reason=Reason.MISLABELLED,
        )
    try:
        fetched = provider.get_key(key_id)
    except KeyNotFound:
        raise Refused(
            f"the Infobip account {spec.account} has no key {key_id}",
            advice="Nothing was changed. Check the id and the tag rotator:account.",
            reason=Reason.KEY_NOT_FOUND,
        ) from None
    if resolution.known_foreign:
        raise Refused(f"{entry.name} was not adopted: {resolution.problem}", advice="Nothing was changed.")
    value = decode(store.read_current(entry.arn).text, spec.value_field, entry.name)
    if fetched.value is not None and fetched.value != value:
        raise Refused(
            f"the value of {entry.name} is not key {key_id}", advice="Nothing was changed.", reason=Reason.MISLABELLED
        )
    probe = provider.probe(value, "/account/1/balance")
    if resolution.key_id is None and probe.verdict is not ProbeVerdict.AUTHENTICATES:
        raise Refused(f"the value of {entry.name} does not authenticate ({probe.detail}), so it can't be key {key_id}")
    return key_id
