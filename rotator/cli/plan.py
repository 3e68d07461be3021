"""``rotator plan``: what a sweep would do; and plans and their results as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import RenderableType
from rich.text import Text

from rotator.cli.documents import plan_document
from rotator.cli.options import Options, common_options, pass_options, wide_option
from rotator.cli.output import Output
from rotator.cli.session import opened
from rotator.durations import MAX_DURATION, parse_duration
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import NO_ACCOUNT
from rotator.errors import ConfigurationError
from rotator.model import AccountPlan, Action, ActionKind, Alert, Outcome, Plan, Reason, Result, Severity, Skip
from rotator.render import Grid, absolute, counted, key_words, shown, styled
from rotator.text import some_of

WORK_TO_DO: Final = 3
SOMETHING_TO_FIX: Final = 4
MOST_ROWS: Final = 60
"""Of one table; the rest is counted, and ``--json`` has it."""
NO_SECRETS: Final = "No secret is tagged rotator:role here. Check region and account: `rotator doctor`."
SEE_DOCTOR: Final = "What is wrong and how to fix it: `rotator doctor`."
_NAME: Final = 30
_REASON: Final = 16
_MOST_NAMES: Final = 10
_BY_EXPIRY: Final = (Reason.EXPIRING, Reason.EXPIRED, Reason.MAX_AGE, Reason.CAPACITY, Reason.REQUESTED)
_NOT_WORKING: Final = (Reason.EXPIRED, Reason.KEY_DISABLED, Reason.KEY_MISSING)
_STYLES: Final = {Outcome.DONE: "green", Outcome.FAILED: "red", Outcome.DEFERRED: "yellow"}


@click.command()
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option("--secret", metavar="S", help="Only this secret (name or ARN).")
@click.option("--at", metavar="TIME", help="As of then: +14d, 2026-12-01T10:00 (in UTC), 2026-12-01T10:00+01:00.")
@click.option("--exit-code", is_flag=True, help="Exit 3: there is work to do; 4: no work, but something to fix.")
@wide_option
@common_options
@pass_options
def plan(options: Options, account: str | None, secret: str | None, at: str | None, exit_code: bool) -> int:
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
    output = Output(options)
    with opened(options) as app:
        moment = None if at is None else parse_moment(at, app.clock.now())
        found = Reconciler(app.services).plan(account=account, secret=secret, at=moment)
        if output.is_json:
            output.document(plan_document(found))
        else:
            show_plan(output, found, "Nothing was changed: `rotator run` does this.")
        return _code(found) if exit_code or not _observed(found) else 0


def _observed(found: Plan) -> bool:
    return all(part.ran_through for part in found.accounts)


def _code(found: Plan) -> int:
    """For ``--exit-code``: the worst of it."""
    if not _observed(found):
        return 1
    if any(part.actions for part in found.accounts):
        return WORK_TO_DO
    fix = any(alert.severity is Severity.ERROR for part in found.accounts for alert in part.alerts)
    return SOMETHING_TO_FIX if fix else 0


def parse_moment(text: str, now: datetime) -> datetime:
    """A time as people write it, in UTC: ISO with or without an offset, or a length from now such as ``+14d``.

    :raises ConfigurationError: it is neither, or longer ahead than any key can live.
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
    if moment - now > MAX_DURATION:
        raise ConfigurationError(
            f'--at "{text[:40]}" is more than {MAX_DURATION.days} days ahead', advice="Write one such as +14d."
        )
    return moment


# ---- a plan ---------------------------------------------------------------------------------------------------------


def show_plan(output: Output, found: Plan, then: str) -> None:
    """All accounts, and what it comes to.

    :param then: that nothing was changed, and the next command.
    """
    for part in found.accounts:
        output.text(*_plan_parts(part, found.generated_at))
    output.text(*([_summary(found.accounts), then] if found.accounts else [NO_SECRETS]))


def heading(plan: AccountPlan) -> Text:
    """``main · 214 keys · 9 of 40 creates used today, 8 kept for emergencies``."""
    name = shown(plan.account, 60)
    if plan.error is not None or plan.account == NO_ACCOUNT:
        return styled(name, "bold")
    quota = plan.quota
    used = f"{quota.creates_used} of {quota.creates_limit} creates used today, {quota.reserve} kept for emergencies"
    return styled(f"{name} · {counted(plan.keys, 'key')} · {used}", "bold")


def _plan_parts(plan: AccountPlan, now: datetime) -> Iterator[RenderableType]:
    if plan.error is not None:
        yield from unobserved(plan)
        return
    yield heading(plan)
    if plan.actions:
        yield ""
        yield from bounded([_action_row(action, now) for action in plan.actions], (7, _NAME, _REASON))
    elif plan.account != NO_ACCOUNT:
        yield "  nothing to do"
    yield from skipped_rows(plan)
    yield ""


def unobserved(plan: AccountPlan, what: str = "not observed", then: str = "") -> Iterator[RenderableType]:
    """An account that could not be observed; nothing where it was.

    :param then: what was left as it was, and what comes next.
    """
    if plan.error is None:
        return
    text = shown(plan.error)
    stop = "" if text.endswith((".", "!", "?")) else "."
    rows = [(styled(what, "red"), f"{text}{stop} {then}".rstrip())]
    if plan.skipped:
        rows.append((styled("skipped", ""), some_of((shown(skip.secret) for skip in plan.skipped), _MOST_NAMES)))
    yield heading(plan)
    yield Grid(rows, (12,))
    yield ""


