"""Finds scanners' findings in any text: JSON objects recognised by the names of their fields, whole or truncated."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from rotator.decoding import unescaped
from rotator.key_format import is_truncated_value

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
