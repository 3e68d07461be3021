"""The page: what its template shows, as plain values, and how they are escaped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rotator import __version__
from rotator.durations import human_duration
from rotator.message import Message
from rotator.model import AccountPlan, Severity
from rotator.policy.forecast import AtRisk, ForecastDay, spans, verdict
from rotator.policy.status import State
from rotator.render import brief, clock, counted, day, key_words, local, local_text, shown, zone
from rotator.report.gather import AccountReport, Level, Report
from rotator.report.timeline import LEGEND, Axis, Row, row_of

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FIRST_NAMES: Final = 5
MOST_ROWS: Final = 200
"""Of a table of alerts or of skipped secrets."""
MOST_COLUMNS: Final = 100
MOST_AT_RISK: Final = 100
_COMMAND: Final = re.compile(r"`([^`]+)`")
_URGENT_STATES: Final = frozenset({State.EXPIRED, State.BROKEN, State.MISCONFIGURED})
_LAST_LABEL: Final = 95
"""In per cent; further right a label would run out of the picture."""
_LIMIT_IN_SIGHT: Final = 3
"""The limit is drawn where it is at most so many times the highest column: else the columns would be flat."""


def render(report: Report, redact: Callable[[str], str] = str) -> str:
    """The report as a document that needs nothing but itself.

    :param redact: takes out of texts what must not be seen.
    """
    now = report.generated_at
    template = _environment(redact).get_template("page.html.j2")
    return template.render(
        report=report,
        accounts=[_Account(each, now) for each in report.accounts],
        axis=_axis(report),
        audit=None if report.audit is None else [_audit_cells(line, now) for line in report.audit],
        audit_summary=_audit_summary(report),
        as_of=f"{day(now)} {local(now):%Y %H:%M} {zone(now)}",
        date=f"{local(now):%Y-%m-%d}",
        zone=zone(now),
        policy=POLICY,
        version=__version__,
        legend=LEGEND,
        first_names=FIRST_NAMES,
        most_rows=MOST_ROWS,
        most_at_risk=MOST_AT_RISK,
        no_secrets="No secret is tagged rotator:role here. Check region and account: `rotator doctor`.",
    )


def _environment(redact: Callable[[str], str]) -> Environment:
    """Whatever the template shows is text: redacted, ids shortened, invisible characters visible, escaped."""

    def text(value: object) -> str:
        return shown(redact(local_text(value) if isinstance(value, Message) else str(value)))

    def finalize(value: object) -> object:
        """What stands in backticks is set as code."""
        if isinstance(value, Markup | int | float):
            return value
        escaped = str(escape(text(value)))
        return Markup(_COMMAND.sub(r"<code>\1</code>", escaped))  # noqa: S704 - the line above escapes it

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["in_attribute"] = lambda value: escape(text(value))
    return environment


def _axis(report: Report) -> Axis:
    days = max((len(each.forecast.days) for each in report.accounts if each.forecast is not None), default=0)
    return Axis.of(report.generated_at, days)


# ---- an account -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Alerts with the same text, which are one line."""

    names: list[str]
    kind: str
    text: str


@dataclass(frozen=True)
class _Account:
    report: AccountReport
    now: datetime

    @property
    def plan(self) -> AccountPlan:
        return self.report.plan

    @cached_property
    def rows(self) -> list[Row]:
        axis = Axis.of(self.now, 0 if self.report.forecast is None else len(self.report.forecast.days))
        return [row_of(row, axis) for row in self.report.rows]

    @property
    def urgent(self) -> int:
        return sum(row.level is Level.URGENT for row in self.report.rows)

    @property
    def attention(self) -> int:
        return sum(row.level is not Level.NONE for row in self.report.rows)

    @property
    def _errors(self) -> int:
        return sum(alert.severity is Severity.ERROR for alert in self.plan.alerts)

    @property
    def bad(self) -> bool:
        forecast = self.report.forecast
        return bool(self._errors or self.urgent or (forecast is not None and forecast.at_risk))

    @property
    def verdict(self) -> list[str]:
        """What a reader wants to know first: is anything wrong, does any key expire before it is replaced."""
        errors = counted(self._errors, "error") if self._errors else "No errors"
        forecast = self.report.forecast
        usable = forecast is not None and forecast.error is None
        return [f"{errors}.", *([local_text(verdict(forecast))] if forecast is not None and usable else [])]

    @property
    def first_full_day(self) -> str:
        forecast = self.report.forecast
        if forecast is None or forecast.error is not None:
            return ""
        full = forecast.first_full_day
        return "No day is full." if full is None else f"The first full day is {_date(full)}."

    @property
    def tiles(self) -> list[tuple[str, str, bool]]:
        counts = Counter(row.state.state for row in self.report.rows)
        quota = self.plan.quota
        return [
            ("secrets", str(len(self.report.rows)), False),
            ("keys at Infobip", str(self.plan.keys), False),
            *((str(state), str(counts[state]), state in _URGENT_STATES) for state in State if counts[state]),
            ("creates used today", f"{quota.creates_used} of {quota.creates_limit}", False),
            ("for emergencies", str(quota.reserve), False),
        ]

    @property
    def errors(self) -> list[_Group]:
        return self._alerts(Severity.ERROR)

    @property
    def warnings(self) -> list[_Group]:
        return self._alerts(Severity.WARNING)

    def _alerts(self, severity: Severity) -> list[_Group]:
        account = self.plan.account
        return _grouped(
            (each.secret or (key_words(each.key_id) if each.key_id else account), str(each.kind), each.message)
            for each in self.plan.alerts
            if each.severity is severity
        )

    @property
    def skipped(self) -> list[_Group]:
        listed = {(alert.secret, alert.kind) for alert in self.plan.alerts}
        skips = [skip for skip in self.plan.skipped if (skip.secret, skip.reason) not in listed]
        return _grouped((skip.secret, str(skip.reason), skip.message) for skip in skips)

    @property
    def chart(self) -> _Chart | None:
        forecast = self.report.forecast
        if forecast is None or forecast.error is not None:
            return None
        return _Chart(forecast.days, forecast.per_day, forecast.at_risk)


