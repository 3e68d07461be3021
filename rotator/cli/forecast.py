"""``rotator forecast``: rotations per day against the daily limit, and keys that expire before they are replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NotRequired, TypedDict

from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import AccountError, AtRiskShape, Date, Document, Time, errors_field, shaped, time_text
from rotator.cli.options import account_option, command, days_option
from rotator.cli.plan_text import LONGEST_REASON, last_parts
from rotator.durations import human_duration
from rotator.engine.reconcile import Reconciler
from rotator.plan import AccountPlan, Quota
from rotator.policy.forecast import AccountForecast, AtRisk, forecast_account, spans, verdict
from rotator.reasons import Reason
from rotator.render import NO_SECRETS, Grid, brief, counted, day, shown, styled

MOST_LINES: Final = 40
MOST_AT_RISK: Final = 10
_COUNTS: Final = ("rotations", "early", "revoked", "waiting", "overdue")
_LATER_THAN_NOW: Final = timedelta(hours=1)
_NO_QUOTA: Final = Quota(0, 0, 0, 0, 0)


class ForecastDayShape(TypedDict):
    """One day."""

    date: Date
    rotations: int
    scheduled_early: int
    revocations: int
    waiting: int
    overdue: int
    free: int


class AccountForecastShape(TypedDict):
    """One account."""

    account: str
    limit: int
    reserve: int
    per_day: int
    secrets: int
    days: list[ForecastDayShape]
    first_full_day: Date | None
    at_risk: list[AtRiskShape]
    verdict: str


class ForecastDocument(TypedDict):
    """``forecast``."""

    generated_at: Time
    accounts: list[AccountForecastShape]
    errors: NotRequired[list[AccountError]]


@command(ForecastDocument)
@account_option
@days_option
def forecast(call: Call, account: str | None, days: int) -> int:
    """Forecast rotations per day against Infobip's daily limit.

    Lists keys that expire before they are replaced. Changes nothing.

    Simulates the sweeps of each day. A day is 24 hours; the first starts now.

    Keys at risk do not change the exit code; it is 1 if an account can't be
    read.

    \b
    Examples:
      rotator forecast --account main --days 30
      rotator forecast --json | jq '.accounts[].at_risk'
    """
    app = call.open()
    policy, now = app.services.policy, app.clock.now()
    snapshots, plans = Reconciler(app.services).snapshots(account=account, disabled_keys=True)
    every = [forecast_account(each, policy, now, days=days) for each in snapshots]
    found = [each for each in every if each.error is None]
    broken = [*plans, *(AccountPlan(each.account, _NO_QUOTA, error=each.error) for each in every if each.error)]
    call.result(forecast_document(found, broken, now), _parts(found, broken, now))
    return 1 if any(plan.error is not None for plan in broken) else 0


def _parts(found: Sequence[AccountForecast], broken: Sequence[AccountPlan], now: datetime) -> Iterator[RenderableType]:
    for each in found:
        yield from _account_parts(each, now)
    yield from last_parts(broken, "Next sweep: `rotator plan`." if found else NO_SECRETS)


def _account_parts(found: AccountForecast, now: datetime) -> Iterator[RenderableType]:
    used = f"{found.limit} per day minus {found.reserve} reserved for emergencies"
    others = found.limit - found.reserve - found.per_day
    if others > 0:
        used += f", minus {others} created by other clients"
    yield styled(f"{shown(found.account, 60)} · {counted(found.secrets, 'secret')} · {used}", "bold")
    yield from ("", *_days(found, now), "")
    if found.at_risk:
        yield "Keys that expire before they are replaced"
        rows = [
            (shown(each.title), styled(str(each.reason), "red"), f"{brief(each.expires_at, now)}; {_help(each, now)}")
            for each in found.at_risk
        ]
        yield Grid(rows, (24, LONGEST_REASON), most=MOST_AT_RISK, rest="use --json for the full list")
        yield ""
    full = found.first_full_day
    yield f"The daily limit is {'not reached' if full is None else f'first reached on {day(full, now)}'}."
    yield shown(verdict(found))
    yield ""


def _days(found: AccountForecast, now: datetime) -> Iterator[RenderableType]:
    """Yield a table of the days on which something happens."""
    name, lines = spans(found.days, MOST_LINES)
    rows = []
    for line in lines:
        numbers = (line.rotations, line.scheduled_early, line.revocations, line.waiting, line.overdue)
        if any(numbers):
            cells = [f"{number or '':>{len(head)}}" for number, head in zip(numbers, _COUNTS, strict=True)]
            rows.append((f"{name} {day(line.date, now)}", *cells))
    if rows:
        yield Grid(rows, (22, *map(len, _COUNTS[:-1])), ("", *_COUNTS))
    else:
        yield "  nothing in this period"
    if any(line.scheduled_early for line in lines):
        yield "  early: scheduled before they are due, to avoid a late rotation"
    yield f"  at most {counted(found.per_day, 'rotation')} per day"


def _help(risk: AtRisk, now: datetime) -> str:
    unused = risk.too_late_from - now >= _LATER_THAN_NOW
    early = f"last free slot before expiry: {brief(risk.too_late_from, now)}" if unused else ""
    if risk.reason is not Reason.EXPIRES_BEFORE_ROTATION:
        return early or "no free slot before it expires"
    if risk.replaced_at is None:
        return "no free slot in this period"
    return f"replaced {human_duration(risk.replaced_at - risk.expires_at)} after expiry"


# ---- for programs ---------------------------------------------------------------------------------------------------


def forecast_document(found: Sequence[AccountForecast], broken: Sequence[AccountPlan], now: datetime) -> Document:
    """``forecast --json``; ``errors`` only if there are any."""
    return {"generated_at": time_text(now), "accounts": [_account(each) for each in found], **errors_field(broken)}


def _account(found: AccountForecast) -> Document:
    return shaped(
        AccountForecastShape,
        found,
        days=[shaped(ForecastDayShape, each, date=_date(each.date)) for each in found.days],
        first_full_day=found.first_full_day and _date(found.first_full_day),
        verdict=verdict(found),
    )


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
