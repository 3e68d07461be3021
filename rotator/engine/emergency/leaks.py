"""Leaked keys in whatever text: a scanner's report, a settings file, a header, a log.

Read are reports of trufflehog (JSON lines), gitleaks (JSON), kingfisher (JSON, JSON lines), GitHub's secret-scanning
alerts, and SARIF, as gitleaks and kingfisher write it. Every Infobip key in the text counts, in a finding or not; a
report says where each was found. Values leave it as :class:`~rotator.secret.Secret`. Nothing here raises: the text
stands open in these frames, and an error's traceback would keep them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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
"""What stands for a value: gitleaks' ``REDACTED``, or a part of it and ``...``; kingfisher's ``[REDACTED:…]``."""


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
    """One value that has the shape of an Infobip key, and where it was found; ``more`` places are not named."""

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
    """What a text says of leaked keys.

    :param findings: how many there are; ``None`` where it is no scanner's report.
    :param without: how many of them hold nothing that has the shape of an Infobip key.
    :param redacted: how many of these hold no value at all: the scanner left it out.
    :param leaks: each value once.
    :param values: every value of every finding, for a redactor to know.
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
    """A scanner's report, or a text with keys in it, which may begin as a report does (``[default]``, any JSON)."""
    items = _findings(text.reveal())
    if isinstance(items, list) and len(items) > MOST_FINDINGS:
        return Unreadable(f"the report on stdin holds {len(items)} findings, more than {MOST_FINDINGS}", _SPLIT)
    findings = items if isinstance(items, list) else []
    places: dict[str, list[Place]] = {}
    values: dict[str, None] = {}
    without = redacted = 0
    for position, (scanner, item) in enumerate(findings, 1):
        found = [value for path in scanner.values if isinstance(value := _at(item, path), str) and value]
        values.update(dict.fromkeys(found))
        keys = {key.reveal() for each in _texts(item) for key in possible_keys(Secret(each))}
        without += not keys
        redacted += not keys and all(_REDACTED.fullmatch(value) for value in found)
        for key in sorted(keys):
            places.setdefault(key, []).append(scanner.place(item, position))
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


@dataclass(frozen=True, slots=True)
class _Scanner:
    """Where a scanner's finding has what, as paths; of several the first that is there. ``*`` is any one field.

    :param marks: fields, one of which makes it that scanner's.
    :param values: where the found value stands. It may be absent: scanners can leave values out.
    """

    marks: tuple[str, ...]
    values: tuple[str, ...]
    file: tuple[str, ...] = ()
    line: str = ""
    commit: tuple[str, ...] = ()
    fingerprint: str = ""
    url: tuple[str, ...] = ()

    def place(self, item: Mapping[str, Any], position: int) -> Place:
        """Where the finding says that it is."""
        line = _at(item, self.line)
        return Place(
            position,
            _text(item, self.file),
            line if isinstance(line, int) and not isinstance(line, bool) and line > 0 else None,
            _text(item, self.commit),
            _text(item, (self.fingerprint,)),
            _text(item, self.url),
        )


_TRUFFLEHOG: Final = "SourceMetadata.Data.*"
_KINGFISHER: Final = "finding.git_metadata"
_LOCATION: Final = "locations.0.physicalLocation"
_SCANNERS: Final = (
    _Scanner(
        ("SourceMetadata", "DetectorName"),
        ("Raw", "RawV2"),
        file=(f"{_TRUFFLEHOG}.file", f"{_TRUFFLEHOG}.path"),
        line=f"{_TRUFFLEHOG}.line",
        commit=(f"{_TRUFFLEHOG}.commit",),
        url=(f"{_TRUFFLEHOG}.link", f"{_TRUFFLEHOG}.repository"),
    ),
    _Scanner(  # gitleaks
        ("RuleID", "Fingerprint"),
        ("Secret",),
        file=("File",),
        line="StartLine",
        commit=("Commit",),
        fingerprint="Fingerprint",
        url=("Link",),
    ),
    _Scanner(  # kingfisher
        ("finding",),
        ("finding.snippet",),
        file=("finding.path",),
        line="finding.line",
        commit=(f"{_KINGFISHER}.commit.id",),
        url=(f"{_KINGFISHER}.file.url",),
    ),
    _Scanner(  # SARIF: kingfisher's or gitleaks'
        ("ruleId", "locations"),
        (f"{_LOCATION}.region.snippet.text",),
        file=(f"{_LOCATION}.artifactLocation.uri",),
        line=f"{_LOCATION}.region.startLine",
        commit=("partialFingerprints.commitSha", "locations.0.properties.git_metadata.commit.id"),
        url=("locations.0.properties.git_metadata.file.url",),
    ),
    _Scanner(  # GitHub
        ("secret", "secret_type"),
        ("secret",),
        file=("first_location_detected.path",),
        line="first_location_detected.start_line",
        commit=("first_location_detected.commit_sha",),
        url=("html_url", "url"),
    ),
)


def _findings(raw: str) -> list[tuple[_Scanner, Mapping[str, Any]]] | Unreadable | None:
    """Every finding of a report: one document, several, or a line each; ``None`` where it is no JSON at all."""
    raw = raw.strip()
    if raw[:1] not in ("{", "[") and raw != "null":
        return None
    found: list[tuple[_Scanner, Mapping[str, Any]]] = []
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
            scanner = next(
                (each for each in _SCANNERS if isinstance(item, dict) and item.keys() & set(each.marks)), None
            )
            if scanner is not None:
                found.append((scanner, item))
            elif isinstance(item, dict) and isinstance(item.get("msg"), str) and "level" in item:
                logged += 1  # trufflehog's own log, where its stderr went into the same file
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
    """What may be findings: in arrays (pages of them, or ``null``), or in what kingfisher and SARIF put around them."""
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
    elif "audit" not in document and "rules_applied" not in document:  # kingfisher's own account of its work
        yield document


def _number(text: str) -> int | None:
    """A line's number; to convert one with thousands of digits fails, or takes long."""
    return int(text) if len(text) <= _LARGEST_LINE else None


_DECODER: Final = json.JSONDecoder(parse_int=_number, parse_float=lambda _: None, parse_constant=lambda _: None)


def _texts(item: Any) -> Iterator[str]:
    """Every text in a finding: a scanner may have taken only a part of a key for the secret."""
    left = [item]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            left += each.values()
        elif isinstance(each, list):
            left += each


def _at(item: Any, path: str) -> Any:
    """What stands at a path in a finding, or ``None``."""
    for name in path.split("."):
        if isinstance(item, dict):
            item = (
                next((each for each in item.values() if isinstance(each, dict)), None)
                if name == "*"
                else item.get(name)
            )
        elif isinstance(item, list) and name.isdigit():
            item = item[int(name)] if int(name) < len(item) else None
        else:
            return None
    return item


def _text(item: Mapping[str, Any], paths: tuple[str, ...]) -> str | None:
    found = (_at(item, path) for path in paths)
    return next((value[:_LONGEST] for value in found if isinstance(value, str) and value), None)
