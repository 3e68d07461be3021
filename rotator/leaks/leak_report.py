"""Finds leaked keys in any text: a scanner's report, a settings file, a header, a log.

It reads reports of trufflehog (JSON lines), gitleaks (JSON), kingfisher (JSON, JSON lines), GitHub's secret-scanning
alerts, and SARIF, as gitleaks and kingfisher write it. Every Infobip key in the text counts, in a finding or not; a
report says where each was found. Values are returned as :class:`~rotator.secret.Secret`. Nothing here raises: an
error's traceback would keep these frames, which hold the text in the clear.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rotator.policy.values import possible_keys
from rotator.secret import Secret

MOST_FINDINGS: Final = 20_000
MOST_KEYS: Final = 200
"""Each is searched for in every account, at ten a second at most."""
MOST_PLACES: Final = 20
_LONGEST: Final = 500
_LARGEST_LINE: Final = 9
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SPLIT: Final = "Split it, or take out what is not Infobip's."
_REDACTED: Final = re.compile(r"\**|x+|(?i:\[?redacted\b.*)|.*\.\.\.", re.DOTALL)
"""Placeholders for a value: gitleaks' ``REDACTED``, or a part of it and ``...``; kingfisher's ``[REDACTED:…]``."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key was found.

    :param position: which finding of the report it is, or which line of a text, from 1.
    :param url: the alert's or the line's page.
    """

    position: int
    file: str | None = None
    line: int | None = None
    commit: str | None = None
    fingerprint: str | None = None
    url: str | None = None

    @property
    def text(self) -> str:
        """For people: ``src/app.py:12 in 1a2b3c4d``, else the fingerprint, the page, ``line 3``, or ``finding 3``."""
        if self.file is not None:
            line = f":{self.line}" if self.line is not None else ""
            return f"{self.file}{line}{f' in {self.commit[:8]}' if self.commit else ''}"
        where = f"finding {self.position}" if self.line is None else f"line {self.line}"
        return self.fingerprint or self.url or where


@dataclass(frozen=True, slots=True)
class Leak:
    """One value that has the shape of an Infobip key, and where it was found; ``more`` counts other places."""

    value: Secret
    places: tuple[Place, ...]
    more: int = 0

    @property
    def text(self) -> str:
        """For people, without any part of the value."""
        others = len(self.places) - 1 + self.more
        return self.places[0].text + (f" (and {others} more)" if others else "")


@dataclass(frozen=True, slots=True)
class LeakReport:
    """The leaked keys that were found in a text.

    :param findings: how many there are; ``None`` if the text is no scanner's report.
    :param without: how many of them hold nothing that has the shape of an Infobip key.
    :param redacted: how many of these hold no value at all: the scanner left it out.
    :param leaks: each value once.
    :param values: every value of every finding, for the redactor.
    """

    findings: int | None
    without: int
    redacted: int
    leaks: tuple[Leak, ...]
    values: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What is wrong with a text, as a sentence without a full stop, and the fix."""

    what: str
    fix: str


def read_leaks(text: Secret) -> LeakReport | Unreadable:
    """Read a scanner's report, or a text with keys in it, which may begin like a report (``[default]``, any JSON)."""
    items = _findings(text.reveal())
    if isinstance(items, list) and len(items) > MOST_FINDINGS:
        return Unreadable(f"the report on stdin holds {len(items)} findings, more than {MOST_FINDINGS}", _SPLIT)
    findings = items if isinstance(items, list) else []
    places: dict[str, list[Place]] = {}
    values: dict[str, None] = {}
    without = redacted = 0
    for position, item in enumerate(findings, 1):
        scalars = list(_scalars(item))
        fields = _named(scalars)
        found = [value for name in _VALUES if isinstance(value := fields.get(name), str) and value]
        values.update(dict.fromkeys(found))
        # Search every text of the finding: the scanner may have taken only a part of a key for the secret.
        found_in = [Secret(each) for _, each in scalars if isinstance(each, str)]
        keys = {key.reveal() for each in found_in for key in possible_keys(each)}
        without += not keys
        redacted += not keys and all(_REDACTED.fullmatch(value) for value in found)
        for key in sorted(keys):
            places.setdefault(key, []).append(_place(fields, position))
    named = frozenset(places)
    for number, line in enumerate(text.reveal().split("\n"), 1):
        for found_key in possible_keys(Secret(line)):
            if found_key.reveal() not in named:  # outside of the findings: a log line, a text
                places.setdefault(found_key.reveal(), []).append(Place(number, line=number))
    if isinstance(items, Unreadable) and not places:
        return items
    if len(places) > MOST_KEYS:
        return Unreadable(f"the text on stdin holds {len(places)} keys, more than {MOST_KEYS}", _SPLIT)
    leaks = tuple(
        Leak(Secret(key), tuple(found[:MOST_PLACES]), max(0, len(found) - MOST_PLACES)) for key, found in places.items()
    )
    count = len(items) if isinstance(items, list) else None
    return LeakReport(count, without, redacted, leaks, tuple(map(Secret, values)))