def skipped_rows(plan: AccountPlan) -> Iterator[RenderableType]:
    """What is skipped, and errors and warnings; a secret that is both is listed once."""
    errors = [alert for alert in plan.alerts if alert.severity is Severity.ERROR]
    acted_on = {action.secret for action in plan.actions}
    skipped = _only_skipped(plan)
    listed = {(skip.secret, skip.reason) for skip in skipped}
    warnings = [a for a in plan.alerts if a.severity is Severity.WARNING and (a.secret, a.kind) not in listed]
    tables: tuple[tuple[str, list[Sequence[str | Text]]], ...] = (
        ("skipped", [(shown(skip.secret), str(skip.reason), shown(skip.message)) for skip in skipped]),
        ("errors (skipped until fixed)", [_alert_row(plan, a, "red") for a in errors if a.secret not in acted_on]),
        ("other errors", [_alert_row(plan, a, "red") for a in errors if a.secret in acted_on]),
        ("warnings", [_alert_row(plan, alert, "yellow") for alert in warnings]),
    )
    for title, rows in tables:
        if rows:
            yield ""
            yield title
            yield from bounded(rows, (_NAME, 20))


def _only_skipped(plan: AccountPlan) -> list[Skip]:
    """Skipped without anything being wrong."""
    fix = {(alert.secret, alert.kind) for alert in plan.alerts if alert.severity is Severity.ERROR}
    return [skip for skip in plan.skipped if (skip.secret, skip.reason) not in fix]


def bounded(
    rows: Sequence[Sequence[str | Text]],
    limits: Sequence[int],
    heads: Sequence[str] = (),
    rest: str = "--json has them all, --secret NAME shows one",
) -> Iterator[RenderableType]:
    """A table of at most :data:`MOST_ROWS` rows.

    :param rest: where the other rows are.
    """
    yield Grid(rows[:MOST_ROWS], limits, heads)
    if len(rows) > MOST_ROWS:
        yield f"  … and {len(rows) - MOST_ROWS} more; {rest}"


def _summary(plans: Sequence[AccountPlan]) -> str:
    """``2 to rotate, 1 to revoke, 2 skipped``, then what can't go on."""
    kinds = Counter(action.kind for plan in plans for action in plan.actions)
    parts = [f"{kinds[kind]} to {kind}" for kind in ActionKind if kinds[kind]] or nothing_of(plans, "Nothing to do")
    skipped = len({(plan.account, skip.secret) for plan in plans for skip in _only_skipped(plan)})
    if skipped:
        parts.append(f"{skipped} skipped")
    return ", ".join(parts + to_fix(plans)) + "."


def nothing_of(plans: Sequence[AccountPlan], words: str) -> list[str]:
    """That there is nothing, where that is known: of an account that could not be observed it is not."""
    return [words] if any(plan.error is None for plan in plans) else []


def to_fix(plans: Sequence[AccountPlan], done: str = "observed") -> list[str]:
    """What a person has to fix, in a few words."""
    broken = sum(1 for plan in plans if plan.error is not None)
    fix = sum(1 for plan in plans if plan.error is None for a in plan.alerts if a.severity is Severity.ERROR)
    parts = [counted(fix, "error")] if fix else []
    accounts = sum(1 for plan in plans if plan.account != NO_ACCOUNT)
    if broken:
        parts.append(f"{broken} of {accounts} accounts not {done}")
    return parts


def _action_row(action: Action, now: datetime) -> Sequence[str | Text]:
    detail = shown(action.message)
    if action.key_id is not None and action.kind is ActionKind.REVOKE and key_words(action.key_id) not in detail:
        detail = f"{key_words(action.key_id)}, {detail}" if detail else key_words(action.key_id)
    if action.deadline is not None and action.reason in _BY_EXPIRY:
        verb = "expires " if action.deadline > now else ""  # "expired 3 d ago, 20 Nov 10:00 CET"
        detail = f"{detail}, {verb}{absolute(action.deadline, now)}"
    style = "red" if action.kind is ActionKind.REVOKE else "cyan"
    return styled(str(action.kind), style), shown(action.secret), str(action.reason), detail


def _alert_row(plan: AccountPlan, alert: Alert, style: str) -> Sequence[str | Text]:
    named = shown(alert.secret) if alert.secret else key_words(alert.key_id) if alert.key_id else shown(plan.account)
    return named, styled(str(alert.kind), style), shown(alert.message)


# ---- its results ----------------------------------------------------------------------------------------------------


def result_rows(results: Sequence[Result]) -> Iterator[RenderableType]:
    """Outcome, secret, and in words what was done or why not."""
    yield from bounded([_result_row(result) for result in results], (8, 7, _NAME))


def _result_row(result: Result) -> Sequence[str | Text]:
    action = result.action
    outcome = styled(str(result.outcome), _STYLES[result.outcome])
    words = _done_words(result) if result.error is None else shown(result.error)
    return outcome, str(action.kind), shown(action.secret), words


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
