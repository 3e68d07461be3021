"""``rotator rotate``: one secret gets a new key now, whatever its expiry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.observe import connected, find_secret, observe_account, observe_fleet, with_secret
from rotator.engine.proofs import ownership_proof
from rotator.engine.rotation import Rotation
from rotator.engine.secret_changes import managed_account, with_label
from rotator.errors import Refused
from rotator.message import Message
from rotator.model import SecretEntry
from rotator.plan import AccountPlan, Action, ActionKind, Result
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import plan_account
from rotator.policy.rules import ROTATE_BLOCKED, SKIP_MOVE_WHEN, View, first, make_view
from rotator.reasons import Reason


def rotate_now(services: Services, secret: str, reason: str) -> tuple[Result, ...]:
    """Rotate one secret now, whatever its expiry; uses the daily reserve.

    An unlabelled current version is adopted first. A wrong label on it is corrected, because its value decides. A
    pending version is finished instead of making another key. If the tagged account does not have the current key, the
    secret is moved to that account; no other command does that.

    :param reason: the operator's own words, for the audit.
    :raises RotatorError: the secret is unknown, not managed, on hold or misconfigured; nothing was changed.
    """
    with _planned(services, secret) as (context, plan, entry):
        return tuple(_carry_out(context, plan.actions, entry, reason))


def plan_rotation(services: Services, secret: str, reason: str) -> AccountPlan:
    """What :func:`rotate_now` would do.

    :raises RotatorError: as that does.
    """
    with _planned(services, secret) as (context, plan, entry):
        if any(action.kind is ActionKind.RESUME for action in plan.actions):
            return plan
        mislabelled = any(action.reason is Reason.MISLABELLED for action in plan.actions)
        rotation = _rotation(context, entry, reason, check=not mislabelled)
        if all(action.reason is Reason.UNADOPTED for action in plan.actions):  # else labels must be corrected first
            if rotation.key_id is not None and rotation.version_id is not None:  # its current key gets a label first
                entry = with_label(entry, rotation.key_id, rotation.version_id)
            Rotation(context, rotation, entry=entry, moves=True).check()
        return replace(plan, actions=(*plan.actions, rotation))


@contextmanager
def _planned(services: Services, secret: str) -> Iterator[tuple[AccountContext, AccountPlan, SecretEntry]]:
    """What must be done before the rotation, or in its place, in a plan of this secret alone."""
    entry = find_secret(services.store, secret)
    account = managed_account(entry)
    fleet = observe_fleet(services.store)
    with connected(services, fleet, account) as provider:
        listed = observe_account(services.store, provider, fleet, account)
        snapshot = with_secret(services.store, provider, listed, entry)
        context, life = AccountContext(services, provider, snapshot, Budget()), read_lifecycle(entry)
        if life.current_version is not None and life.current_key is not None:
            ownership_proof(context, entry, life.current_version, life.current_key)  # the plan uses what it reads
        plan = plan_account(context.snapshot, services.policy, services.clock.now(), secret=entry.arn, moves=True)
        if plan.error is not None:
            raise Refused(plan.error)
        before = tuple(each for each in plan.actions if each.kind in (ActionKind.LABEL, ActionKind.RESUME))
        yield context, replace(plan, actions=before, alerts=(), skipped=()), entry


def _carry_out(context: AccountContext, before: Sequence[Action], entry: SecretEntry, reason: str) -> list[Result]:
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
    result, _ = apply(context, _rotation(context, entry, reason), audit_reason=reason, moves=True)
    return [*results, result]


def _rotation(context: AccountContext, entry: SecretEntry, reason: str, *, check: bool = True) -> Action:
    """The rotation that was asked for.

    :param check: whether the rules apply already: not before a wrong label is corrected.
    :raises Refused: a rule prevents it.
    """
    view = make_view(context.snapshot, entry)
    if check:
        _stop(view, context.services.clock.now())
    first_one = view.life.current_version is None
    why = Reason.FIRST_KEY if first_one else Reason.REQUESTED
    action = context.action(ActionKind.ROTATE, why, entry, view.key_id, view.life.current_version)
    deadline = view.key.valid_to if view.key else None
    return replace(action, deadline=deadline, message=Message.text(reason))


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
