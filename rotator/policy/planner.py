"""Computes a plan from a snapshot and a time. Pure: no I/O, no clock, no logging."""

from __future__ import annotations

from collections.abc import Iterator, Set
from datetime import datetime, timedelta
from itertools import islice

from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Policy
from rotator.plan import AccountPlan, Action, Alert, Questions, Quota, Severity
from rotator.policy.clock_skew import clock_skew
from rotator.policy.daily_limit import length_of, quota_window, slots_used, uncounted
from rotator.policy.draft import Draft, uses_quota
from rotator.policy.orphans import plan_orphans, report_unknown
from rotator.policy.overdue import report_overdue
from rotator.policy.ownership import other_deployments
from rotator.policy.revocations import limit_revocations, limit_updates
from rotator.policy.rules import BROKEN, ROTATE_WHEN, first
from rotator.policy.scheduling import schedule
from rotator.policy.secret_draft import SecretDraft
from rotator.policy.secret_planner import plan_everything, rotate
from rotator.reasons import Reason

MANAGEMENT_PASSWORD_OLD = timedelta(days=90)
MAX_LABEL_CHECKS = 25
"""How many doubtful labels a sweep checks. After a change of the deployment's name every label is doubtful."""
_PAGES = "Infobip's key list is inconsistent; keys that it does not contain are read by their ids"


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
    if (stopped := _wrong_clock(snapshot, quota)) is not None:
        return stopped
    draft = Draft(snapshot, policy, now, moves, since)
    draft.collect(_report_other_deployments(draft))
    if not snapshot.complete:
        draft.alerts.append(Alert(Reason.LISTING_INCOMPLETE, Message(_PAGES)))
    if not snapshot.disabled_complete:
        draft.alerts.append(Alert(Reason.LISTING_INCOMPLETE, uncounted(policy)))
    coming = (plan_everything(SecretDraft(draft, view)) for view in draft.views)
    candidates = [candidate for candidate in coming if candidate is not None]
    starts = schedule(draft, candidates, slots, alone=secret is not None)
    for candidate in candidates:
        rotate(SecretDraft(draft, candidate.view), candidate, starts.get(candidate.view.entry.arn), planned)
    draft.skipped.sort(key=lambda skip: skip.secret)
    draft.collect(plan_orphans(draft))
    draft.collect(report_unknown(draft))
    draft.collect(_report_old_credentials(draft))
    limit_revocations(draft, force=force)
    actions = draft.actions()
    mine = [view for view in draft.views if secret is None or secret in (view.entry.name, view.entry.arn)]
    which = {view.entry.which for view in mine}
    if secret is not None:
        actions = [action for action in actions if action.which in which]
        draft.skipped = [skip for skip in draft.skipped if skip.which in which]
    again = now + (quota_window(policy) if slots.counted else length_of(policy))
    actions = limit_updates(draft, actions, planned, _coming(draft, actions, again))
    report_overdue(draft, actions)
    if secret is not None:
        draft.alerts = [alert for alert in draft.alerts if alert.secret is None or alert.which in which]
    return AccountPlan(
        account=snapshot.account,
        quota=quota,
        actions=tuple(actions),
        skipped=tuple(draft.skipped),
        alerts=tuple(dict.fromkeys(draft.alerts)),
        keys=len(snapshot.keys),
        questions=_questions(draft, actions, {view.entry.arn for view in mine}),
        infobip_account=_infobip_account(draft),
        deferred=tuple(draft.deferred),
    )


def plan_new_value(snapshot: AccountSnapshot, policy: Policy, now: datetime) -> AccountPlan:
    """Return what a value that the rotator did not store calls for: the label of its key, and alerts.

    A rotation that is due is left to sweeps, and is an alert: the person who stored the key expects it to last.

    :param snapshot: contains this secret alone, with its current version alone unless that has not been read.
    """
    quota = slots_used(snapshot, now).quota(policy)
    if (stopped := _wrong_clock(snapshot, quota)) is not None:
        return stopped
    draft = Draft(snapshot, policy, now)
    secret = SecretDraft(draft, draft.views[0])
    plan_everything(secret)
    due = None if any(skip.everything for skip in draft.skipped) else first(ROTATE_WHEN, secret.view, now)
    if due is not None:
        severity = Severity.ERROR if due.reason in BROKEN else Severity.WARNING
        template = "key {key} was stored by another process and must be replaced: {detail}; sweeps replace it"
        key_id = secret.view.key_id
        values = {"key": KeyId(key_id or ""), "detail": due.detail}
        draft.collect([secret.alert(due.reason, template, key_id, severity, **values)])
    return AccountPlan(
        snapshot.account,
        quota,
        tuple(action for action in draft.actions() if action.reason is Reason.UNADOPTED),
        tuple(draft.skipped),
        tuple(dict.fromkeys(draft.alerts)),
    )


