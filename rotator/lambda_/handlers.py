"""The handlers ``sweep``, ``worker`` and ``rotation``, for scheduled work and Secrets Manager's own rotation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from rotator.aws.clients import make_client
from rotator.aws.sqs import AccountQueue
from rotator.bootstrap import App
from rotator.engine.new_value import stored_by_others, take_up
from rotator.engine.observe import observe_fleet
from rotator.engine.reconcile import Reconciler
from rotator.engine.rotation.four_steps import run_step
from rotator.engine.sweep import ACTOR, counts, errors_of, problems
from rotator.errors import RotatorError, StoreDenied
from rotator.lambda_ import runtime
from rotator.lambda_.requests import (
    QueueRecord,
    SweepRequest,
    is_of_secrets_manager,
    label_update,
    queue_records,
    rotation_request,
    sweep_request,
)
from rotator.lambda_.runtime import Invocation
from rotator.model import Location, SecretEntry, StoreId
from rotator.plan import Outcome
from rotator.policy.tags import account_of
from rotator.telemetry.audit import Trigger

AWS_ACTOR: Final = "secretsmanager"
"""The actor in the audit if Secrets Manager acts: by a rotation of its own, or by an event."""
MAX_PROBLEMS: Final = 5
MAX_PROBLEM_LENGTH: Final = 240
_log = logging.getLogger("rotator.lambda")


class SweepFailed(RotatorError):
    """A sweep partly failed. The remaining work was done; the next sweep continues."""


def sweep(event: Any, invocation: Invocation) -> dict[str, Any]:
    """Sweep all accounts (or the one named), or send each to the queue. Return counts.

    An event of Secrets Manager is about one secret; see :func:`_react`.

    A dry run never uses the queue, since its plan is the response. Errors that a person must fix (a wrong tag) are
    alerts and listed in the response's ``problems``.

    :raises SweepFailed: raised at the end, so that Lambda counts an error and an alarm is raised.
    :raises RotatorError: nothing was done.
    """
    if is_of_secrets_manager(event):
        return _react(event, invocation)
    request = sweep_request(event)
    trigger, actor = Trigger.SCHEDULE, ACTOR
    if request.dry_run:  # from a person: schedules do not request dry runs
        trigger, actor = Trigger.MANUAL, invocation.caller or "lambda"
    app = invocation.start(trigger, actor)
    dry_run = request.dry_run or app.settings.dry_run
    if app.settings.queue_url is not None and not dry_run:
        return _send(app, app.settings.queue_url, request)
    done = Reconciler(app.services).sweep(account=request.account, dry_run=dry_run)
    found = list(problems(done))
    answer = {"run_id": app.audit.run_id, "dry_run": dry_run, **counts(done), "problems": _first(found)}
    _log.log(logging.ERROR if found else logging.INFO, "sweep finished", extra={**answer, "problems": found})
    if not done.succeeded:
        raise SweepFailed(f"the sweep partly failed: {_short(found)}")
    return dict(app.redactor.scrub(answer))


def _send(app: App, url: str, request: SweepRequest) -> dict[str, Any]:
    queue = AccountQueue(make_client(app.session, "sqs"), url)
    fleet = observe_fleet(app.services.store)
    accounts = fleet.chosen(request.account)
    # No message covers secrets that name no account, so their alerts are raised here.
    stray = Reconciler(app.services).raise_stray(fleet, request.account)
    failed = queue.send(accounts, request.scheduled or app.clock.now())
    sent = len(accounts) - len(failed)
    fix = list(errors_of(stray))
    answer = {"run_id": app.audit.run_id, "dry_run": False, "accounts": len(accounts), "sent": sent}
    answer |= {"alerts": sum(len(plan.alerts) for plan in stray), "problems": _first(fix)}
    _log.log(logging.ERROR if fix else logging.INFO, "accounts sent to the queue", extra={**answer, "problems": fix})
    if failed:
        lost = [f"account {account} was not sent to the queue: {why}" for account, why in sorted(failed.items())]
        raise SweepFailed(f"{len(failed)} of {len(accounts)} accounts were not swept: {_short(lost)}")
    if fleet.unlisted:
        raise SweepFailed(f"the accounts were sent to the queue, but not every store could be listed: {_short(fix)}")
    return dict(app.redactor.scrub(answer))


def _react(event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Take up the secret whose ``AWSCURRENT`` moved, or send it to the queue, if another process stored its value.

    Such an event comes for every secret of an AWS account, for the rotator's own promotions, twice, late, or never; its
    ARN says which store the secret is in. It can be lost without harm, because the next sweep does the same; so nothing
    here is a failure, which would raise an alarm and be repeated.
    """
    update = label_update(event)
    if update is None:
        return {"outcome": "ignored"}
    app = invocation.start(Trigger.SECRETSMANAGER, AWS_ACTOR)
    at = Location.of(update.arn)
    if invocation.location is not None and at not in _locations(app, invocation.location):
        return {"outcome": "ignored"}
    try:
        entry = stored_by_others(app.services.store, update.arn, update.version_id)
        if entry is None:
            return {"outcome": "ignored"}
        url, dry_run = app.settings.queue_url, app.settings.dry_run
        if url is None or dry_run:
            return dict(app.redactor.scrub({"outcome": "done", **_taken_up(app, entry)}))
        queue = AccountQueue(make_client(app.session, "sqs"), url)
        lost = queue.send_secret(account_of(entry.tags) or "", entry.arn, update.version_id)
        if lost is None:
            return {"outcome": "sent"}
        _log.warning("%s was not sent to the queue; the next sweep verifies it: %s", entry.name, lost)
    except StoreDenied as error:
        if runtime.first_time(f"{error.action} {at}"):  # by IAM, it is the same for all secrets of a store
            _log.warning("new values are not verified before the next sweep: %s", error)
    except RotatorError as error:  # also a secret that was deleted since
        _log.info("%s was not verified; the next sweep does it if it is managed: %s", update.arn, error)
    return {"outcome": "ignored"}


