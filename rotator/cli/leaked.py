"""``rotator revoke --leaked-key-stdin``: a value, a text around it, or a scanner's report."""

from __future__ import annotations

import codecs
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypedDict

from rotator.cli.documents import as_json, shaped
from rotator.cli.emergency_output import EmergencyOutput
from rotator.engine.emergency import Emergency
from rotator.engine.emergency.leak_intake import LeakOutcome, LeakResult, revoke_each
from rotator.errors import ConfigurationError
from rotator.leaks import MOST_FINDINGS, Leak, LeakReport, Place, is_usable, read_leaks
from rotator.render import Grid, counted, key_words, shown, styled
from rotator.secret import Secret
from rotator.text import some_of

MOST_STDIN: Final = 10_000_000
MOST_VALUE: Final = 65_536
MOST_KEYS: Final = 200
"""Each is searched for in every account, at most ten per second."""
_SHORTEST: Final = 16
"""Shorter than any key. A still shorter text would be redacted all over the output."""
_MOST_NAMED: Final = 20
_PIPE: Final = (
    "Redirect a file: `rotator revoke --leaked-key-stdin … < file`, so that the value stays out of the shell history."
)
_SPLIT: Final = "Split it, or remove findings that are not Infobip keys."
_UNREDACTED: Final = (
    "Run the scanner again without redaction and pipe its report into this command: gitleaks and kingfisher without "
    "--redact, GitHub's alerts without hide_secret=true. If that is not possible, find each key in the named place and "
    "pass its value."
)
_AROUND: Final = "\"'`,; "
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OUTCOMES: Final = {
    "planned": "would be revoked",
    "revoked": "revoked",
    "disabled-already": "already disabled",
    "not-ours": "not found in these accounts",
    "failed": "could NOT be revoked",
}
_STYLES: Final = {"failed": "red", "not-ours": "yellow"}


class LeakShape(TypedDict):
    """One leaked value and its outcome."""

    outcome: LeakOutcome
    account: str | None
    key_id: str | None
    secret: str | None
    places: list[Place]
    more_places: int
    detail: str | None


# ---- stdin ----------------------------------------------------------------------------------------------------------


