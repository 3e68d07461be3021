"""A plan, and what became of it, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rotator.engine.sweep import NO_ACCOUNT
from rotator.model import AccountPlan, Action, ActionKind, Alert, Outcome, Reason, Result, Severity, Skip
from rotator.render import Grid, absolute, counted, key_words, shown, styled
from rotator.text import some_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MOST_ROWS: Final = 60
"""Of one table; the rest is counted, and ``--json`` has it."""
_NAME: Final = 30
_REASON: Final = 16
_MOST_NAMES: Final = 10
_ENDING: Final = (Reason.EXPIRING, Reason.EXPIRED, Reason.MAX_AGE, Reason.CAPACITY, Reason.REQUESTED)
_DEAD: Final = (Reason.EXPIRED, Reason.KEY_DISABLED, Reason.KEY_MISSING)
_SIGNS: Final = {Outcome.DONE: "green", Outcome.FAILED: "red", Outcome.DEFERRED: "yellow"}


def heading(plan: AccountPlan) -> str:
    """``main · 214 keys · 9 of 40 creates used today, 8 kept for emergencies``."""
    name = shown(plan.account, 60)
    if plan.error is not None or plan.account == NO_ACCOUNT:
        return name
    quota = plan.quota
    used = f"{quota.creates_used} of {quota.creates_limit} creates used today, {quota.reserve} kept for emergencies"
    return f"{name} · {counted(plan.keys, 'key')} · {used}"


def plan_parts(plan: AccountPlan, now: datetime) -> Iterator[RenderableType]:
    """One account of a plan."""
    yield styled(heading(plan), "bold")
    if plan.error is not None:
        yield from unobserved(plan)
        return
    if plan.actions:
        yield ""
        rows = [_action_row(action, now) for action in plan.actions]
        yield from bounded(rows, (7, _NAME, _REASON))
    elif plan.account != NO_ACCOUNT:
        yield "  nothing to do"
    yield from skipped_rows(plan)
    yield ""


def unobserved(plan: AccountPlan, what: str = "not observed", then: str = "") -> Iterator[RenderableType]:
    """An account that could not be looked at.

    :param then: what was left as it was, and what comes next.
    """
    text = shown(plan.error or "")
    stop = "" if text.endswith((".", "!", "?")) else "."
    rows = [(styled(what, "red"), f"{text}{stop} {then}".rstrip())]
    if plan.skipped:
        rows.append((styled("skipped", ""), some_of((shown(skip.secret) for skip in plan.skipped), _MOST_NAMES)))
    yield Grid(rows, (12,))
    yield ""


def skipped_rows(plan: AccountPlan) -> Iterator[RenderableType]:
    """What is not touched, and what a person should know; a secret that is both is said once."""
    errors = [alert for alert in plan.alerts if alert.severity is Severity.ERROR]
    waiting = _only_left(plan)
    said = {(skip.secret, skip.reason) for skip in waiting}
    warnings = [a for a in plan.alerts if a.severity is Severity.WARNING and (a.secret, a.kind) not in said]
    tables: tuple[tuple[str, list[Sequence[str | Text]]], ...] = (
        ("skipped", [(shown(skip.secret), str(skip.reason), shown(skip.message)) for skip in waiting]),
        ("errors (skipped until fixed)", [_alert_row(plan, alert, "red") for alert in errors]),
        ("to know", [_alert_row(plan, alert, "yellow") for alert in warnings]),
    )
    for title, rows in tables:
        if rows:
            yield ""
            yield title
            yield from bounded(rows, (_NAME, 20))


def _only_left(plan: AccountPlan) -> list[Skip]:
    """Skipped without anything being wrong."""
    fix = {(alert.secret, alert.kind) for alert in plan.alerts if alert.severity is Severity.ERROR}
    return [skip for skip in plan.skipped if (skip.secret, skip.reason) not in fix]


def bounded(rows: Sequence[Sequence[str | Text]], limits: Sequence[int]) -> Iterator[RenderableType]:
    """A table of at most :data:`MOST_ROWS` rows, and a word about the rest."""
    yield Grid(rows[:MOST_ROWS], limits)
    if len(rows) > MOST_ROWS:
        yield f"  … and {len(rows) - MOST_ROWS} more; --json has them all, --secret NAME shows one"


def plan_summary(plans: Sequence[AccountPlan]) -> str:
    """``2 to rotate, 1 to revoke, 2 skipped``, then what can't go on."""
    kinds = Counter(action.kind for plan in plans for action in plan.actions)
    parts = [f"{kinds[kind]} to {kind}" for kind in ActionKind if kinds[kind]] or nothing_of(plans, "Nothing to do")
    skipped = len({(plan.account, skip.secret) for plan in plans for skip in _only_left(plan)})
    if skipped:
        parts.append(f"{skipped} skipped")
    return ", ".join(parts + to_fix(plans)) + "."


def nothing_of(plans: Sequence[AccountPlan], words: str) -> list[str]:
    """That there is nothing, where that is known: of an account that could not be looked at it is not."""
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


def result_row(result: Result) -> Sequence[str | Text]:
    """Outcome, secret, and in words what was done or why not."""
    action = result.action
    outcome = styled(str(result.outcome), _SIGNS[result.outcome])
    if result.error is not None:
        return outcome, str(action.kind), shown(action.secret), shown(result.error)
    return outcome, str(action.kind), shown(action.secret), _done_words(result)


def _done_words(result: Result) -> str:
    action = result.action
    match action.kind:
        case ActionKind.LABEL if action.reason is Reason.UNADOPTED:
            return f"{key_words(action.key_id)} is under management now"
        case ActionKind.LABEL:
            return f"the label {shown(action.message)} contradicted the others and is gone"
        case ActionKind.RETIRE:
            return f"{key_words(action.key_id)} retires; {shown(action.message)}"
        case ActionKind.REVOKE if action.reason is Reason.KEY_NOT_ACTIVE:
            return f"{key_words(action.key_id)} was dead already; its labels are gone"
        case ActionKind.REVOKE:
            return f"{key_words(action.key_id)} is revoked ({action.reason})"
        case _:
            made = f"{key_words(result.new_key_id)} is in use" if result.new_key_id else "done"
            old = action.key_id is not None and action.kind is ActionKind.ROTATE
            left = "does not work any more" if action.reason in _DEAD else "is in grace"
            return f"{made} ({action.reason})" + (f"; {key_words(action.key_id)} {left}" if old else "")


def _action_row(action: Action, now: datetime) -> Sequence[str | Text]:
    detail = shown(action.message)
    if action.key_id is not None and action.kind is ActionKind.REVOKE and key_words(action.key_id) not in detail:
        detail = f"{key_words(action.key_id)}, {detail}" if detail else key_words(action.key_id)
    if action.deadline is not None and action.reason in _ENDING:
        verb = "ends " if action.deadline > now else ""  # "ended 3 d ago, 20 Nov 10:00 CET"
        detail = f"{detail}, {verb}{absolute(action.deadline, now)}"
    style = "red" if action.kind is ActionKind.REVOKE else "cyan"
    return styled(str(action.kind), style), shown(action.secret), str(action.reason), detail


def _alert_row(plan: AccountPlan, alert: Alert, style: str) -> Sequence[str | Text]:
    named = shown(alert.secret) if alert.secret else key_words(alert.key_id) if alert.key_id else shown(plan.account)
    return named, styled(str(alert.kind), style), shown(alert.message)
