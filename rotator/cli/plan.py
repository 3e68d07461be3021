"""``rotator plan``: what a sweep would do; and plans and their results as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import RenderableType
from rich.text import Text

from rotator.cli.call import Call
from rotator.cli.documents import as_json
from rotator.cli.options import account_option, command, secret_option, wide_option
from rotator.durations import MAX_DURATION, parse_duration
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import NO_ACCOUNT, errors_in
from rotator.errors import ConfigurationError
from rotator.model import AccountPlan, Action, ActionKind, Alert, Outcome, Plan, Reason, Result, Severity, Skip
from rotator.render import Grid, Row, absolute, counted, key_words, shown, styled
from rotator.text import some_of

WORK_TO_DO: Final = 3
SOMETHING_TO_FIX: Final = 4
MOST_ROWS: Final = 60
"""Rows of a table. The rest are counted, and ``--json`` has them."""
NO_SECRETS: Final = "No secret is tagged rotator:role here. Check region and account: `rotator doctor`."
SEE_DOCTOR: Final = "What is wrong and how to fix it: `rotator doctor`."
_NAME: Final = 30
_MOST_NAMES: Final = 10
_BY_EXPIRY: Final = (Reason.EXPIRING, Reason.EXPIRED, Reason.MAX_AGE, Reason.CAPACITY, Reason.REQUESTED)
_NOT_WORKING: Final = (Reason.EXPIRED, Reason.KEY_DISABLED)
_STYLES: Final = {Outcome.DONE: "green", Outcome.FAILED: "red", Outcome.DEFERRED: "yellow"}


@command
@account_option
@secret_option
@click.option("--at", metavar="TIME", help="As of then: +14d, 2026-12-01T10:00 (in UTC), 2026-12-01T10:00+01:00.")
@click.option("--exit-code", is_flag=True, help="Exit 3: there is work to do; 4: no work, but something to fix.")
@wide_option
def plan(call: Call, account: str | None, secret: str | None, at: str | None, exit_code: bool) -> int:
    """Show what a sweep would do, and every secret that it skips.

    Reads tags and staging labels in Secrets Manager and the keys at Infobip,
    and decides as `rotator run` does. Changes nothing.

    Exits 1 if an account can't be observed or has an error as a whole.

    \b
    Examples:
      rotator plan
      rotator plan --secret prod/sms/otp
      rotator plan --at +14d            what will be due in two weeks
      rotator plan --json --exit-code   for a pipeline: 3 is "work to do",
                                        4 "no work, but something to fix"
    """
    app = call.open()
    moment = None if at is None else parse_moment(at, app.clock.now())
    found = Reconciler(app.services).plan(account=account, secret=secret, at=moment)
    call.result(as_json(found), plan_parts(found, "Nothing was changed: `rotator run` does this."))
    if not all(part.ran_through for part in found.accounts):
        return 1
    if not exit_code:
        return 0
    if any(part.actions for part in found.accounts):
        return WORK_TO_DO
    return SOMETHING_TO_FIX if any(errors_in(part) for part in found.accounts) else 0


def parse_moment(text: str, now: datetime) -> datetime:
    """Parse a time that a person wrote, into UTC: ISO with or without an offset, or from now, such as ``+14d``.

    :raises ConfigurationError: it is neither, or too far from now.
    """
    try:
        if text.startswith("+"):
            return now + parse_duration(text[1:])
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f'--at "{text[:40]}" is not a valid time',
            advice="Write one such as 2026-12-01T10:00:00Z, or +14d for in two weeks.",
        ) from None
    if abs(moment - now) > MAX_DURATION:
        raise ConfigurationError(
            f'--at "{text[:40]}" is more than {MAX_DURATION.days} days away', advice="Write one such as +14d."
        )
    return moment


# ---- a plan ---------------------------------------------------------------------------------------------------------


def plan_parts(found: Plan, then: str) -> Iterator[RenderableType]:
    """Yield all accounts, then the totals.

    :param then: that nothing was changed, and the next command.
    """
    for part in found.accounts:
        rows = [_action_row(action, found.generated_at) for action in part.actions]
        yield from account_parts(part, rows, (7, _NAME, 16), "nothing to do")
    kinds = Counter(action.kind for part in found.accounts for action in part.actions)
    yield summary(found.accounts, [f"{kinds[kind]} to {kind}" for kind in ActionKind if kinds[kind]], "Nothing to do")
    if found.accounts:
        yield then


def account_parts(
    plan: AccountPlan, rows: Sequence[Row], limits: Sequence[int], nothing: str
) -> Iterator[RenderableType]:
    """Yield an account's actions, skipped secrets, errors and warnings. None is listed twice for one reason."""
    if plan.error is not None:
        yield from unobserved(plan)
        return
    errors, acted_on = errors_in(plan), {action.secret for action in plan.actions}
    skipped = _only_skipped(plan)
    listed = {(skip.secret, skip.reason) for skip in skipped}
    warnings = [a for a in plan.alerts if a.severity is Severity.WARNING and (a.secret, a.kind) not in listed]
    yield heading(plan)
    if rows:
        yield from ("", Grid(rows, limits, most=MOST_ROWS))
    elif plan.account != NO_ACCOUNT:
        yield f"  {nothing}"
    for title, table in (
        ("skipped", [(shown(skip.secret), str(skip.reason), shown(skip.message)) for skip in skipped]),
        ("errors (skipped until fixed)", [_alert_row(plan, a, "red") for a in errors if a.secret not in acted_on]),
        ("other errors", [_alert_row(plan, a, "red") for a in errors if a.secret in acted_on]),
        ("warnings", [_alert_row(plan, alert, "yellow") for alert in warnings]),
    ):
        if table:
            yield from ("", title, Grid(table, (_NAME, 20), most=MOST_ROWS))
    yield ""


