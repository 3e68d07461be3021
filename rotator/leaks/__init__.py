"""Finds leaked keys in any text. Nothing here raises: a traceback would keep frames that contain the text in clear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rotator.decoding import plain, readings
from rotator.key_format import VALUE_LENGTH, values_in
from rotator.leaks.findings import PLACE, Fields, findings_in, is_usable, values
from rotator.secret import Secret

MOST_FINDINGS, MOST_PLACES = 20_000, 20  # further ones are only counted
_LONGEST: Final = 500
_LINE: Final = re.compile(rf"^[^\n]{{{VALUE_LENGTH},}}", re.MULTILINE)
_LINES: Final = re.compile(r"(?m)^(?:[^\n]*+(?:(?<=[=D])|(?<=[A-Za-z0-9+/_-]{16}))\n|[A-Za-z0-9+/_-]{1,16}\n)+[^\n]*")
"""Lines that quoted-printable (by `=`, itself encoded as `=3D`) or base64 may have broken."""
_NOTHING: Final = re.compile(r"(?m)^(?:\[[][ ,]*\]|null)$|\"(?:findings|results)\"\s*+:\s*+(?:null|\[\s*+\])")
"""The output of scanners that found nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a key or a finding. ``position`` is the number of the finding or of the line, from 1."""

    position: int
    file: str | None = None
    line: int | None = None
    commit: str | None = None
    fingerprint: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """One value in the format of an Infobip key, and where it was found. ``more`` counts further places."""

    value: Secret
    places: tuple[Place, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class LeakReport:
    """The leaked keys and findings in a text.

    :param findings: the number of scanner findings; ``None`` if it is not a report.
    :param without_key: how many of them contain a value in another format than Infobip's.
    :param unusable: those whose value is masked, truncated, empty or missing, so no key can be found by it.
    :param leaks: each key, once.
    :param values: every value of a finding, for the redactor.
    """

    findings: int | None
    without_key: int
    unusable: tuple[Place, ...]
    leaks: tuple[Leak, ...]
    values: tuple[Secret, ...]


def read_leaks(text: Secret) -> LeakReport:
    """Find every key in a text, in findings or not, and every finding without a usable value."""
    raw = plain(text.reveal())
    spelt: dict[str, str] = {}
    places: dict[str, list[Place]] = {}

    def add(text: str, place: Place, known: frozenset[str] = frozenset()) -> bool:
        keys = encoded_keys(text)
        for spelling in keys:
            if (key := spelling.lower()) not in known:
                places.setdefault(key, []).append(place)
                spelt[key] = max(spelling, spelt.get(key, ""))  # in lower case, if both are there
        return bool(keys)

    # The JSON may be plain, in a mail, in XML or in base64; or it may start in the middle of a string.
    findings = max(map(findings_in, (*readings(raw), f'"{raw}')), key=len)
    unusable, without_key = [], 0
    for position, finding in enumerate(findings[:MOST_FINDINGS], 1):
        place = _place(finding, position)
        has_key = add("\n".join(each for texts in finding.values() for each in texts), place)
        if is_usable(finding) or encoded_keys("\n".join(values(finding) + finding.get("context", []))):
            without_key += not has_key
        else:
            unusable.append(place)
    for pattern in (_LINE, _LINES):
        known = frozenset(places)  # a finding, or a single line, is a more exact place
        number, counted = 1, 0
        for match in pattern.finditer(raw):
            number += raw.count("\n", counted, match.start())
            counted = match.start()
            add(match[0], Place(number, line=number), known)
    leaks = (Leak(Secret(spelt[key]), tuple(at[:MOST_PLACES]), len(at[MOST_PLACES:])) for key, at in places.items())
    count = len(findings) or (0 if _NOTHING.search(raw) else None)
    every = dict.fromkeys(value for finding in findings for value in values(finding) if value)
    return LeakReport(count, without_key, tuple(unusable), tuple(leaks), tuple(map(Secret, every)))


def encoded_keys(text: str) -> dict[str, None]:
    """Return every text in the format of an Infobip key, as spelt, that a text contains, encoded or not."""
    return dict.fromkeys(value for each in readings(text) for value in values_in(each))


def _place(finding: Fields, position: int) -> Place:
    file, line, *others = (next((text[:_LONGEST] for text in finding.get(name, ()) if text), None) for name in PLACE)
    return Place(position, file, int(line) if line and re.fullmatch("[1-9][0-9]{0,8}", line) else None, *others)
