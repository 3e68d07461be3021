"""Plans and results as text for people: what the commands that show them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from rotator.cli.call import Call
from rotator.cli.documents import results_document
from rotator.engine.sweep import NO_ACCOUNT, errors_in
from rotator.errors import RotatorError, sentence
from rotator.plan import AccountPlan, Action, ActionKind, Alert, Outcome, Plan, Result, Severity, Skip
from rotator.reasons import Reason
from rotator.render import Grid, Row, absolute, counted, key_words, shown, styled
from rotator.text import some_of

MOST_ROWS: Final = 60
"""Rows of a table. The rest are counted, and ``--json`` has them."""
SEE_DOCTOR: Final = "To diagnose: `rotator doctor`."
APPLY: Final = "To apply: `rotator run`."
_NAME: Final = 30
LONGEST_REASON: Final = 23
"""Wide enough for every reason, so that none is broken."""
_MOST_NAMES: Final = 10
_BY_EXPIRY: Final = (Reason.EXPIRING, Reason.EXPIRED, Reason.MAX_AGE, Reason.CAPACITY, Reason.REQUESTED)
_NOT_WORKING: Final = (Reason.EXPIRED, Reason.KEY_DISABLED)
_STYLES: Final = {Outcome.DONE: "green", Outcome.FAILED: "red", Outcome.DEFERRED: "yellow"}


# ---- a plan ---------------------------------------------------------------------------------------------------------


def plan_parts(found: Plan, unchanged: str, then: str) -> Iterator[RenderableType]:
    """Yield all accounts, then the totals.

    :param unchanged: that nothing was changed.
    :param then: the next command, shown if there is something that it would do.
    """
    for part in found.accounts:
        rows = [_action_row(action, found.generated_at) for action in part.actions]
        yield from account_parts(part, rows, (7, _NAME, 16), "nothing to do")
    kinds = Counter(action.kind for part in found.accounts for action in part.actions)
    yield summary(found.accounts, [f"{kinds[kind]} to {kind}" for kind in ActionKind if kinds[kind]], "Nothing to do")
    if needs_doctor(found.accounts):
        then = SEE_DOCTOR
    elif not kinds:
        then = ""
    yield f"{unchanged} {then}".rstrip()


def needs_doctor(plans: Sequence[AccountPlan]) -> bool:
    """Whether an account could not be read, or no secret is managed."""
    return any(plan.error is not None for plan in plans) or all(plan.account == NO_ACCOUNT for plan in plans)


def account_parts(
    plan: AccountPlan, rows: Sequence[Row], limits: Sequence[int], nothing: str
) -> Iterator[RenderableType]:
    """Yield an account's actions, skipped secrets, errors and warnings. None is listed twice for one reason."""
    if plan.error is not None:
        yield from unobserved(plan)
        return
    errors, acted_on = errors_in(plan), {action.which for action in plan.actions}
    skipped = _only_skipped(plan)
    listed = {(skip.which, skip.reason) for skip in skipped}
    warnings = [a for a in plan.alerts if a.severity is Severity.WARNING and (a.which, a.kind) not in listed]
    yield heading(plan)
    if rows:
        yield from ("", Grid(rows, limits, most=MOST_ROWS))
    elif plan.account != NO_ACCOUNT and not _is_blocked(plan):
        yield f"  {nothing}"
    for title, table in (
        ("skipped", [(shown(skip.title), str(skip.reason), shown(skip.message)) for skip in skipped]),
        ("errors (skipped until fixed)", [_alert_row(plan, a, "red") for a in errors if a.which not in acted_on]),
        ("other errors", [_alert_row(plan, a, "red") for a in errors if a.which in acted_on]),
        ("warnings", [_alert_row(plan, alert, "yellow") for alert in warnings]),
    ):
        if table:
            yield from ("", title, Grid(table, (_NAME, LONGEST_REASON), most=MOST_ROWS))
    yield ""


def heading(plan: AccountPlan) -> Text:
    """``main · 214 keys · 9 of 40 creates used today, 8 reserved for emergencies``."""
    name = shown(plan.account, 60)
    if plan.error is not None or plan.account == NO_ACCOUNT:
        return styled(name, "bold")
    used, limit, reserve = plan.quota.creates_used, plan.quota.creates_limit, plan.quota.reserve
    creates = f"{reserve} of {limit} creates" if used is None else f"{used} of {limit} creates used today, {reserve}"
    return styled(f"{name} · {counted(plan.keys, 'key')} · {creates} reserved for emergencies", "bold")


def unobserved(plan: AccountPlan, what: str = "could not be read", then: str = "") -> Iterator[RenderableType]:
    """Yield why an account could not be read; if it was, errors that concern no account's secrets.

    :param then: what was not changed, and what comes next.
    """
    if plan.error is None:
        named = (f"{shown(alert.title)}: " if alert.title else "" for alert in plan.alerts)
        yield from (name + shown(alert.message) for name, alert in zip(named, plan.alerts, strict=True))
        return
    rows: list[Row] = [(styled(what, "red"), f"{sentence(shown(plan.error))} {then}".rstrip())]
    if plan.skipped:
        rows.append(("skipped", some_of((shown(skip.title) for skip in plan.skipped), _MOST_NAMES)))
    yield from (heading(plan), Grid(rows, (17,)), "")


