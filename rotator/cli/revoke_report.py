"""A scanner's report, or a text with several keys in it, as the intake of ``rotator revoke``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rotator.cli.documents import emergency_document
from rotator.cli.live import LiveSteps
from rotator.cli.output import Output
from rotator.cli.revoke_text import look_parts, report_parts
from rotator.engine.emergency import Emergency, Strategy
from rotator.engine.emergency.findings import Place, ScannerReport
from rotator.engine.emergency.leak_intake import Intake, LeakOutcome, LeakResult
from rotator.render import Grid, counted, key_words, shown, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rotator.bootstrap import App

_WORDS: Final = {
    LeakOutcome.PLANNED: "would end",
    LeakOutcome.ENDED: "ended",
    LeakOutcome.COVERED: "covered by these",
    LeakOutcome.DEAD: "dead already",
    LeakOutcome.NOT_OURS: "not of these accounts",
    LeakOutcome.FAILED: "can NOT be ended",
}
_STYLES: Final = {LeakOutcome.FAILED: "red", LeakOutcome.NOT_OURS: "yellow"}


def revoke_report(
    app: App,
    output: Output,
    report: ScannerReport,
    emergency: Emergency,
    strategy: Strategy,
    account: str | None,
    *,
    confirmed: bool,
    live: LiveSteps | None = None,
) -> tuple[LeakResult, ...]:
    """Look at, or end, every Infobip key of a report, and say so; what is done is said at once.

    :param live: what says each step as it is done.
    """
    for value in report.values:
        app.redactor.learn_value(value.reveal())
    for leak in report.leaks:
        app.redactor.learn(leak.value.reveal())
    run = {"run_id": app.audit.run_id, "incident": emergency.incident}
    results: list[LeakResult] = []
    output.text(_heading(report))
    for result in Intake(emergency, strategy, account).go(report.leaks, confirmed=confirmed):
        results.append(result)
        # Before it is wrapped and cut: a place may hold a value, and half of one is not known again.
        place = shown(app.redactor.redact(result.leak.words), 300)
        output.text("", *_parts(result, place, app.clock.now(), str(run["run_id"]), emergency.incident, live))
    if output.is_json:
        output.document(_document(report, results, run, confirmed=confirmed))
    if results:
        output.text("", _summary(results))
    return tuple(results)


def failed(results: Sequence[LeakResult]) -> bool:
    """Whether a key of these accounts may still live."""
    return any(result.outcome is LeakOutcome.FAILED for result in results)


def _heading(report: ScannerReport) -> str:
    if report.findings is None:
        return f"A text with {counted(len(report.leaks), 'value')} of the shape of an Infobip key."
    findings = counted(report.findings, "finding")
    if not report.leaks:
        return f"{findings}, and none has the shape of an Infobip key: nothing was looked up, nothing changed."
    verbs = "holds none and was" if report.without == 1 else "hold none and were"
    rest = f" {report.without} {verbs} not looked up." if report.without else ""
    return f"{findings}, {counted(len(report.leaks), 'value')} with the shape of an Infobip key.{rest}"


def _parts(
    result: LeakResult, place: str, now: datetime, run_id: str, incident: str | None, live: LiveSteps | None
) -> Iterator[RenderableType]:
    if result.report is not None:
        yield f"{place}: {key_words(result.key_id)}"
        yield from report_parts(result.report, run_id, incident, live)
    elif result.outcome is LeakOutcome.PLANNED and result.plan is not None:
        yield f"{place}: {key_words(result.key_id)}"
        yield from look_parts(result.plan, now)
    else:
        yield styled(f"{place}: {_WORDS[result.outcome]}", _STYLES.get(result.outcome, ""))
        yield Grid([(shown(result.detail),)], ())


def _summary(results: Sequence[LeakResult]) -> str:
    counts = Counter(result.outcome for result in results)
    parts = [f"{counts[outcome]} {_WORDS[outcome]}" for outcome in LeakOutcome if counts[outcome]]
    advice = ""
    if counts[LeakOutcome.FAILED]:
        advice = " Fix what is said above and repeat the command, or end them in Infobip's portal."
    elif counts[LeakOutcome.NOT_OURS]:
        advice = " Who knows whose the others are should end them in Infobip's portal."
    return f"{counted(len(results), 'leaked key')}: {', '.join(parts)}.{advice}"


def _document(
    report: ScannerReport, results: Sequence[LeakResult], run: dict[str, Any], *, confirmed: bool
) -> dict[str, Any]:
    return {
        "findings": report.findings,
        "without_infobip_key": report.without,
        "confirmed": confirmed,
        "leaks": [
            {
                "outcome": str(result.outcome),
                "account": result.plan.account if result.plan else None,
                "key_id": result.key_id,
                "secret": result.plan.secret.name if result.plan and result.plan.secret else None,
                "places": [_place(place) for place in result.leak.places],
                "more_places": result.leak.more,
                "detail": result.detail or None,
            }
            for result in results
        ],
        "emergencies": [
            emergency_document(result.plan, result.report, run)
            for result in results
            if result.plan is not None and (result.report is not None or result.outcome is LeakOutcome.PLANNED)
        ],
        **run,
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "position": place.position,
        "file": place.file,
        "line": place.line,
        "commit": place.commit,
        "fingerprint": place.fingerprint,
        "url": place.url,
    }
