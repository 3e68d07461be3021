"""Finds leaked keys in any text. Nothing here raises: a traceback would keep frames that contain the text in clear."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from rotator.decoding import plain, readings, unescaped
from rotator.key_format import VALUE_LENGTH, is_truncated_value, values_in
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


# ---- scanners' findings: JSON objects recognised by the names of their fields, whole or truncated --------------------

_NAMES: Final = {
    "file": "file filename filepath path uri target",
    "line": "line startline linestart linenumber lineno",
    "commit": "commit commitid commitsha commithash",
    "fingerprint": "fingerprint",
    "url": "htmlurl link fileurl repository",
    "value": "secret raw rawv2",
    "context": "match matching snippet snippettext rawsourcecodeextract lines",
    "rule": "rule ruleid rulename checkid detector",
    "detector": "secrettype detectorname hashedsecret",
}
"""Names of fields by meaning, in lower case without separators. ``text`` in ``snippet`` is ``snippettext``."""
_MEANINGS: Final = {name: meaning for meaning, names in _NAMES.items() for name in names.split()}
PLACE: Final = ("file", "line", "commit", "fingerprint", "url")
_SEPARATORS: Final = str.maketrans("", "", "_-. ")
_STRING: Final = r'"((?:[^"\\\n]++|\\.)*+)"?'  # ends with its line: a stray quotation mark affects only that
_TOKEN: Final = re.compile(rf"{_STRING}(?:(\s*+:\s*+)(?:{_STRING}|(\d{{1,9}}\b|null\b))?)?|[{{}}]")
_MASKED: Final = re.compile(r"\A\s*\Z|\*{3}|[xX]{4}|[•#]{3}|\.{3}|…|(?i:redacted|masked|hidden|filtered|removed)")
_DEEPEST: Final = 32  # the outermost objects are forgotten
_NESTED: Final = 3
Fields = dict[str, list[str]]  # the texts of a finding by their meaning, `""` for all others
_Object = tuple[str, Fields, list[Fields]]  # its name, its texts, and the findings in it


def findings_in(text: str, nesting: int = 0) -> list[Fields]:
    """Return the findings in a text, inner ones first. A truncated one is at the start or at the end of the text."""
    found: list[Fields] = []
    objects: deque[_Object] = deque([("", {}, [])], maxlen=_DEEPEST)  # the first may start before the text
    name = ""
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            objects.append((name, {}, []))
        elif token[0] == "}":
            found += _end(objects)
        else:
            first, colon, string, scalar = token.groups()
            name, value = (first.translate(_SEPARATORS).lower(), string) if colon else ("", first)
            value = value and (unescaped(value) or value) + ("" if token[0].endswith('"') else "…")  # it is truncated
            if value and '{"' in value and nesting < _NESTED:
                found += findings_in(value, nesting + 1)
            if objects and (value is not None or scalar):
                parent, fields, _ = objects[-1]
                texts = fields.setdefault(_MEANINGS.get(name) or _MEANINGS.get(parent + name, ""), [])
                texts += [] if scalar == "null" else [value or scalar or ""]
    while objects:
        found += _end(objects)
    return found


def values(finding: Fields) -> list[str]:
    """Return the values found, or the text around them if no field contains the value alone."""
    return finding["value"] if "value" in finding else finding.get("context", [])


def is_usable(finding: Fields) -> bool:
    """Whether the value is present, unmasked and whole, in any vendor's format."""
    return not all(map(_is_unusable, values(finding)))


def _is_unusable(value: str) -> bool:
    """Whether a value is empty, masked or a part of an Infobip key (not a UUID, which is another vendor's key)."""
    return _MASKED.search(value) is not None or is_truncated_value(value)


def _end(objects: deque[_Object]) -> list[Fields]:
    """End the innermost object: return it if it is a finding, else add its fields to the findings in and around it."""
    _, fields, inner = objects.pop() if objects else ("", {}, [])
    for finding in inner:
        for name in fields.keys() & PLACE:
            finding.setdefault(name, fields[name])
    new = [fields] if _is_finding(fields, has_inner=bool(inner)) else []
    if objects:
        _, outer, findings = objects[-1]
        findings += inner + new
        for name, texts in () if inner or new else fields.items():
            outer.setdefault(name, []).extend(texts)
    return new


def _is_finding(fields: Fields, *, has_inner: bool) -> bool:
    """Whether an object has two of: a place, a value, a rule."""
    has_value = not fields.keys().isdisjoint(("value", "context"))
    says = (has_value, "rule" in fields, not fields.keys().isdisjoint(PLACE[:-1]))
    is_masked = any(text and _is_unusable(text) for text in fields.get("value", ()))
    return (sum(says) > 1 or is_masked or "detector" in fields) and (has_value or not has_inner)
