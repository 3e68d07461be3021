"""``rotator revoke --leaked-key-stdin``: a value, a text around it, or a scanner's report."""

from __future__ import annotations

import codecs
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rotator.errors import ConfigurationError, Refused
from rotator.secret import Secret

if TYPE_CHECKING:
    from rotator.cli.revoke import Done, Screen
    from rotator.engine.emergency import Emergency, Strategy
    from rotator.engine.emergency.leak_intake import LeakResult
    from rotator.leaks import LeakReport

MOST_STDIN: Final = 10_000_000
MOST_VALUE: Final = 65_536
_SHORTEST: Final = 16
"""Shorter than any key. A still shorter text would be redacted all over the output."""
_PIPE: Final = "Pipe it: `rotator revoke --leaked-key-stdin … < file`, so that no shell keeps it in its history."
_UNREDACTED: Final = (
    "Run the scanner again without redaction, and pipe its report into this command: gitleaks and kingfisher without "
    "--redact, GitHub's alerts without hide_secret=true."
)
_AROUND: Final = "\"'`,; "
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OUTCOMES: Final = {
    "planned": "would be revoked",
    "revoked": "revoked",
    "disabled-already": "disabled already",
    "not-ours": "not of these accounts",
    "failed": "can NOT be revoked",
}
_STYLES: Final = {"failed": "red", "not-ours": "yellow"}


# ---- stdin ----------------------------------------------------------------------------------------------------------