def _grouped(rows: Iterable[tuple[str, str, Message]]) -> list[_Group]:
    same: dict[tuple[str, str], list[str]] = {}
    for name, kind, message in rows:
        same.setdefault((kind, local_text(message)), []).append(name)
    return [_Group(names, kind, text) for (kind, text), names in same.items()]


# ---- the forecast ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    text: str
    early: float
    due: float


@dataclass(frozen=True)
class _Chart:
    """Rotations as columns to scale, with an axis, the limit where it is in sight, and the months."""

    all_days: Sequence[ForecastDay]
    per_day: int
    risks: Sequence[AtRisk]

    @cached_property
    def _spans(self) -> tuple[str, list[ForecastDay]]:
        return spans(self.all_days, MOST_COLUMNS)

    @property
    def days(self) -> str:
        return counted(len(self.all_days), "day")

    @property
    def name(self) -> str:
        return self._spans[0]

    @property
    def unit(self) -> str:
        return {"day": "day", "week of": "week"}.get(self.name, "fortnight")

    @property
    def allowed(self) -> int:
        return self.per_day * self._spans[1][0].days

    @cached_property
    def _top(self) -> float:
        """What the whole height is."""
        highest = max(1, *(line.rotations for line in self._spans[1]))
        return max(highest, self.allowed) * 1.1 if self.allowed <= _LIMIT_IN_SIGHT * highest else highest * 1.1

    @property
    def limit(self) -> float | None:
        return _percent(self.allowed, self._top) if self.allowed <= self._top else None

    @property
    def levels(self) -> list[tuple[int, float]]:
        highest = int(self._top / 1.1 + 0.5)
        return [(value, _percent(value, self._top)) for value in sorted({0, highest // 2, highest})]

    @property
    def columns(self) -> list[_Column]:
        return [
            _Column(
                f"{day(line.date)}: {counted(line.rotations, 'rotation')}, {line.scheduled_early} scheduled early",
                _percent(line.scheduled_early, self._top),
                _percent(line.rotations - line.scheduled_early, self._top),
            )
            for line in self._spans[1]
        ]

    @property
    def months(self) -> list[tuple[str, float]]:
        """Where a month begins; the first column has its date, unless a month follows too closely."""
        lines = self._spans[1]
        labels = [(day(lines[0].date), 0.0)]
        for number, (before, line) in enumerate(pairwise(lines), start=1):
            there, left = local(line.date), _percent(number, len(lines))
            if there.month != local(before.date).month and left < _LAST_LABEL:
                labels.append((f"{there:%b %Y}" if there.month == 1 else f"{there:%b}", left))
        return labels[1:] if len(labels) > 1 and labels[1][1] < 7 else labels

    @property
    def numbers(self) -> list[tuple[str, ...]]:
        fields = ("rotations", "scheduled_early", "revocations", "waiting", "overdue")
        counts = [(line, [getattr(line, name) for name in fields]) for line in self._spans[1]]
        return [(_date(line.date), *map(str, numbers)) for line, numbers in counts if any(numbers)]

    @property
    def at_risk(self) -> list[tuple[str, ...]]:
        now = self.all_days[0].date
        return [(risk.secret, str(risk.reason), brief(risk.expires_at, now), _replaced(risk)) for risk in self.risks]


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2)


def _date(moment: datetime) -> str:
    return f"{day(moment)} {local(moment).year}"


def _replaced(risk: AtRisk) -> str:
    if risk.replaced_at is None:
        return "not replaced in these days"
    return f"replaced {human_duration(risk.replaced_at - risk.expires_at)} after its expiry"


# ---- the audit ------------------------------------------------------------------------------------------------------


def _audit_summary(report: Report) -> str:
    skipped = f"; {report.audit_skipped} could not be read" if report.audit_skipped else ""
    return f"the last {counted(len(report.audit or ()), 'line')}, the newest first{skipped}"


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
    """In the reader's zone, to the second; what is not a time stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return f"{clock(moment)}:{moment:%S}{'' if local(moment).year == local(now).year else f' {local(moment):%Y}'}"
    except ValueError:
        return text