def _wrong_clock(snapshot: AccountSnapshot, quota: Quota) -> AccountPlan | None:
    """Return the plan of an account where nothing is done, because this machine's clock is wrong."""
    skew = clock_skew(snapshot)
    if skew is None:
        return None
    alert = Alert(Reason.CLOCK_SKEW, skew, severity=Severity.ERROR)
    return AccountPlan(snapshot.account, quota, alerts=(alert,), error=str(skew), keys=len(snapshot.keys))


def plan_secret(snapshot: AccountSnapshot, policy: Policy, now: datetime, arn: str) -> Draft:
    """Return what a sweep would do about one secret and about orphans, whatever is left of the daily limits."""
    draft = Draft(snapshot, policy, now)
    for view in draft.views:
        if view.entry.arn == arn:
            plan_everything(SecretDraft(draft, view))
    draft.collect(plan_orphans(draft))
    return draft


def _questions(draft: Draft, actions: list[Action], arns: Set[str]) -> Questions:
    """Return what must be read before these actions are carried out.

    :param arns: the planned secrets.
    """
    asked, acted_on = draft.questions, {action.arn for action in actions}
    doubtful = islice((pair for each in draft.asked for pair in each.doubtful), MAX_LABEL_CHECKS)
    return Questions(
        values={*(pair for pair in asked.values if pair[0] in acted_on), *doubtful},
        copies=asked.copies,
        versions=asked.versions,
        disabled_keys=not draft.snapshot.disabled_keys and any(uses_quota(action) for action in actions),
        readers={arn: since for arn, since in asked.readers.items() if arn in arns},
        elsewhere={pair for pair in asked.elsewhere if pair[0] in arns},
    )


def _coming(draft: Draft, actions: list[Action], until: datetime) -> int:
    """Return how many revocations after a grace period come due by ``until``; 0 if no orphan is to be revoked."""
    if not any(action.reason is Reason.ORPHAN for action in actions):
        return 0
    return sum(
        draft.now < item.revoke_at <= until
        and (key := draft.snapshot.keys.get(item.key_id)) is not None
        and key.enabled
        for view in draft.views
        for item in view.life.retiring
    )


def _infobip_account(draft: Draft) -> str | None:
    """Return the Infobip account id of the keys in the account's secrets; ``None`` if the ids differ or there is none.

    Other keys do not count: a parent account's list also shows the keys of its sub-accounts.
    """
    keys = [draft.snapshot.keys.get(key_id) for view in draft.views for key_id in view.life.named]
    ids = {key.account_id for key in keys if key is not None and key.account_id is not None}
    return ids.pop() if len(ids) == 1 else None


def _report_other_deployments(draft: Draft) -> Iterator[Alert]:
    """Suspect the setting if it explains why no key in use is this deployment's."""
    deployment = draft.policy.deployment
    others = other_deployments(((view.entry, view.key) for view in draft.views), deployment)
    if others:
        message = Message.of(
            "every key in use that a rotator created is named after deployment {others}, none after {deployment}; "
            "unless you are changing it, set ROTATOR_DEPLOYMENT to that name",
            others=" or ".join(others),
            deployment=deployment,
        )
        yield Alert(Reason.OTHER_DEPLOYMENT_KEY, message)


def _report_old_credentials(draft: Draft) -> Iterator[Alert]:
    management = draft.snapshot.management
    changed = management.last_changed if management is not None else None
    if management is not None and changed is not None and draft.now - changed > MANAGEMENT_PASSWORD_OLD:
        template = "the management password has not been changed for {age}; change it at Infobip, then in this secret"
        message = Message.of(template, age=draft.now - changed)
        yield Alert(Reason.MANAGEMENT_PASSWORD_OLD, message, management.name, location=management.location)