def _locations(app: App, here: Location) -> set[Location]:
    """Return where the stores are. ``here``: where this function is."""
    stores = app.settings.stores or (StoreId(here.region),)
    return {Location(each.account or here.aws_account, each.region) for each in stores}


def _taken_up(app: App, entry: SecretEntry) -> dict[str, int]:
    """Take up one secret. Return counts.

    :raises RotatorError: the management secrets can't be listed.
    """
    done = take_up(Reconciler(app.services), entry, dry_run=app.settings.dry_run)
    found, extra = list(problems(done)), counts(done)
    level = logging.WARNING if found else logging.INFO
    _log.log(level, "a new value was taken up", extra={"secret": entry.name, "problems": found, **extra})
    return extra


def worker(event: Any, invocation: Invocation) -> dict[str, Any]:
    """Sweep the account of each message, or take up its secret. Return the messages that SQS should deliver again.

    A message fails if its account could not be swept, if an action failed, or if nothing was done although something is
    overdue because of the account. Errors that a person must fix (a wrong tag) are alerts, not failures, because
    delivering the message again would not fix them. A message about one secret never fails, because the next sweep does
    the same.

    :raises BadEvent: this is not an SQS event.
    """
    records = queue_records(event)
    by_event = bool(records) and all(record.secret is not None for record in records)  # a batch has one message
    app = invocation.start(*((Trigger.SECRETSMANAGER, AWS_ACTOR) if by_event else (Trigger.SCHEDULE, ACTOR)))
    failed: list[QueueRecord] = []
    groups: set[str] = set()
    swept: set[str] = set()
    for record in records:
        # In a FIFO queue, later messages of a group must wait for a failed one.
        if not invocation.may_start() or (record.group and record.group in groups):
            _log.warning("message %s was deferred", record.title)
            failed.append(record)
        elif not _swept(app, record, swept):
            failed.append(record)
            groups.add(record.group)
    return {"batchItemFailures": [{"itemIdentifier": record.message_id} for record in failed]}


def _swept(app: App, record: QueueRecord, swept: set[str]) -> bool:
    """Do what one message says, unless this call already did. Return whether it succeeded; never raises."""
    try:
        if record.problem is not None:
            raise record.problem
        if record.secret is None:
            return record.account in swept or _swept_account(app, record.account, swept)
        entry = stored_by_others(app.services.store, record.secret)
        if entry is not None and account_of(entry.tags) == record.account:
            _taken_up(app, entry)
        return True
    except RotatorError as error:
        level = logging.ERROR if record.secret is None else logging.WARNING
        _log.log(level, "message %s failed: %s", record.title, error)
    except Exception:  # a bug in one account's sweep never stops another's
        _log.exception("a bug in rotator; message %s failed", record.title)
    return record.secret is not None


def _swept_account(app: App, account: str, swept: set[str]) -> bool:
    done = Reconciler(app.services).sweep(account=account, dry_run=app.settings.dry_run)
    found = list(problems(done))
    level = logging.ERROR if found else logging.INFO
    _log.log(level, "sweep finished", extra={"account": account, "problems": found, **counts(done)})
    if any(plan.error for plan in done.plan.accounts) or any(r.outcome is Outcome.FAILED for r in done.results):
        return False
    if not done.succeeded and all(plan.ran_through for plan in done.plan.accounts):
        return False  # nothing was done although something is overdue; the next delivery may have more time
    swept.add(account)
    return True


def rotate(event: Any, invocation: Invocation) -> dict[str, Any]:
    """Run one of the four steps. The response is for people; Secrets Manager ignores it.

    :raises RotatorError: rejected or failed; Secrets Manager shows the text and retries later.
    """
    secret, token, step = rotation_request(event)
    app = invocation.start(Trigger.SECRETSMANAGER, AWS_ACTOR)
    done = run_step(app.services, secret, token, step)
    _log.info("%s: %s", step, done)
    return {"step": str(step), "version_id": token, "done": done, "run_id": app.audit.run_id}


def _first(found: list[str]) -> list[str]:
    limit = MAX_PROBLEM_LENGTH
    return [text if len(text) <= limit else f"{text[:limit]}…" for text in found[:MAX_PROBLEMS]]


def _short(found: list[str]) -> str:
    more = len(found) - MAX_PROBLEMS
    return "; ".join(_first(found)) + (f"; and {more} more, see the log" if more > 0 else "")
