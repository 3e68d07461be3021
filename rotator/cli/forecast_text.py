"""A forecast for people, and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rotator.cli.documents import time_text
from rotator.durations import human_duration
from rotator.model import Reason
from rotator.policy.forecast import AccountForecast, AtRisk, ForecastDay, spans, verdict
from rotator.policy.simulation import WhatIf
from rotator.render import Grid, brief, counted, day, shown, styled

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

MOST_LINES: Final = 40
MOST_AT_RISK: Final = 10
BAR: Final = 34
_WIDTH: Final = BAR + 45
_SOON: Final = timedelta(hours=1)


def forecast_parts(found: AccountForecast, now: datetime, assumed: WhatIf) -> Iterator[RenderableType]:
    """One account."""
    used = f"{found.limit} a day less {found.reserve} for emergencies"
    others = found.limit - found.reserve - found.per_day
    if others > 0:
        used += f", and less {others} that others create"
    yield styled(f"{shown(found.account, 60)} · {counted(found.secrets, 'secret')} · {used}", "bold")
    if assumed:
        yield f"assuming {' and '.join(assumed.words())}"
    yield ""
    yield _Chart(found)
    yield ""
    if found.at_risk:
        yield from _at_risk(found.at_risk, now)
        yield ""
    full = found.first_full_day
    yield "No day is full." if full is None else f"The first full day is {day(full)}."
    yield shown(verdict(found))
    yield ""


@dataclass(frozen=True)
class _Chart:
    """The days as bars, or, on a narrow terminal, a line each."""

    found: AccountForecast

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from (_listed if options.max_width < _WIDTH else _chart)(self.found)


def _listed(found: AccountForecast) -> Iterator[RenderableType]:
    name, lines = spans(found.days, MOST_LINES)
    rows = []
    for line in lines:
        counts = (
            (line.rotations, "made"),
            (line.scheduled_early, "of them scheduled early"),
            (line.revocations, "revoked"),
            (line.waiting, "waiting"),
            (line.overdue, "overdue"),
        )
        text = ", ".join(f"{count} {what}" for count, what in counts if count)
        if text:
            rows.append((f"{name} {day(line.date)}", text))
    yield Grid(rows, (16,)) if rows else "  nothing in these days"
    yield f"  at most {found.per_day} rotations a day"


def _chart(found: AccountForecast) -> Iterator[RenderableType]:
    name, lines = spans(found.days, MOST_LINES)
    yield f"  {name:<10} {'rotations':<{BAR + 1}} made revoked waiting overdue"
    most = max(1, *(max(_allowed(found, line), line.rotations) for line in lines))
    for line in lines:
        begin = f"{day(line.date):>6}"
        numbers = f"{line.rotations:>5} {line.revocations:>7} {line.waiting or '':>7} {line.overdue or '':>7}"
        yield f"  {begin:<10} {_bar(found, line, most)} {numbers}"
    yield "  # due   + scheduled early, later would be too late   | what the limit allows"


def _allowed(found: AccountForecast, line: ForecastDay) -> int:
    return found.per_day * line.days


def _bar(found: AccountForecast, line: ForecastDay, most: int) -> str:
    """The rotations, to scale; whatever there is shows as one sign at least."""
    due = line.rotations - line.scheduled_early
    drawn = "#" * _scaled(due, most) + "+" * _scaled(line.scheduled_early, most)
    mark = _scaled(_allowed(found, line), most)
    drawn = f"{drawn[:BAR]:<{BAR + 1}}"
    return f"{drawn[:mark]}|{drawn[mark + 1 :]}"


def _scaled(number: int, most: int) -> int:
    return 0 if number <= 0 else max(1, number * BAR // most)


def _at_risk(risks: Sequence[AtRisk], now: datetime) -> Iterator[RenderableType]:
    yield "Keys that expire before they are replaced"
    rows: list[Sequence[str | Text]] = [
        (shown(risk.secret), styled(str(risk.reason), "red"), f"{brief(risk.expires_at, now)}; {_help(risk, now)}")
        for risk in risks[:MOST_AT_RISK]
    ]
    yield Grid(rows, (24, 14))
    if len(risks) > MOST_AT_RISK:
        yield f"  … and {len(risks) - MOST_AT_RISK} more; --json has them all"


def _help(risk: AtRisk, now: datetime) -> str:
    unused = risk.too_late_from - now >= _SOON
    early = f"the last free slot before is on {brief(risk.too_late_from, now)}" if unused else ""
    if risk.reason is not Reason.NOT_IN_TIME:
        return early or "no slot is free before"
    if risk.replaced_at is None:
        return "no slot for it in these days"
    return f"replaced {human_duration(risk.replaced_at - risk.expires_at)} later"


def next_command(found: Sequence[AccountForecast], *, failed: bool, assumed: bool) -> str:
    """What to do with it."""
    if failed:
        return "What is wrong and how to fix it: `rotator doctor`."
    if not found:
        return "No secret is tagged rotator:role here. Check region and account: `rotator doctor`."
    late = any(risk.reason is Reason.NOT_IN_TIME for each in found for risk in each.at_risk)
    if late and not assumed:
        limit = 2 * max(each.limit for each in found)
        return f"Whether a higher limit would do: `rotator forecast --what-if limit={limit}`."
    if late:
        return "Keys would still expire before they are replaced. What else can be assumed: `rotator forecast --help`."
    return "What the next sweep does: `rotator plan`."


# ---- for programs ---------------------------------------------------------------------------------------------------


def forecast_document(
    found: Sequence[AccountForecast], broken: Sequence[tuple[str, str | None]], now: datetime, assumed: WhatIf
) -> dict[str, Any]:
    """``forecast --json``; ``what_if`` and ``errors`` only where there is something to say."""
    document: dict[str, Any] = {"generated_at": time_text(now), "accounts": [_account(each) for each in found]}
    if assumed:
        document["what_if"] = list(assumed.words())
    if broken:
        document["errors"] = [{"account": name, "error": error} for name, error in broken]
    return document


def _account(found: AccountForecast) -> dict[str, Any]:
    return {
        "account": found.account,
        "limit": found.limit,
        "reserve": found.reserve,
        "per_day": found.per_day,
        "secrets": found.secrets,
        "days": [
            {
                "date": _date(day.date),
                "rotations": day.rotations,
                "scheduled_early": day.scheduled_early,
                "revocations": day.revocations,
                "waiting": day.waiting,
                "overdue": day.overdue,
                "free": day.free,
            }
            for day in found.days
        ],
        "first_full_day": None if found.first_full_day is None else _date(found.first_full_day),
        "at_risk": [
            {
                "secret": risk.secret,
                "key_id": risk.key_id,
                "expires_at": time_text(risk.expires_at),
                "reason": str(risk.reason),
                "too_late_from": time_text(risk.too_late_from),
                "replaced_at": time_text(risk.replaced_at),
            }
            for risk in found.at_risk
        ],
        "verdict": str(verdict(found)),
    }


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