def heading(plan: AccountPlan) -> Text:
    """``main · 214 keys · 9 of 40 creates used today, 8 kept for emergencies``."""
    name = shown(plan.account, 60)
    if plan.error is not None or plan.account == NO_ACCOUNT:
        return styled(name, "bold")
    quota = plan.quota
    used = f"{quota.creates_used} of {quota.creates_limit} creates used today, {quota.reserve} kept for emergencies"
    return styled(f"{name} · {counted(plan.keys, 'key')} · {used}", "bold")


def unobserved(plan: AccountPlan, what: str = "not observed", then: str = "") -> Iterator[RenderableType]:
    """Yield why an account could not be observed; if it was, errors that concern no account's secrets.

    :param then: what was not changed, and what comes next.
    """
    if plan.error is None:
        yield from (f"{shown(alert.secret or '')}: {shown(alert.message)}" for alert in plan.alerts)
        return
    text = shown(plan.error)
    stop = "" if text.endswith((".", "!", "?")) else "."
    rows: list[Row] = [(styled(what, "red"), f"{text}{stop} {then}".rstrip())]
    if plan.skipped:
        rows.append(("skipped", some_of((shown(skip.secret) for skip in plan.skipped), _MOST_NAMES)))
    yield from (heading(plan), Grid(rows, (12,)), "")


def _only_skipped(plan: AccountPlan) -> list[Skip]:
    """Return what is skipped without an error."""
    fix = {(alert.secret, alert.kind) for alert in errors_in(plan)}
    return [skip for skip in plan.skipped if (skip.secret, skip.reason) not in fix]


def summary(plans: Sequence[AccountPlan], counts: list[str], nothing: str, observed: str = "observed") -> str:
    """``2 to rotate, 1 to revoke, 2 skipped, 1 error.``

    :param nothing: the text if there is nothing to count; left out if no account could be observed.
    """
    if not plans:
        return NO_SECRETS
    seen = [plan for plan in plans if plan.error is None]
    parts = counts or ([nothing] if seen else [])
    skipped = len({(plan.account, skip.secret) for plan in plans for skip in _only_skipped(plan)})
    parts += [f"{skipped} skipped"] if skipped else []
    errors = sum(len(errors_in(plan)) for plan in seen)
    parts += [counted(errors, "error")] if errors else []
    if len(seen) < len(plans):
        accounts = sum(1 for plan in plans if plan.account != NO_ACCOUNT)
        parts.append(f"{len(plans) - len(seen)} of {accounts} accounts not {observed}")
    return ", ".join(parts) + "."


def _action_row(action: Action, now: datetime) -> Row:
    detail = shown(action.message)
    if action.key_id is not None and action.kind is ActionKind.REVOKE and key_words(action.key_id) not in detail:
        detail = f"{key_words(action.key_id)}, {detail}" if detail else key_words(action.key_id)
    if action.deadline is not None and action.reason in _BY_EXPIRY:
        verb = "expires " if action.deadline > now else ""  # "expired 3 d ago, 20 Nov 10:00 CET"
        detail = f"{detail}, {verb}{absolute(action.deadline, now)}"
    style = "red" if action.kind is ActionKind.REVOKE else "cyan"
    return styled(str(action.kind), style), shown(action.secret), str(action.reason), detail


def _alert_row(plan: AccountPlan, alert: Alert, style: str) -> Row:
    named = shown(alert.secret) if alert.secret else key_words(alert.key_id) if alert.key_id else shown(plan.account)
    return named, styled(str(alert.kind), style), shown(alert.message)


# ---- its results ----------------------------------------------------------------------------------------------------


def result_row(result: Result) -> Row:
    """Return outcome, action, secret, and a text: what was done, or why not."""
    action = result.action
    outcome = styled(str(result.outcome), _STYLES[result.outcome])
    words = _done_words(result) if result.error is None else shown(result.error)
    return outcome, str(action.kind), shown(action.secret), words


RESULT_LIMITS: Final = (8, 7, _NAME)


def _done_words(result: Result) -> str:
    action = result.action
    key = key_words(action.key_id)
    match action.kind:
        case ActionKind.LABEL if action.reason is Reason.UNADOPTED:
            return f"{key} is under management now"
        case ActionKind.LABEL:
            return f"the label {shown(action.message)} contradicted the others and was removed"
        case ActionKind.RETIRE:
            return f"{key} retires; {shown(action.message)}"
        case ActionKind.REVOKE if action.reason is Reason.KEY_NOT_ACTIVE:
            return f"{key} was disabled already; its labels are removed"
        case ActionKind.REVOKE:
            return f"{key} is revoked ({action.reason})"
        case _:
            made = f"{key_words(result.new_key_id)} is in use" if result.new_key_id else "done"
            old = action.key_id is not None and action.kind is ActionKind.ROTATE
            state = "does not work any more" if action.reason in _NOT_WORKING else "is in its grace period"
            return f"{made} ({action.reason})" + (f"; {key} {state}" if old else "")
