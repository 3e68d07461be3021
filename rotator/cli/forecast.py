"""``rotator forecast``: rotations a day against the quota, and keys that expire before they are replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from rotator.cli.call import Call
from rotator.cli.documents import Document, errors_of, fields, time_text
from rotator.cli.options import account_option, command
from rotator.cli.plan import NO_SECRETS, SEE_DOCTOR, unobserved
from rotator.durations import human_duration
from rotator.engine.reconcile import Reconciler
from rotator.model import AccountPlan, Quota, Reason
from rotator.policy.forecast import AccountForecast, AtRisk, ForecastDay, forecast_account, spans, verdict
from rotator.policy.simulation import WhatIf, parse_what_if
from rotator.render import Grid, brief, counted, day, shown, styled

MOST_LINES: Final = 40
MOST_AT_RISK: Final = 10
BAR: Final = 33
_WIDTH: Final = BAR + 46
_SOON: Final = timedelta(hours=1)
_NO_QUOTA: Final = Quota(0, 0, 0, 0, 0)


@command
@account_option
@click.option(
    "--days", metavar="N", type=click.IntRange(1, 400), default=90, show_default=True, help="How many days, 1 to 400."
)
@click.option(
    "--what-if",
    "assumptions",
    metavar="X",
    multiple=True,
    help="Assume limit=100, reserve=4, validity=30d or +200 (as many more secrets); may be repeated.",
)
def forecast(call: Call, account: str | None, days: int, assumptions: Sequence[str]) -> int:
    """Show rotations a day against Infobip's daily limit, and which keys
    expire before they are replaced. Changes nothing.

    Runs the planner day by day over a simulation of what is in Secrets
    Manager and at Infobip now: due rotations, those scheduled early because
    later would be too late, windows, revocations after the grace period. A
    day is 24 hours; the first begins now.

    With --what-if validity=30d every replacement is valid for 30 days; +200
    adds 200 secrets to each account, copies of its own with the same tags and
    the same expiries. At most +2000.

    Keys at risk do not change the exit code; it is 1 if an account can't be
    observed.

    \b
    Examples:
      rotator forecast
      rotator forecast --account main --days 30
      rotator forecast --what-if +200 --what-if limit=100
      rotator forecast --json | jq '.accounts[].at_risk'
    """
    assumed = parse_what_if(assumptions)
    assumed = parse_what_if(assumptions)
    app = call.open()
    policy, now = app.services.policy, app.clock.now()
    assumed.policy(policy)  # report an invalid assumption before anything is read
    snapshots, plans = Reconciler(app.services).snapshots(account=account, history=True)
    every = [forecast_account(each, policy, now, days=days, what_if=assumed) for each in snapshots]
    found = [each for each in every if each.error is None]
    broken = [*plans, *(AccountPlan(each.account, _NO_QUOTA, error=each.error) for each in every if each.error)]
    call.result(forecast_document(found, broken, now, assumed), _parts(found, broken, now, assumed))
    return 1 if any(plan.error is not None for plan in broken) else 0


def _parts(
    found: Sequence[AccountForecast], broken: Sequence[AccountPlan], now: datetime, assumed: WhatIf
) -> Iterator[RenderableType]:
    for each in found:
        yield from _account_parts(each, now, assumed)
    for plan in broken:
        yield from unobserved(plan)
    late = any(risk.reason is Reason.NOT_IN_TIME for each in found for risk in each.at_risk)
    if any(plan.error is not None for plan in broken):
        yield SEE_DOCTOR
    elif not found:
        yield NO_SECRETS
    elif late and not assumed:
        limit = 2 * max(each.limit for each in found)
        yield f"To see whether a higher limit would help: `rotator forecast --what-if limit={limit}`."
    elif late:
        yield "Keys would still expire before they are replaced. For other assumptions: `rotator forecast --help`."
    else:
        yield "What the next sweep does: `rotator plan`."


def _account_parts(found: AccountForecast, now: datetime, assumed: WhatIf) -> Iterator[RenderableType]:
    used = f"{found.limit} a day less {found.reserve} for emergencies"
    others = found.limit - found.reserve - found.per_day
    if others > 0:
        used += f", and less {others} that others create"
    yield styled(f"{shown(found.account, 60)} · {counted(found.secrets, 'secret')} · {used}", "bold")
    if assumed:
        yield f"assuming {' and '.join(assumed.words())}"
    yield from ("", _Chart(found, now), "")
    if found.at_risk:
        yield "Keys that expire before they are replaced"
        rows = [
            (shown(each.secret), styled(str(each.reason), "red"), f"{brief(each.expires_at, now)}; {_help(each, now)}")
            for each in found.at_risk
        ]
        yield Grid(rows, (24, 14), most=MOST_AT_RISK, rest="--json has them all")
        yield ""
    full = found.first_full_day
    yield "No day is full." if full is None else f"The first full day is {day(full, now)}."
    yield shown(verdict(found))
    yield ""


@dataclass(frozen=True)
class _Chart:
    """The days as bars, or as one line each on a narrow terminal."""

    found: AccountForecast
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from (_listed if options.max_width < _WIDTH else _chart)(self.found, self.now)


def _listed(found: AccountForecast, now: datetime) -> Iterator[RenderableType]:
    name, lines = spans(found.days, MOST_LINES)
    rows = []
    for line in lines:
        counts = (
            (line.rotations, "rotation" if line.rotations == 1 else "rotations"),
            (line.scheduled_early, "of them scheduled early"),
            (line.revocations, "revoked"),
            (line.waiting, "waiting"),
            (line.overdue, "overdue"),
        )
        text = ", ".join(f"{count} {what}" for count, what in counts if count)
        if text:
            rows.append((f"{name} {day(line.date, now)}", text))
    yield Grid(rows, (16,)) if rows else "  nothing in these days"
    yield f"  at most {found.per_day} rotations a day"


def _chart(found: AccountForecast, now: datetime) -> Iterator[RenderableType]:
    name, lines = spans(found.days, MOST_LINES)
    yield f"  {name:<11} {'rotations':<{BAR + 1}} made revoked waiting overdue"
    most = max(1, *(max(_allowed(found, line), line.rotations) for line in lines))
    for line in lines:
        begin = f"{day(line.date):>6}{day(line.date, now)[len(day(line.date)) :]}"
        numbers = f"{line.rotations:>5} {line.revocations:>7} {line.waiting or '':>7} {line.overdue or '':>7}"
        yield f"  {begin:<11} {_bar(found, line, most)} {numbers}"
    yield "  # due   + scheduled early, later would be too late   | what the limit allows"


def _allowed(found: AccountForecast, line: ForecastDay) -> int:
    return found.per_day * line.days


def _bar(found: AccountForecast, line: ForecastDay, most: int) -> str:
    """Return the rotations to scale, at least one character if there are any."""
    due = line.rotations - line.scheduled_early
    drawn = "#" * _scaled(due, most) + "+" * _scaled(line.scheduled_early, most)
    mark = _scaled(_allowed(found, line), most)
    drawn = f"{drawn[:BAR]:<{BAR + 1}}"
    return f"{drawn[:mark]}|{drawn[mark + 1 :]}"


def _scaled(number: int, most: int) -> int:
    return 0 if number <= 0 else max(1, number * BAR // most)


def _help(risk: AtRisk, now: datetime) -> str:
    unused = risk.too_late_from - now >= _SOON
    early = f"the last free slot before is on {brief(risk.too_late_from, now)}" if unused else ""
    if risk.reason is not Reason.NOT_IN_TIME:
        return early or "no slot is free before"
    if risk.replaced_at is None:
        return "no slot for it in these days"
    return f"replaced {human_duration(risk.replaced_at - risk.expires_at)} later"


# ---- for programs ---------------------------------------------------------------------------------------------------


def forecast_document(
    found: Sequence[AccountForecast], broken: Sequence[AccountPlan], now: datetime, assumed: WhatIf
) -> Document:
    """``forecast --json``; ``what_if`` and ``errors`` only if there are any."""
    document: Document = {"generated_at": time_text(now), "accounts": [_account(each) for each in found]}
    return document | ({"what_if": list(assumed.words())} if assumed else {}) | errors_of(broken)


def _account(found: AccountForecast) -> Document:
    counts = ("rotations", "scheduled_early", "revocations", "waiting", "overdue", "free")
    risk = ("secret", "key_id", "expires_at", "reason", "too_late_from", "replaced_at")
    return {
        **fields(found, "account", "limit", "reserve", "per_day", "secrets"),
        "days": [{"date": _date(each.date), **fields(each, *counts)} for each in found.days],
        "first_full_day": None if found.first_full_day is None else _date(found.first_full_day),
        "at_risk": [fields(each, *risk) for each in found.at_risk],
        "verdict": str(verdict(found)),
    }


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
