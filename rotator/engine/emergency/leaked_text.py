"""Keys that stand somewhere in a text: a settings file, a header, a log, a scanner's report that nobody can read.

Nothing here raises, as in :mod:`rotator.engine.emergency.findings`: the text stands open in these frames.
"""

from __future__ import annotations

from dataclasses import replace

from rotator.engine.emergency.findings import (
    MOST_KEYS,
    MOST_PLACES,
    SPLIT,
    Leak,
    Place,
    ScannerReport,
    Unreadable,
    looks_like_report,
    read_report,
)
from rotator.policy.values import possible_keys
from rotator.secret import Secret


def read_leaks(text: Secret) -> ScannerReport | Unreadable:
    """A scanner's report, or a text with keys in it, which may well begin as a report does (``[default]``, any JSON).

    A key that stands in a report outside of its findings' values (a commit's message, a log line, a field that a newer
    scanner writes) leaked as well: it counts, with its line as its place.
    """
    report = read_report(Secret(text.reveal().strip())) if looks_like_report(text) else None
    if isinstance(report, Unreadable) and not report.foreign:
        return report
    found = read_text(text)
    if isinstance(found, Unreadable):
        return found
    if isinstance(report, ScannerReport):
        named = {leak.value.reveal() for leak in report.leaks}
        rest = tuple(leak for leak in found.leaks if leak.value.reveal() not in named)
        return replace(report, leaks=report.leaks + rest)
    return found if report is None or found.leaks else report


def read_text(text: Secret) -> ScannerReport | Unreadable:
    """Every value in a text that has the shape of an Infobip key, with its lines; nothing else of it is looked at."""
    places: dict[str, list[Place]] = {}
    for number, line in enumerate(text.reveal().split("\n"), 1):
        for key in possible_keys(Secret(line)):
            places.setdefault(key.reveal(), []).append(Place(number, line=number))
    if len(places) > MOST_KEYS:
        return Unreadable(f"the text on stdin holds {len(places)} keys, more than {MOST_KEYS}", SPLIT)
    leaks = tuple(
        Leak(Secret(key), tuple(found[:MOST_PLACES]), max(0, len(found) - MOST_PLACES)) for key, found in places.items()
    )
    return ScannerReport(None, 0, leaks, ())