def read_leaked() -> Secret | LeakReport:
    """Read leaked values from stdin. As an argument, they would show in process lists and shell history.

    A text with one key counts as its value alone; a text with several is a report.

    :raises ConfigurationError: stdin holds neither a key nor a report, or too much.
    :raises Refused: the report holds findings and no value.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise ConfigurationError("--leaked-key-stdin reads the key from stdin, which is closed", advice=_PIPE)
    if sys.stdin.isatty():
        raise ConfigurationError("--leaked-key-stdin does not read from a terminal, which would show it", advice=_PIPE)
    found = _stdin()
    if isinstance(found, ConfigurationError):
        raise found
    if not isinstance(found, Secret) and found.redacted and not found.leaks:
        raise Refused(_redacted(found), advice=f"Nothing was changed. {_UNREDACTED}")
    return found


def _stdin() -> Secret | LeakReport | ConfigurationError:
    """Return what stdin holds. Errors are returned, since a traceback would keep this frame and its values."""
    from rotator.leaks import Unreadable, read_leaks

    raw = sys.stdin.buffer.read(MOST_STDIN + 1)
    if len(raw) > MOST_STDIN:
        return ConfigurationError(
            f"stdin holds more than {MOST_STDIN} bytes, which is neither a key nor a report of bearable size",
            advice="Split the report.",
        )
    # PowerShell's `>` writes UTF-16. Nothing else begins with these bytes.
    text = raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig", errors="replace")
    if not text.strip():
        return ConfigurationError("stdin is empty", advice=_PIPE)
    report = read_leaks(Secret(text))
    if isinstance(report, Unreadable):
        return ConfigurationError(report.what, advice=report.fix)
    if report.findings is not None or len(report.leaks) > 1:
        return report
    if report.leaks:
        return report.leaks[0].value
    # It does not look like today's Infobip keys. If it is a single value, only Infobip can tell.
    text = text.strip().strip(_AROUND)  # from code or settings; no key begins or ends with these
    if len(text) > MOST_VALUE:
        return ConfigurationError(f"stdin holds more than {MOST_VALUE} bytes, which is no key", advice=_PIPE)
    if not text.isascii() or any(char.isspace() or not char.isprintable() for char in text) or len(text) < _SHORTEST:
        return ConfigurationError(
            "stdin holds something else than a key, a text with keys in it, or a scanner's report",
            advice="Pass the key's value, a text in which it stands whole (32 hexadecimal digits, a hyphen, a UUID), "
            "or the scanner's JSON as it is.",
        )
    return Secret(text)


def _redacted(report: LeakReport) -> str:
    some = f"{report.redacted} of {report.findings} findings on stdin" if report.leaks else "the findings on stdin"
    return f"{some} hold no value (the scanner redacted it), so no key can be found by them"


# ---- several keys ---------------------------------------------------------------------------------------------------


def revoke_leaks(
    screen: Screen, leaks: LeakReport, emergency: Emergency, strategy: Strategy, account: str | None, *, dry_run: bool
) -> Done:
    """Revoke every Infobip key of a report, or show what would be done; each step is shown at once."""
    from rotator.cli.revoke import Done
    from rotator.engine.emergency.leak_intake import Intake, LeakOutcome
    from rotator.render import Grid, key_words, shown, styled

    redactor, call = screen.app.redactor, screen.call
    for value in leaks.values:
        redactor.learn_value(value.reveal())
    for leak in leaks.leaks:
        redactor.learn(leak.value.reveal())
    results: list[LeakResult] = []
    call.text(_heading(leaks))
    for result in Intake(emergency, strategy, account, dry_run).go(leaks.leaks):
        results.append(result)
        # Redact before wrapping and cutting: a place may hold a value, and half of one would not be found.
        place = shown(redactor.redact(result.leak.text), 300)
        if result.report is not None and result.plan is not None:
            call.text("", f"{place}: {key_words(result.key_id)}")
            screen.show(result.plan, result.report)
        else:
            heading = styled(f"{place}: {_OUTCOMES[result.outcome]}", _STYLES.get(result.outcome, ""))
            call.text("", heading, Grid([(shown(result.detail),)], ()))
    errors = [each.detail for each in results if each.outcome is LeakOutcome.FAILED and each.report is None]
    if leaks.redacted:
        errors.append(f"{_redacted(leaks)}. {_UNREDACTED}")
        call.text("", styled(errors[-1], "red"))
    if results:
        call.text("", _summary(results))
    outcomes = {result.outcome for result in results}
    return Done(
        [result.report for result in results if result.report is not None],
        pending=LeakOutcome.PLANNED in outcomes,
        failed=leaks.redacted > 0 or LeakOutcome.FAILED in outcomes,
        errors=errors,
        more={
            "findings": leaks.findings,
            "without_infobip_key": leaks.without,
            "leaks": [_document(result) for result in results],
        },
    )


def _document(result: LeakResult) -> dict[str, Any]:
    plan = result.plan
    return {
        "outcome": str(result.outcome),
        "account": plan.account if plan else None,
        "key_id": result.key_id,
        "secret": plan.secret_name if plan else None,
        "places": [asdict(place) for place in result.leak.places],
        "more_places": result.leak.more,
        "detail": result.detail or None,
    }


def _heading(leaks: LeakReport) -> str:
    from rotator.render import counted

    if leaks.findings is None:
        return f"A text with {counted(len(leaks.leaks), 'value')} of the shape of an Infobip key."
    findings = counted(leaks.findings, "finding")
    if not leaks.leaks:
        return f"{findings}, and none has the shape of an Infobip key: nothing was searched for, nothing changed."
    verbs = "holds none and was" if leaks.without == 1 else "hold none and were"
    rest = f" {leaks.without} {verbs} not searched for." if leaks.without else ""
    return f"{findings}, {counted(len(leaks.leaks), 'value')} with the shape of an Infobip key.{rest}"


def _summary(results: Sequence[LeakResult]) -> str:
    from rotator.render import counted

    counts = Counter(str(result.outcome) for result in results)
    parts = [f"{counts[outcome]} {text}" for outcome, text in _OUTCOMES.items() if counts[outcome]]
    advice = ""
    if counts["failed"]:
        advice = " Fix the errors above and repeat the command, or disable them in Infobip's portal."
    elif counts["not-ours"]:
        advice = " Whose the others are is not known here: their owner should disable them in Infobip's portal."
    return f"{counted(len(results), 'leaked key')}: {', '.join(parts)}.{advice}"