# ---- reports --------------------------------------------------------------------------------------------------------


_MARKS: Final = frozenset(
    {
        "SourceMetadata",
        "DetectorName",
        "RuleID",
        "Fingerprint",
        "finding",
        "ruleId",
        "locations",
        "secret_type",
        "secret",
    }
)
"""One of these fields makes an object a finding: trufflehog's, gitleaks', kingfisher's, SARIF's or GitHub's."""
_VALUES: Final = ("Raw", "RawV2", "Secret", "snippet", "snippet.text", "secret")
"""Fields that hold the found value. It may be absent: scanners can leave values out."""
_FILE: Final = ("file", "File", "path", "uri")
_LINE: Final = ("line", "StartLine", "startLine", "start_line")
_COMMIT: Final = ("commit", "Commit", "commit.id", "commitSha", "commit_sha")
_URL: Final = ("html_url", "link", "Link", "file.url", "url", "repository")


def _place(fields: Mapping[str, Any], position: int) -> Place:
    """The place that a finding names."""
    lines = (fields.get(name) for name in _LINE)
    return Place(
        position,
        _text(fields, _FILE),
        next((line for line in lines if isinstance(line, int) and not isinstance(line, bool) and line > 0), None),
        _text(fields, _COMMIT),
        _text(fields, ("Fingerprint",)),
        _text(fields, _URL),
    )


def _findings(raw: str) -> list[Mapping[str, Any]] | Unreadable | None:
    """Every finding of a report: one document, several, or one per line; ``None`` if it is no JSON at all."""
    raw = raw.strip()
    if raw[:1] not in ("{", "[") and raw != "null":
        return None
    found: list[Mapping[str, Any]] = []
    logged = 0
    at = 0
    while at < len(raw):
        try:
            document, end = _DECODER.raw_decode(raw, at)
        except (ValueError, RecursionError):
            line = raw.count("\n", 0, at) + 1
            return Unreadable(
                f"the report on stdin can't be read: what begins in line {line} is broken JSON or nested too deeply",
                "Nothing was changed. Run the scanner again, or pass the key's value alone.",
            )
        for item in _items(document):
            if isinstance(item, dict) and item.keys() & _MARKS:
                found.append(item)
            elif isinstance(item, dict) and isinstance(item.get("msg"), str) and "level" in item:
                logged += 1  # trufflehog's own log, if its stderr went into the same file
            else:
                return Unreadable(
                    f"item {len(found) + logged + 1} of the report on stdin is no finding of a known scanner",
                    "Pass the scanner's own JSON, as `trufflehog --json`, `gitleaks -f json`, `kingfisher --format "
                    "json` or `gh api` write it, or SARIF.",
                )
        space = _SPACE.match(raw, end)
        at = space.end() if space else end
    if logged and not found:
        return Unreadable("the report on stdin holds no findings", "Nothing was changed, and nothing leaked by it.")
    return found


def _items(document: Any) -> Iterator[Any]:
    """Yield possible findings: from arrays (pages of them, or ``null``), or from kingfisher's or SARIF's wrapper."""
    if isinstance(document, list):
        for each in document:
            yield from each if isinstance(each, list) else _items(each)
    elif not isinstance(document, dict):
        yield from () if document is None else (document,)
    elif isinstance(document.get("runs"), list):
        for run in document["runs"]:
            results = run.get("results") if isinstance(run, dict) else None
            yield from results if isinstance(results, list) else ()
    elif isinstance(document.get("findings"), list):
        yield from document["findings"]
    elif "audit" not in document and "rules_applied" not in document:  # kingfisher's summary of its run
        yield document


def _number(text: str) -> int | None:
    """A line's number; ``None`` if it is too long: converting thousands of digits fails, or takes long."""
    return int(text) if len(text) <= _LARGEST_LINE else None


_DECODER: Final = json.JSONDecoder(parse_int=_number, parse_float=lambda _: None, parse_constant=lambda _: None)


def _scalars(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield every text and number in a finding, with its parent's and its own name (``commit.id``), outermost first."""
    left = deque([("", item)])
    while left:
        path, each = left.popleft()
        if isinstance(each, dict):
            left.extend((f"{path.rpartition('.')[2]}.{name}", inner) for name, inner in each.items())
        elif isinstance(each, list):
            left.extend((path, inner) for inner in each)
        else:
            yield path, each


def _named(scalars: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The first value of each name, and of each name with its parent's."""
    fields: dict[str, Any] = {}
    for path, value in scalars:
        fields.setdefault(path, value)
        fields.setdefault(path.rpartition(".")[2], value)
    return fields


def _text(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    found = map(fields.get, names)
    return next((value[:_LONGEST] for value in found if isinstance(value, str) and value), None)
