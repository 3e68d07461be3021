"""The page as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rotator import __version__
from rotator.model import AccountPlan, Severity
from rotator.policy.status import State
from rotator.render import counted, day, local, local_text, zone
from rotator.report.future import future, judgement
from rotator.report.gather import AccountReport, Report
from rotator.report.markup import Markup, join, redacting, table, tag, text
from rotator.report.style import STYLE
from rotator.report.timeline import Axis, timeline
from rotator.text import short_id

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FIRST_NAMES: Final = 5
MOST_ROWS: Final = 200
"""Of a table of alerts or of secrets that are skipped."""


def render(report: Report, redact: Callable[[str], str] = str) -> str:
    """The report as a document that needs nothing but itself.

    :param redact: takes out of texts what must not be seen.
    """
    with redacting(redact):
        title = "Infobip keys"
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="referrer", content="no-referrer"),
            tag("title", f"{title} · {local(report.generated_at):%Y-%m-%d}"),
            tag("style", Markup(STYLE)),
        )
        at = f"{day(report.generated_at)} {local(report.generated_at):%Y %H:%M} {zone(report.generated_at)}"
        made = f"as of {at} · deployment {report.deployment} · rotator {__version__}"
        parts = [tag("header", tag("h1", title), tag("p", made, class_="soft"))]
        parts += [_account(each, report) for each in report.accounts]
        if not report.accounts:
            parts.append(tag("p", "No secret is tagged rotator:role here. Check region and account: `rotator doctor`."))
        if report.audit is not None:
            parts.append(_audit(report.audit, report.audit_skipped))
        parts.append(
            tag(
                "footer",
                "Names, dates and ids; no key's value. Nothing was changed. What the next sweep does: `rotator plan`.",
                class_="soft",
            )
        )
        return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *parts)), lang="en") + "\n"


def _account(each: AccountReport, report: Report) -> Markup:
    plan = each.plan
    parts: list[Markup] = [tag("h2", plan.account)]
    if plan.error is not None:
        said = tag("p", tag("b", "Not observed: "), plan.error)
        fix = tag("p", "What is wrong, and how to fix it: `rotator doctor`.", class_="soft")
        parts.append(tag("div", said, fix, class_="verdict bad"))
        return tag("section", *parts)
    forecast = each.forecast if each.forecast is not None and each.forecast.error is None else None
    errors = sum(alert.severity is Severity.ERROR for alert in plan.alerts)
    parts += [judgement(forecast, errors), _tiles(each), *_to_fix(plan)]
    if forecast is not None:
        days = len(forecast.days)
        parts += [tag("h3", f"The next {counted(days, 'day')}"), future(forecast)]
        if each.rows:
            parts += [tag("h3", "Every secret"), timeline(each.rows, Axis.of(report.generated_at, days))]
    return tag("section", *parts)


def _tiles(each: AccountReport) -> Markup:
    counts = Counter(row.state.state for row in each.rows)
    quota = each.plan.quota
    tiles = [("secrets", str(len(each.rows))), ("keys at Infobip", str(each.plan.keys))]
    tiles += [(str(state), str(counts[state])) for state in State if counts[state]]
    tiles.append(("creates used today", f"{quota.creates_used} of {quota.creates_limit}"))
    tiles.append(("for emergencies", str(quota.reserve)))
    return tag("div", *(tag("div", tag("b", number), name, class_="tile") for name, number in tiles), class_="tiles")


def _to_fix(plan: AccountPlan) -> list[Markup]:
    parts: list[Markup] = []
    for title, severity in (("To fix", Severity.ERROR), ("To know", Severity.WARNING)):
        alerts = [alert for alert in plan.alerts if alert.severity is severity]
        rows = [
            (
                each.secret or (short_id(each.key_id) if each.key_id else plan.account),
                str(each.kind),
                local_text(each.message),
            )
            for each in alerts
        ]
        parts += _table(title, ("secret or key", "what", "and what to do"), rows)
    said = {(alert.secret, alert.kind) for alert in plan.alerts}
    left = [skip for skip in plan.skipped if (skip.secret, skip.reason) not in said]
    skips = [(skip.secret, str(skip.reason), local_text(skip.message)) for skip in left]
    return parts + _table("Skipped", ("secret", "why", "in words"), skips)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Markup]:
    """Name, kind and words; of those with the same kind and words one line, with all their names."""
    if not rows:
        return []
    same: dict[tuple[str, str], list[str]] = {}
    for name, kind, words in rows:
        same.setdefault((kind, words), []).append(name)
    lines = [(_names(names), kind, words) for (kind, words), names in same.items()]
    parts = [tag("h3", title), table(heads, lines[:MOST_ROWS], class_="kinds")]
    if len(lines) > MOST_ROWS:
        more = f"… and {len(lines) - MOST_ROWS} more; `rotator plan --json` has them all"
        parts.append(tag("p", more, class_="soft"))
    return parts


def _names(names: Sequence[str]) -> Markup:
    """How many there are, the first of them, and the others where one asks for them."""
    if len(names) == 1:
        return text(names[0])
    first = join([tag("b", f"{len(names)}:"), Markup(" "), join(map(text, names[:FIRST_NAMES]), ", ")])
    rest = names[FIRST_NAMES:MOST_ROWS]
    if not rest:
        return first
    more = "" if len(names) <= MOST_ROWS else f", … and {len(names) - MOST_ROWS} more"
    others = tag("summary", f"and {len(names) - FIRST_NAMES} more")
    return join([first, tag("details", others, join([*map(text, rest)], ", "), more)])


def _audit(lines: Sequence[Mapping[str, Any]], skipped: int) -> Markup:
    heads = ("time (UTC)", "event", "outcome", "secret", "key", "why", "by")
    parts: list[Markup] = [tag("h2", "Recent audit lines")]
    said = f"the last {counted(len(lines), 'line')}, the newest first"
    said += f"; {skipped} could not be read" if skipped else ""
    parts.append(tag("p", f"{said}. Whether any is missing or altered: `rotator audit verify`.", class_="soft"))
    if lines:
        parts.append(table(heads, [_audit_cells(line) for line in lines], class_="audit"))
    return tag("section", *parts)


def _audit_cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    def field(name: str, limit: int = 200) -> Markup:
        value = line.get(name)
        return Markup("" if value is None else text(str(value), limit))

    why = [part for part in (field("reason"), field("incident"), field("error", 400), field("detail", 400)) if part]
    time = Markup(field("timestamp", 40).replace("T", " ").removesuffix("Z"))
    cells = (field("event"), field("outcome"), field("secret"), field("key_id"))
    return time, *cells, join(why, " · "), field("actor")
