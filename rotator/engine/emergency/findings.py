"""What secret scanners report, read: trufflehog's JSON lines, gitleaks' array, GitHub's secret-scanning alerts.

Values leave it as :class:`~rotator.secret.Secret`. Nothing here raises: reports stand open in these frames, and an
error's traceback would keep them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rotator.policy.values import possible_keys
from rotator.secret import Secret

MOST_FINDINGS: Final = 20_000
MOST_KEYS: Final = 200
"""Each is looked up in every account, at ten a second at most."""
MOST_PLACES: Final = 20
_LONGEST: Final = 500
_LARGEST_LINE: Final = 9
_SPACE: Final = re.compile(r"[ \t\r\n]*")
SPLIT: Final = "Split it, or take out what is not Infobip's."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scanner found something.

    :param position: which finding of the report it is, from 1.
    :param url: the alert's or the line's page.
    """

    position: int
    file: str | None = None
    line: int | None = None
    commit: str | None = None
    fingerprint: str | None = None
    url: str | None = None

    @property
    def words(self) -> str:
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
    def words(self) -> str:
        """For people, without any part of the value."""
        others = len(self.places) - 1 + self.more
        return self.places[0].words + (f" (and {others} more)" if others else "")


@dataclass(frozen=True, slots=True)
class ScannerReport:
    """One report, read, or a text with keys in it.

    :param findings: how many there are; ``None`` where it is a text and no scanner's report.
    :param without: how many of them hold nothing that has the shape of an Infobip key.
    :param leaks: each value once.
    :param values: every value of every finding, for a redactor to know.
    """

    findings: int | None
    without: int
    leaks: tuple[Leak, ...]
    values: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What is wrong with a report, as a sentence without a full stop, and the fix.

    :param foreign: whether it may be something else than a report: a text that merely begins as one.
    """

    what: str
    fix: str
    foreign: bool = False


def looks_like_report(text: Secret) -> bool:
    """Whether a text begins as JSON that is no single value."""
    return text.reveal().lstrip()[:1] in ("{", "[") or text.reveal().strip() == "null"


def read_report(text: Secret) -> ScannerReport | Unreadable:
    """Read a report of any of the three kinds: one document, several, or a line each."""
    items = _items(text.reveal())
    if isinstance(items, Unreadable):
        return items
    if len(items) > MOST_FINDINGS:
        return Unreadable(f"the report on stdin holds {len(items)} findings, more than {MOST_FINDINGS}", SPLIT)
    places: dict[str, list[Place]] = {}
    values: dict[str, None] = {}
    without = logged = 0
    for position, item in enumerate(items, 1):
        if _is_log_line(item):
            logged += 1
            continue
        names = _names(item) if isinstance(item, dict) else None
        if names is None:
            return Unreadable(
                f"item {position} of the report on stdin is no finding of trufflehog, gitleaks or GitHub",
                "Pass the scanner's own JSON, as `trufflehog --json`, `gitleaks -f json` or `gh api` write it.",
                foreign=True,
            )
        texts = _present(item, (*names, *_AROUND))
        values.update(dict.fromkeys(_present(item, names)))
        keys = {found.reveal() for each in texts for found in possible_keys(Secret(each))}
        without += not keys
        for key in sorted(keys):
            places.setdefault(key, []).append(_place(item, position))
    if logged == len(items):
        return Unreadable(
            "the report on stdin holds no findings", "Nothing was changed, and nothing leaked by it.", foreign=True
        )
    if len(places) > MOST_KEYS:
        return Unreadable(f"the report on stdin holds {len(places)} keys, more than {MOST_KEYS}", SPLIT)
    leaks = tuple(
        Leak(Secret(key), tuple(found[:MOST_PLACES]), max(0, len(found) - MOST_PLACES)) for key, found in places.items()
    )
    return ScannerReport(len(items) - logged, without, leaks, tuple(map(Secret, values)))


# ---- JSON -----------------------------------------------------------------------------------------------------------


def _items(raw: str) -> list[Any] | Unreadable:
    """Every finding: the report is an array, several (pages) or one of arrays (``gh api --paginate --slurp``), one
    object, or objects one after another.
    """
    items: list[Any] = []
    at = _after_space(raw, 0)
    while at < len(raw):
        try:
            document, end = _DECODER.raw_decode(raw, at)
        except (ValueError, RecursionError):
            line = raw.count("\n", 0, at) + 1
            return Unreadable(
                f"the report on stdin can't be read: what begins in line {line} is broken JSON or nested too deeply",
                "Nothing was changed. Run the scanner again, or pass the key's value alone.",
                foreign=True,
            )
        if isinstance(document, list):
            for each in document:
                items += each if isinstance(each, list) else [each]
        elif document is not None:  # gitleaks writes null where it found nothing
            items.append(document)
        at = _after_space(raw, end)
    return items


def _after_space(raw: str, at: int) -> int:
    found = _SPACE.match(raw, at)
    return found.end() if found else at


def _number(text: str) -> int | None:
    """A line's number; to convert one with thousands of digits fails, or takes long."""
    return int(text) if len(text) <= _LARGEST_LINE else None


_DECODER: Final = json.JSONDecoder(parse_int=_number, parse_float=lambda _: None, parse_constant=lambda _: None)

# ---- one finding ----------------------------------------------------------------------------------------------------


_AROUND: Final = ("Match",)
"""What stands around a value: gitleaks may have taken only a part of a key for the secret."""


def _names(item: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The fields of a finding in which its value stands; ``None`` where it is no finding at all.

    They may be absent: scanners can be told to leave values out.
    """
    if "SourceMetadata" in item or "DetectorName" in item:
        return ("Raw", "RawV2")
    if "RuleID" in item or "Fingerprint" in item:
        return ("Secret",)
    if "secret" in item or "secret_type" in item:
        return ("secret",)
    return None


def _is_log_line(item: Any) -> bool:
    """What trufflehog tells of its own work, where its stderr went into the same file."""
    return isinstance(item, dict) and isinstance(item.get("msg"), str) and "level" in item and _names(item) is None


def _present(item: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(value for name in names if isinstance(value := item.get(name), str) and value)


def _place(item: Mapping[str, Any], position: int) -> Place:
    if "SourceMetadata" in item:
        source = next(_sources(item["SourceMetadata"]), {})
        return Place(
            position,
            _text(source, "file", "path"),
            _line(source, "line"),
            _text(source, "commit"),
            url=_text(source, "link", "repository"),
        )
    if "RuleID" in item or "Fingerprint" in item:
        return Place(
            position,
            _text(item, "File"),
            _line(item, "StartLine"),
            _text(item, "Commit"),
            _text(item, "Fingerprint"),
            _text(item, "Link"),
        )
    first = item.get("first_location_detected")
    location = first if isinstance(first, dict) else {}
    return Place(
        position,
        _text(location, "path"),
        _line(location, "start_line"),
        _text(location, "commit_sha"),
        url=_text(item, "html_url", "url"),
    )


def _sources(metadata: Any) -> Iterator[Mapping[str, Any]]:
    """Trufflehog's ``{"Data": {"Git": {…}}}``, whatever the source is called."""
    data = metadata.get("Data") if isinstance(metadata, dict) else None
    yield from (source for source in (data.values() if isinstance(data, dict) else ()) if isinstance(source, dict))


def _text(fields: Mapping[str, Any], *names: str) -> str | None:
    found = (fields.get(name) for name in names)
    return next((value[:_LONGEST] for value in found if isinstance(value, str) and value), None)


def _line(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
