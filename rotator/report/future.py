"""The forecast: its days as columns against the daily limit, and which keys are at risk."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from rotator.durations import human_duration
from rotator.policy.forecast import AccountForecast, AtRisk, ForecastDay, spans, verdict
from rotator.render import brief, counted, day, local, local_text, zone
from rotator.report.markup import Markup, join, table, tag

MOST_COLUMNS: Final = 100
MOST_AT_RISK: Final = 100


def judgement(found: AccountForecast | None, to_fix: int) -> Markup:
    """What a reader wants to know first: is there anyerror, does any key expire before it is replaced.

    :param to_fix: how many things are.
    """
    said = [f"{counted(to_fix, 'error')}." if to_fix else "No errors."]
    soft = []
    if found is not None:
        said.append(local_text(verdict(found)))
        full = found.first_full_day
        soft.append("No day is full." if full is None else f"The first full day is {_date(full)}.")
    parts = [tag("p", tag("b", " ".join(said))), *(tag("p", words, class_="soft") for words in soft)]
    bad = to_fix or (found is not None and found.at_risk)
    return tag("div", *parts, class_="verdict bad" if bad else "verdict")


def future(found: AccountForecast) -> Markup:
    """Columns, keys at risk."""
    parts = [_columns(found)]
    if found.at_risk:
        parts.append(_at_risk(found))
    return join(parts)


def _columns(found: AccountForecast) -> Markup:
    name, lines = spans(found.days, MOST_COLUMNS)
    allowed = found.per_day * lines[0].days
    top = max(1, allowed, *(line.rotations for line in lines)) * 1.1
    limit = tag("span", f"at most {allowed} a {_unit(name)}")
    columns = [_column(line, top) for line in lines]
    line = tag("div", limit, class_="limit", style=f"bottom:{round(100 * allowed / top, 1)}%")
    first, last = lines[0].date, lines[-1].date
    chart = tag(
        "div",
        *columns,
        line,
        class_="chart",
        role="img",
        aria_label=f"Rotations a {_unit(name)}, at most {allowed}: the table below has the numbers",
    )
    ends = tag("div", tag("span", _date(first)), tag("span", _date(last)), class_="ends")
    keys = tag(
        "div",
        tag("span", tag("i", class_="swatch d"), "rotations that are due"),
        tag("span", tag("i", class_="swatch p"), "scheduled early, later would be too late"),
        class_="legend",
    )
    busy = [line for line in lines if line.rotations or line.revocations or line.waiting or line.overdue]
    heads = (name, "rotations", "scheduled early", "revocations", "waiting", "overdue")
    numbers = table(heads, (_numbers(each) for each in busy))
    more = tag("details", tag("summary", f"the numbers ({counted(len(busy), 'line')}; all others are 0)"), numbers)
    return join([chart, ends, keys, more] if busy else [chart, ends, keys])


def _date(moment: datetime) -> str:
    return f"{day(moment)} {local(moment).year}"


def _unit(name: str) -> str:
    return {"day": "day", "week of": "week"}.get(name, "fortnight")


def _column(line: ForecastDay, top: float) -> Markup:
    due = line.rotations - line.scheduled_early
    parts = [
        tag("i", class_=sign, style=f"height:{round(100 * count / top, 2)}%;min-height:3px")
        for sign, count in (("p", line.scheduled_early), ("d", due))
        if count
    ]
    said = f"{counted(line.rotations, 'rotation')}, {line.scheduled_early} scheduled early"
    return tag("i", *parts, title=f"{day(line.date)}: {said}")


def _numbers(line: ForecastDay) -> tuple[str, ...]:
    counts = (line.rotations, line.scheduled_early, line.revocations, line.waiting, line.overdue)
    return _date(line.date), *(str(count) for count in counts)


def _at_risk(found: AccountForecast) -> Markup:
    now = found.days[0].date
    shown = found.at_risk[:MOST_AT_RISK]
    rows = ((risk.secret, str(risk.reason), brief(risk.expires_at, now), _replaced(risk)) for risk in shown)
    heads = ("secret", "why", f"expires ({zone(now)})", "then")
    parts = [tag("h3", "Keys that expire before they are replaced"), table(heads, rows, class_="risks")]
    if len(found.at_risk) > MOST_AT_RISK:
        more = len(found.at_risk) - MOST_AT_RISK
        parts.append(tag("p", f"… and {more} more; `rotator forecast --json` has them all", class_="soft"))
    return join(parts)


def _replaced(risk: AtRisk) -> str:
    if risk.replaced_at is None:
        return "not replaced in these days"
    return f"replaced {human_duration(risk.replaced_at - risk.expires_at)} after its expiry"