def read_leaked() -> LeakReport:
    """Read leaked values from stdin. As an argument, they would show in process lists and shell history.

    :raises ConfigurationError: stdin contains neither a key nor a report, or too much.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise ConfigurationError("--leaked-key-stdin reads the key from stdin, which is closed", advice=_PIPE)
    if sys.stdin.isatty():
        raise ConfigurationError(
            "--leaked-key-stdin does not read from a terminal, because the key would be displayed", advice=_PIPE
        )
    found = _stdin()
    if isinstance(found, ConfigurationError):
        raise found
    return found


def _stdin() -> LeakReport | ConfigurationError:
    """Return what stdin contains. Errors are returned, since a traceback would keep this frame and its values."""
    raw = sys.stdin.buffer.read(MOST_STDIN + 1)
    if len(raw) > MOST_STDIN:
        return ConfigurationError(
            f"stdin is larger than {MOST_STDIN} bytes, the maximum for a report", advice="Split the report."
        )
    # PowerShell's `>` writes UTF-16. Nothing else starts with these bytes.
    text = raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig", errors="replace")
    if not text.strip():
        return ConfigurationError("stdin is empty", advice=_PIPE)
    report = read_leaks(Secret(text))
    for name, count, most in (
        ("findings", report.findings or 0, MOST_FINDINGS),
        ("keys", len(report.leaks), MOST_KEYS),
    ):
        if count > most:
            return ConfigurationError(f"the text on stdin has {count} {name}; the maximum is {most}", advice=_SPLIT)
    if report.findings is not None or report.leaks:
        return report
    # It does not have the format of today's Infobip keys. If it is a single value, only Infobip knows it.
    text = text.strip().strip(_AROUND)  # from code or settings; no key starts or ends with these
    if len(text) > MOST_VALUE:
        return ConfigurationError(f"stdin is larger than {MOST_VALUE} bytes, which is too long for a key", advice=_PIPE)
    if not is_usable({"value": [text]}):
        return ConfigurationError(
            "the value on stdin is masked or cut, so its key can't be identified",
            advice="Pass the whole value, or use the key's id: `rotator revoke --key-id K --account A`.",
        )
    if not text.isascii() or any(char.isspace() or not char.isprintable() for char in text) or len(text) < _SHORTEST:
        return ConfigurationError(
            "stdin contains no key, no text with keys, and no scanner report",
            advice="Pass the key value, a text that contains it in full (32 hex digits, a hyphen, a UUID; encoded or "
            "not), or the scanner's unmodified JSON.",
        )
    return LeakReport(None, 0, (), (Leak(Secret(text), (Place(1, line=1),)),), ())


# ---- keys ------------------------------------------------------------------------------------------------------------


def revoke_leaks(
    output: EmergencyOutput,
    leaks: LeakReport,
    emergency: Emergency,
    account: str | None,
) -> bool:
    """Revoke every Infobip key of a text, or show what would be done; each step is shown at once.

    :returns: whether there is something to confirm.
    """
    redactor, call = output.app.redactor, output.call
    for value in leaks.values:
        redactor.learn_value(value.reveal())
    for leak in leaks.leaks:
        redactor.learn(leak.value.reveal())
    results: list[LeakResult] = []
    documents: list[dict[str, Any]] = []
    output.more = {
        "findings": leaks.findings,
        "without_infobip_key": leaks.without_key,
        "unusable": as_json(leaks.unusable),
        "leaks": documents,
    }
    call.text(_heading(leaks))
    for result in revoke_each(emergency, leaks.leaks, output.strategy, account, dry_run=output.dry_run):
        results.append(result)
        documents.append(_document(result))
        # Redact before wrapping and cutting: a place may contain a value, and half of one would not be found.
        place = shown(redactor.redact(where(result.leak)), 300)
        if result.report is not None and result.plan is not None:
            call.text("", f"{place}: {key_words(result.key_id)}")
            output.show(result.plan, result.report)
        else:
            output.errors.append(f"{where(result.leak)}: {result.detail}")
            heading = styled(f"{place}: {_OUTCOMES[result.outcome]}", _STYLES.get(result.outcome, ""))
            call.text("", heading, Grid([(shown(result.detail),)], ()))
    if leaks.unusable:
        _show_unusable(output, leaks)
    if results:
        call.text("", _summary(results))
    return any(result.outcome is LeakOutcome.PLANNED for result in results)


def _show_unusable(output: EmergencyOutput, leaks: LeakReport) -> None:
    have, keys = ("has", "its key was") if len(leaks.unusable) == 1 else ("have", "their keys were")
    what = (
        f"{len(leaks.unusable)} of {counted(leaks.findings or 0, 'finding')} {have} no usable value (masked, cut "
        f"or empty), so {keys} not searched for and may still work"
    )
    names = some_of((place_text(place) for place in leaks.unusable), _MOST_NAMED)
    output.errors.append(f"{what}: {names}. {_UNREDACTED}")
    rows = [(shown(output.app.redactor.redact(place_text(place)), 300),) for place in leaks.unusable]
    output.call.text("", styled(f"{what}:", "red"), Grid(rows, ()), _UNREDACTED)


def _document(result: LeakResult) -> dict[str, Any]:
    plan = result.plan
    return shaped(
        LeakShape,
        result,
        account=plan.account if plan else None,
        secret=plan.secret_fields["secret"] if plan else None,
        places=result.leak.places,
        more_places=result.leak.more,
        detail=result.detail or None,
    )


def place_text(place: Place) -> str:
    """For people: ``src/app.py:12 in 1a2b3c4d``, else the fingerprint, the page, ``line 3``, or ``finding 3``."""
    if place.file is not None:
        line = f":{place.line}" if place.line is not None else ""
        return f"{place.file}{line}{f' in {place.commit[:8]}' if place.commit else ''}"
    where = f"finding {place.position}" if place.line is None else f"line {place.line}"
    return place.fingerprint or place.url or where


def where(leak: Leak) -> str:
    """For people: the first place, and how many there are besides."""
    others = len(leak.places) - 1 + leak.more
    return place_text(leak.places[0]) + (f" (and {others} more)" if others else "")


def _heading(leaks: LeakReport) -> str:
    if leaks.findings is None:
        return f"Text with {counted(len(leaks.leaks), 'possible key')}."
    findings = counted(leaks.findings, "finding")
    values = counted(len(leaks.leaks), "value") if leaks.leaks else "no value"
    sentences = [f"{findings}, {values} in the format of an Infobip key." if leaks.findings else f"{findings}."]
    if leaks.without_key:
        verbs = "is another kind of secret and was" if leaks.without_key == 1 else "are other kinds of secrets and were"
        sentences.append(f"{leaks.without_key} {verbs} not searched for.")
    if not leaks.leaks:
        sentences.append("Nothing was searched for and nothing was changed.")
    return " ".join(sentences)


def _summary(results: Sequence[LeakResult]) -> str:
    counts = Counter(str(result.outcome) for result in results)
    parts = [f"{counts[outcome]} {text}" for outcome, text in _OUTCOMES.items() if counts[outcome]]
    advice = ""
    if counts["failed"]:
        advice = " Fix the errors above and repeat the command, or disable the keys in Infobip's portal."
    elif any(result.detail for result in results if result.outcome is LeakOutcome.REVOKED):
        advice = " Fix the errors of the secrets above and repeat the command."
    if counts["not-ours"] and not counts["failed"]:
        advice += (
            " The others were not found in the accounts configured here: their owners must disable them in Infobip's "
            "portal."
        )
    return f"{counted(len(results), 'leaked key')}: {', '.join(parts)}.{advice}"
