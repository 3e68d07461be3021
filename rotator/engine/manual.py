"""Operator commands: rotate or adopt one secret, list states."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget
from rotator.engine.evidence import ownership_proof
from rotator.engine.key_ids import account_key_id
from rotator.engine.observe import Fleet, management_of, observe_account, observe_fleet, resolve_version, with_secret
from rotator.engine.reconcile import Reconciler
from rotator.engine.secret_changes import managed_account
from rotator.errors import KeyNotFound, Refused
from rotator.message import Message
from rotator.model import AccountPlan, AccountSnapshot, ActionKind, Outcome, Result, SecretEntry, Spec
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import make_view, plan_account
from rotator.policy.rules import ROTATE_BLOCKED, SKIP_MOVE_WHEN, View, first
from rotator.policy.status import SecretState, states
from rotator.policy.tags import parse_spec
from rotator.policy.values import decode
from rotator.ports import KeyListing, KeyProvider, ProbeVerdict, SecretStore
from rotator.reasons import Reason


def rotate_now(reconciler: Reconciler, secret: str, reason: str) -> tuple[Result, ...]:
    """Rotate one secret now, whatever its expiry; uses the daily reserve.

    An unlabelled current version is adopted first. A wrong label on it is corrected, because its value decides. A
    pending version is finished instead of making another key. If the tagged account does not have the current key, the
    secret is moved to that account; no other command does that.

    :param reason: the operator's own words, for the audit.
    :raises RotatorError: the secret is unknown, not managed, on hold or misconfigured; nothing was changed.
    """
    services = reconciler.services
    entry = services.store.describe(secret)
    account = managed_account(entry)
    fleet = observe_fleet(services.store)
    with reconciler.connected(fleet, account) as provider:
        listed = observe_account(services.store, provider, fleet, account)
        snapshot = with_secret(services.store, provider, listed, entry)
        context, life = AccountContext(services, provider, snapshot, Budget()), read_lifecycle(entry)
        if life.current_version is not None and life.current_key is not None:
            ownership_proof(context, entry, life.current_version, life.current_key)  # the plan uses what it reads
        plan = plan_account(context.snapshot, services.policy, services.clock.now(), secret=entry.name, moves=True)
        if plan.error is not None:
            raise Refused(plan.error)
        return tuple(_carry_out(context, plan, entry, reason))


def _carry_out(context: AccountContext, plan: AccountPlan, entry: SecretEntry, reason: str) -> list[Result]:
    before = [a for a in plan.actions if a.kind in (ActionKind.LABEL, ActionKind.RESUME)]
    results: list[Result] = []
    for action in before:
        result, error = apply(context, action, moves=True)
        results.append(result)
        if error is not None:
            return results
    if any(action.kind is ActionKind.RESUME for action in before):
        return results
    if any(action.reason is Reason.MISLABELLED for action in before):
        entry = context.services.store.describe(entry.arn)
        context.snapshot = with_secret(context.services.store, context.provider, context.snapshot, entry)
    view, now = make_view(context.snapshot, entry), context.services.clock.now()
    _stop(view, now)
    first_one = view.life.current_version is None
    why = Reason.FIRST_KEY if first_one else Reason.REQUESTED
    action = context.action(ActionKind.ROTATE, why, entry, view.key_id, view.life.current_version)
    deadline = view.key.valid_to if view.key else None
    result, _ = apply(
        context, replace(action, deadline=deadline, message=Message.text(reason)), audit_reason=reason, moves=True
    )
    return [*results, result]


def _stop(view: View, now: datetime) -> None:
    """Refuse if a rule prevents a new key. Windows, limits and rules that only protect an old key do not count.

    :raises Refused: a rule does; nothing was changed.
    """
    stop = first(SKIP_MOVE_WHEN, view, now) or first(ROTATE_BLOCKED, view, now)
    if stop is not None:
        fix = "Remove the tag rotator:hold" if stop.reason is Reason.HOLD else "Fix that"
        raise Refused(
            f"{view.entry.name} was not rotated: {stop.reason}: {stop.detail}",
            advice=f"Nothing was changed. {fix}, then repeat the command.",
            reason=stop.reason,
        )


def adopt(reconciler: Reconciler, secret: str, key_id: str | None = None) -> Result:
    """Adopt an existing key and secret: label the current version with its key.

    A label that is already there is only checked.

    :param key_id: the key according to the operator, if Infobip can't be searched for the value.
    :raises RotatorError: not managed, no value, or the value is a different key or not a key; nothing was changed.
    """
    services = reconciler.services
    entry = services.store.describe(secret)
    account = managed_account(entry)
    spec = parse_spec(entry.tags, entry.name)
    fleet = observe_fleet(services.store)
    if key_id is not None:
        key_id = account_key_id(key_id, fleet, account, lambda: _listed(reconciler, fleet, account))
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
            advice=f"Nothing was changed. Current state: `rotator status --secret {entry.name}`.",
        )
    with reconciler.connected(fleet, account) as provider:
        found = _identify(services.store, provider, entry, spec, key_id or life.current_key)
        snapshot = AccountSnapshot(account, management_of(fleet, account), (entry,), {})
        context = AccountContext(services, provider, snapshot, Budget())
        action = context.action(ActionKind.LABEL, Reason.UNADOPTED, entry, found, life.current_version)
        if life.current_key is not None:
            return Result(action, Outcome.DONE)
        return apply(context, action)[0]


def _listed(reconciler: Reconciler, fleet: Fleet, account: str) -> KeyListing:
    with reconciler.connected(fleet, account) as provider:
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
    value = decode(store.read_current(entry.arn).text, spec.value_field, entry.name).key
    if fetched.value is not None and fetched.value != value:
        raise Refused(
            f"the value of {entry.name} is not key {key_id}", advice="Nothing was changed.", reason=Reason.MISLABELLED
        )
    probe = provider.probe(value, "/account/1/balance")
    if resolution.key_id is None and probe.verdict is not ProbeVerdict.AUTHENTICATES:
        raise Refused(f"the value of {entry.name} does not authenticate ({probe.detail}), so it can't be key {key_id}")
    return key_id


def status(
    reconciler: Reconciler, *, account: str | None = None, secret: str | None = None
) -> tuple[tuple[SecretState, ...], tuple[AccountPlan, ...]]:
    """Every managed secret's state, and a plan with ``error`` for each account that can't be observed."""
    snapshots, broken = reconciler.snapshots(account=account, secret=secret)
    now = reconciler.services.clock.now()
    found: list[SecretState] = []
    for snapshot in snapshots:
        plan = plan_account(snapshot, reconciler.services.policy, now)
        arns = {entry.name: entry.arn for entry in snapshot.secrets}
        every = states(snapshot, plan.actions, now, plan.alerts)
        found += [state for state in every if secret in (None, state.secret, arns.get(state.secret))]
    return tuple(found), broken
