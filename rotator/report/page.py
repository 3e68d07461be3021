"""The page: the plain values that its template shows, and how they are escaped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rotator import __version__
from rotator.durations import DAY, human_duration
from rotator.message import Message
from rotator.plan import Alert, Severity
from rotator.policy.forecast import AccountForecast, AtRisk, spans, verdict
from rotator.policy.status import State
from rotator.reasons import Reason
from rotator.render import NO_SECRETS, brief, clock, counted, day, key_words, local, local_text, shown, zone
from rotator.report.gather import URGENT_STATES, AccountReport, Report, RowLevel
from rotator.report.timeline import LEGEND, Axis, rows_of

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FIRST_NAMES: Final = 5
MOST_LISTED: Final = 200
"""Per table of alerts or of skipped secrets."""
MOST_COLUMNS: Final = 100
MOST_RISKS: Final = 100
_COMMAND: Final = re.compile(r"`([^`]+)`")
_FIRST_LABEL: Final = 7
_LAST_LABEL: Final = 95
"""In per cent. Further left, a label would overlap the first day's; further right, it would leave the chart."""
_LIMIT_IN_SIGHT: Final = 3
"""The limit is drawn only up to this multiple of the highest column. Beyond it, the columns would be flat."""


def render_page(report: Report, redact: Callable[[str], str] = str) -> str:
    """Return the report as a self-contained document.

    :param redact: redacts texts.
    """
    now = report.generated_at
    days = max((len(each.forecast.days) for each in report.accounts if each.forecast is not None), default=0)
    axis = Axis.of(now, days)
    skipped = f"; {report.audit_skipped} could not be read" if report.audit_skipped else ""
    return (
        make_environment(redact)
        .get_template("page.html.j2")
        .render(
            report=report,
            accounts=[_account(each, axis) for each in report.accounts],
            axis=axis,
            audit=None if report.audit is None else [_audit_cells(line, now) for line in report.audit],
            audit_summary=f"the last {counted(len(report.audit or ()), 'line')}, the newest first{skipped}",
            as_of=f"{day(now)} {local(now):%Y %H:%M} {zone(now)}",
            date=f"{local(now):%Y-%m-%d}",
            zone=zone(now),
            policy=POLICY,
            version=__version__,
            legend=LEGEND,
            first_names=FIRST_NAMES,
            most_rows=MOST_LISTED,
            most_at_risk=MOST_RISKS,
            no_secrets=NO_SECRETS,
        )
    )


def make_environment(redact: Callable[[str], str], *folders: Path) -> Environment:
    """Return an environment that redacts and escapes all text, shortens ids and shows invisible characters.

    :param folders: where else templates are.
    """

    def text(value: object) -> str:
        return shown(redact(local_text(value) if isinstance(value, Message) else str(value)))

    def finalize(value: object) -> object:
        """Set text in backticks as code."""
        if isinstance(value, Markup | int | float):
            return value
        escaped = str(escape(text(value)))
        return Markup(_COMMAND.sub(r"<code>\1</code>", escaped))  # noqa: S704 - the line above escapes it

    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["in_attribute"] = lambda value: escape(text(value))
    return environment


# ---- an account -----------------------------------------------------------------------------------------------------


def _account(report: AccountReport, axis: Axis) -> dict[str, Any]:
    """Return the values that the template shows of an account. The verdict answers a reader's first questions: whether
    anything is wrong, and whether any key expires before it is replaced.
    """
    plan, found = report.plan, report.forecast if report.forecast is not None and not report.forecast.error else None
    errors = [alert for alert in plan.alerts if alert.severity is Severity.ERROR]
    urgent = sum(row.level is RowLevel.URGENT for row in report.rows)
    states = Counter(row.state.state for row in report.rows)
    listed = {(alert.which, alert.kind) for alert in plan.alerts}
    limit = plan.quota.creates_limit
    return {
        "plan": plan,
        "rows": rows_of(report.rows, axis),
        "urgent": urgent,
        "attention": sum(row.level is not RowLevel.NONE for row in report.rows),
        "bad": bool(errors or urgent or (found and found.at_risk)),
        "verdict": [
            f"{counted(len(errors), 'error') if errors else 'No errors'}.",
            *([local_text(verdict(found))] if found else []),
        ],
        "tiles": [
            ("secrets", str(len(report.rows)), False),
            ("keys at Infobip", str(plan.keys), False),
            *((str(state), str(states[state]), state in URGENT_STATES) for state in State if states[state]),
            *(
                []
                if (used := plan.quota.creates_used) is None
                else [("creates used today", f"{used} of {limit}", False)]
            ),
            ("reserved for emergencies", str(plan.quota.reserve), False),
        ],
        "errors": _grouped(_alert(each, plan.account) for each in errors),
        "warnings": _grouped(_alert(each, plan.account) for each in plan.alerts if each.severity is Severity.WARNING),
        "skipped": _grouped(
            (each.title, each.reason, each.message) for each in plan.skipped if (each.which, each.reason) not in listed
        ),
        "chart": _chart(found) if found else None,
    }


