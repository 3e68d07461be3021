"""Computes a plan from a snapshot and a time. Pure: no I/O, no clock, no logging."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter

from rotator.message import Message
from rotator.model import AccountPlan, AccountSnapshot, Action, Alert, Policy, Questions, SecretEntry, Severity
from rotator.policy.clock_skew import clock_skew
from rotator.policy.daily_limit import length_of, slots_used, uncounted
from rotator.policy.draft import Draft, uses_quota
from rotator.policy.failed_attempts import FailedAttempts
from rotator.policy.guards import limit_revocations, limit_updates
from rotator.policy.holdings import Holdings
from rotator.policy.orphans import plan_orphans, report_unknown
from rotator.policy.overdue import report_overdue
from rotator.policy.ownership import Ownership
from rotator.policy.rules import View, make_view
from rotator.policy.scheduling import quota_window, schedule
from rotator.policy.secret_draft import Planning
from rotator.policy.secret_planner import SecretPlanner
from rotator.reasons import Reason

__all__ = ["make_view", "plan_account"]

MANAGEMENT_PASSWORD_OLD = timedelta(days=90)
_PAGES = "Infobip's pages of keys did not add up; keys that are not listed are read by their ids"


def plan_account(
    snapshot: AccountSnapshot,
    policy: Policy,
    now: datetime,
    *,
    force: bool = False,
    secret: str | None = None,
    since: datetime | None = None,
    moves: bool = False,
) -> AccountPlan:
    """Return what a sweep of one account would do at ``now``.

    :param force: lift the guard against mass revocation.
    :param secret: plan only this secret (name or ARN); the guards still see the whole account.
    :param since: the time of the previous sweep, if this one stands for all sweeps between the two.
    :param moves: for `rotator rotate`, which may move a secret to another Infobip account.
    """
    slots = slots_used(snapshot, now)
    quota, planned = slots.quota(policy), slots.planned(policy, now, since)
    skew = clock_skew(snapshot)
    if skew is not None:
        alert = Alert(Reason.CLOCK_SKEW, skew, severity=Severity.ERROR)
        return AccountPlan(snapshot.account, quota, alerts=(alert,), error=str(skew), keys=len(snapshot.keys))
    common, views = _begin(snapshot, policy, now, moves=moves, since=since)
    draft = common.draft
    if not snapshot.complete:
        draft.alerts.append(Alert(Reason.LISTING_INCOMPLETE, Message(_PAGES)))
    if not snapshot.history_complete:
        draft.alerts.append(Alert(Reason.LISTING_INCOMPLETE, uncounted(policy)))
    coming = (SecretPlanner(common, view).plan() for view in views)
    candidates = [candidate for candidate in coming if candidate is not None]
    starts = schedule(common, candidates, slots, alone=secret is not None)
    for candidate in candidates:
        SecretPlanner(common, candidate.view).rotate(candidate, starts.get(candidate.view.entry.arn), planned)
    draft.skipped.sort(key=lambda skip: skip.secret)
    plan_orphans(draft, snapshot, common.holdings, common.ownership, now)
    report_unknown(draft, common.holdings, now)
    _report_old_credentials(draft, snapshot.management, now)
    limit_revocations(draft, snapshot, now, force=force)
    actions = draft.actions()
    mine = [view for view in views if secret is None or secret in (view.entry.name, view.entry.arn)]
    names = {view.entry.name for view in mine}
    if secret is not None:
        actions = [action for action in actions if action.secret in names]
        draft.skipped = [skip for skip in draft.skipped if skip.secret in names]
    again = now + (quota_window(policy) if slots.counted else length_of(policy))
    actions = limit_updates(draft, actions, planned, _coming(snapshot, views, actions, again, now))
    report_overdue(common, views, actions)
    if secret is not None:
        draft.alerts = [alert for alert in draft.alerts if alert.secret is None or alert.secret in names]
    return AccountPlan(
        account=snapshot.account,
        quota=quota,
        actions=tuple(actions),
        skipped=tuple(draft.skipped),
        alerts=tuple(dict.fromkeys(draft.alerts)),
        keys=len(snapshot.keys),
        questions=_questions(draft, snapshot, actions, {view.entry.arn for view in mine}),
        infobip_account=_infobip_account(snapshot, views),
        deferred=tuple(draft.deferred),
    )


def plan_secret(snapshot: AccountSnapshot, policy: Policy, now: datetime, arn: str) -> Draft:
    """Return what a sweep would do about one secret and about orphans, whatever is left of the daily limits."""
    common, views = _begin(snapshot, policy, now)
    for view in views:
        if view.entry.arn == arn:
            SecretPlanner(common, view).plan()
    plan_orphans(common.draft, snapshot, common.holdings, common.ownership, now)
    return common.draft


def _begin(
    snapshot: AccountSnapshot, policy: Policy, now: datetime, *, moves: bool = False, since: datetime | None = None
) -> tuple[Planning, list[View]]:
    """Return an empty plan of an account, with what the plans of its secrets share, and its secrets by name."""
    views = [make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=attrgetter("name"))]
    holdings = Holdings(snapshot, views)
    ownership = Ownership(snapshot, policy.deployment)
    attempts = FailedAttempts.of(snapshot, holdings, ownership, now, views)
    return Planning(Draft(), snapshot, policy, holdings, now, attempts, ownership, moves, since), views


def _questions(draft: Draft, snapshot: AccountSnapshot, actions: list[Action], arns: Set[str]) -> Questions:
    """Return what must be read before these actions are carried out.

    :param arns: the planned secrets.
    """
    asked, acted_on = draft.questions, {action.arn for action in actions}
    return replace(
        asked,
        versions={pair for pair in asked.versions if pair[0] in acted_on} | draft.checks,
        history=not snapshot.history and any(uses_quota(action) for action in actions),
        readers={arn: since for arn, since in asked.readers.items() if arn in arns},
        elsewhere={pair for pair in asked.elsewhere if pair[0] in arns},
    )


def _coming(snapshot: AccountSnapshot, views: list[View], actions: list[Action], until: datetime, now: datetime) -> int:
    """Return how many revocations after a grace period come due by ``until``; 0 if no orphan is to be revoked."""
    if not any(action.reason is Reason.ORPHAN for action in actions):
        return 0
    return sum(
        now < item.revoke_at <= until and (key := snapshot.keys.get(item.key_id)) is not None and key.enabled
        for view in views
        for item in view.life.retiring
    )


def _infobip_account(snapshot: AccountSnapshot, views: list[View]) -> str | None:
    """Return the Infobip account id of the keys in the account's secrets; ``None`` if the ids differ or there is none.

    Other keys do not count: a parent account's list also shows the keys of its sub-accounts.
    """
    keys = [snapshot.keys.get(key_id) for view in views for key_id in view.life.named]
    ids = {key.account_id for key in keys if key is not None and key.account_id is not None}
    return ids.pop() if len(ids) == 1 else None


def _report_old_credentials(draft: Draft, management: SecretEntry, now: datetime) -> None:
    if management.last_changed is not None and now - management.last_changed > MANAGEMENT_PASSWORD_OLD:
        message = Message.of(
            "the management password has not been changed for {age}; change it at Infobip, then in this secret",
            age=now - management.last_changed,
        )
        draft.alerts.append(Alert(Reason.MANAGEMENT_PASSWORD_OLD, message, management.name))