def last_parts(broken: Sequence[AccountPlan], advice: str) -> Iterator[RenderableType]:
    """Yield the accounts that could not be read, then what to do next."""
    for plan in broken:
        yield from unobserved(plan)
    yield SEE_DOCTOR if broken else advice


def _is_blocked(plan: AccountPlan) -> bool:
    """Whether work may be due and can't be done: an error, or something overdue."""
    return bool(errors_in(plan)) or any(alert.kind is Reason.OVERDUE for alert in plan.alerts)


def _only_skipped(plan: AccountPlan) -> list[Skip]:
    """Return what is skipped without an error."""
    fix = {(alert.which, alert.kind) for alert in errors_in(plan)}
    return [skip for skip in plan.skipped if (skip.which, skip.reason) not in fix]


def summary(plans: Sequence[AccountPlan], counts: list[str], nothing: str, failed: str = "could not be read") -> str:
    """``2 to rotate, 1 to revoke, 2 skipped, 1 error.``

    :param nothing: the text if there is nothing to count; omitted if no account could be read.
    :param failed: what happened to the other accounts.
    """
    seen = [plan for plan in plans if plan.error is None]
    parts = counts or ([nothing] if seen and not any(map(_is_blocked, seen)) else [])
    skipped = len({(plan.account, skip.which) for plan in plans for skip in _only_skipped(plan)})
    parts += [f"{skipped} skipped"] if skipped else []
    errors = sum(len(errors_in(plan)) for plan in seen)
    parts += [counted(errors, "error")] if errors else []
    if len(seen) < len(plans):
        accounts = sum(1 for plan in plans if plan.account != NO_ACCOUNT)
        parts.append(f"{len(plans) - len(seen)} of {accounts} accounts {failed}")
    return ", ".join(parts) + "."


def _action_row(action: Action, now: datetime) -> Row:
    detail = shown(action.message)
    if action.key_id is not None and action.kind is ActionKind.REVOKE and key_words(action.key_id) not in detail:
        detail = f"{key_words(action.key_id)}, {detail}" if detail else key_words(action.key_id)
    if action.deadline is not None and action.reason in _BY_EXPIRY:
        verb = "expires " if action.deadline > now else ""  # "expired 3 d ago, 20 Nov 10:00 CET"
        if action.reason is Reason.REQUESTED and action.key_id is not None:
            verb = f"{key_words(action.key_id)} {verb}"
        detail = f"{detail}, {verb}{absolute(action.deadline, now)}"
    style = "red" if action.kind is ActionKind.REVOKE else "cyan"
    return styled(str(action.kind), style), shown(action.title), str(action.reason), detail


def _alert_row(plan: AccountPlan, alert: Alert, style: str) -> Row:
    named = shown(alert.title) if alert.secret else key_words(alert.key_id) if alert.key_id else shown(plan.account)
    return named, styled(str(alert.kind), style), shown(alert.message)


# ---- its results ----------------------------------------------------------------------------------------------------


def result_row(result: Result) -> Row:
    """Return outcome, action, secret, and a text: what was done, or why not."""
    action = result.action
    outcome = styled(str(result.outcome), _STYLES[result.outcome])
    words = _done_words(result) if result.error is None else shown(result.error)
    return outcome, str(action.kind), shown(action.title), words


RESULT_LIMITS: Final = (8, 7, _NAME)


def _done_words(result: Result) -> str:
    action = result.action
    key = key_words(action.key_id)
    match action.kind:
        case ActionKind.LABEL if action.reason is Reason.UNADOPTED:
            return f"{key} is now managed"
        case ActionKind.LABEL:
            return f"label {shown(action.message)} conflicted with the others and was removed"
        case ActionKind.RETIRE:
            return f"{key} is retiring; {shown(action.message)}"
        case ActionKind.REVOKE if action.reason is Reason.KEY_NOT_ACTIVE:
            return f"{key} was already disabled; its labels were removed"
        case ActionKind.REVOKE:
            return f"{key} is revoked ({action.reason})"
        case _:
            new = result.promoted
            made = f"{key_words(new.key_id)} is current" if new is not None else "done"
            old = action.key_id is not None and action.kind is ActionKind.ROTATE
            state = "no longer works" if action.reason in _NOT_WORKING else "is in its grace period"
            state = "is not in this Infobip account" if new is not None and new.moved else state
            return f"{made} ({action.reason})" + (f"; {key} {state}" if old else "")


def show_results(call: Call, results: Sequence[Result], advice: str, retry: str = "The next sweep retries.") -> int:
    """Show each result, then the next command.

    :param retry: what follows if a result is not done.
    :raises RotatorError: a result is not done; the message says why.
    """
    rows = [result_row(result) for result in results]
    call.result(results_document(results), [Grid(rows, RESULT_LIMITS)] if rows else [])
    if not results:
        raise RotatorError("nothing was done", advice="See `rotator plan`.")
    failed = next((result for result in results if result.outcome is not Outcome.DONE), None)
    if failed is None:
        call.text(advice)
        return 0
    what = "was deferred" if failed.outcome is Outcome.DEFERRED else "failed"
    verb = f"{failed.action.kind} of {shown(failed.action.title)} {what}"
    raise RotatorError(f"{verb}: {failed.error or 'no reason given'}", advice=retry)