def _alert(alert: Alert, account: str) -> tuple[str, Reason, Message]:
    return alert.title or (key_words(alert.key_id) if alert.key_id else account), alert.kind, alert.message


def _grouped(rows: Iterable[tuple[str, Reason, Message]]) -> list[dict[str, Any]]:
    """Alerts with the same text are one line."""
    same: dict[tuple[str, str], list[str]] = {}
    for name, kind, message in rows:
        same.setdefault((str(kind), local_text(message)), []).append(name)
    return [{"names": names, "kind": kind, "text": text} for (kind, text), names in same.items()]


# ---- the forecast ---------------------------------------------------------------------------------------------------


def _chart(found: AccountForecast) -> dict[str, Any]:
    """Return rotations as columns to scale, with an axis, the limit if it is in sight, and the months."""
    name, lines = spans(found.days, MOST_COLUMNS)
    now, allowed = lines[0].date, found.per_day * lines[0].days
    highest = max(1, *(line.rotations for line in lines))
    in_sight = allowed <= _LIMIT_IN_SIGHT * highest
    top = 1.1 * (max(highest, allowed) if in_sight else highest)  # the value at full height
    levels = sorted({0, int(top / 1.1 + 0.5) // 2, int(top / 1.1 + 0.5)})
    months = [month for month in Axis(now, now, now + len(found.days) * DAY).months if month[1] < _LAST_LABEL]
    first = [(day(now), 0.0)] if not months or months[0][1] >= _FIRST_LABEL else []
    full = found.first_full_day
    counts = [
        (_date(line.date), line.rotations, line.scheduled_early, line.revocations, line.waiting, line.overdue)
        for line in lines
    ]
    return {
        "days": counted(len(found.days), "day"),
        "name": name,
        "unit": {"day": "day", "week of": "week"}.get(name, "fortnight"),
        "allowed": allowed,
        "limit": _percent(allowed, top) if in_sight else None,
        "levels": [(value, _percent(value, top)) for value in levels],
        "columns": [
            {
                "text": f"{day(line.date)}: {counted(line.rotations, 'rotation')}, {line.scheduled_early} early",
                "early": _percent(line.scheduled_early, top),
                "due": _percent(line.rotations - line.scheduled_early, top),
            }
            for line in lines
        ],
        "months": first + months,
        "first_full_day": "The daily limit is not reached."
        if full is None
        else f"The daily limit is first reached on {_date(full)}.",
        "numbers": [(date, *map(str, numbers)) for date, *numbers in counts if any(numbers)],
        "at_risk": [
            (each.title, str(each.reason), brief(each.expires_at, now), _replaced(each)) for each in found.at_risk
        ],
    }


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2)


def _date(moment: datetime) -> str:
    return f"{day(moment)} {local(moment).year}"


def _replaced(risk: AtRisk) -> str:
    if risk.replaced_at is None:
        return "not replaced in this period"
    return f"replaced {human_duration(risk.replaced_at - risk.expires_at)} after expiry"


# ---- the audit ------------------------------------------------------------------------------------------------------


def _audit_cells(line: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    def field(name: str) -> str:
        return "" if line.get(name) is None else str(line[name])

    why = " · ".join(text for name in ("reason", "incident", "error", "detail") if (text := field(name)))
    return (
        _audit_time(field("timestamp"), now),
        *(field(name) for name in ("event", "outcome", "secret", "key_id")),
        why,
        field("actor"),
    )


def _audit_time(text: str, now: datetime) -> str:
    """Return a time in the reader's zone, to the second; other text stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return f"{clock(moment)}:{moment:%S}{'' if local(moment).year == local(now).year else f' {local(moment):%Y}'}"
    except ValueError:
        return text
