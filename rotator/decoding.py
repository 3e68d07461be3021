"""Decodes texts that programs encoded: escapes of URLs, JSON, HTML and code, quoted-printable, base64, UTF-16."""

from __future__ import annotations

import binascii
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_HEX: Final = "[0-9a-fA-F]"
_ESCAPE: Final = re.compile(
    rf"%u({_HEX}{{4}})|%({_HEX}{{2}})"
    rf"|\\u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})|\\u({_HEX}{{4}})|\\u\{{({_HEX}{{1,6}})\}}"
    rf"|\\U({_HEX}{{8}})|\\x({_HEX}{{2}})|\\([0-3][0-7]{{2}})|\\([\"'\\/bfnrt-])"
    r"|(&(?:\#[0-9]{1,8}|\#[xX][0-9a-fA-F]{1,7}|[a-zA-Z][a-zA-Z0-9]{1,31});)"
)
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LAST_CODE: Final = 0x10FFFF

_DEEPEST: Final = 4
_MOST_DECODED: Final = 64
_BASE64: Final = "[A-Za-z0-9+/_-]"
_BLOB: Final = re.compile(rf"{_BASE64}{{90,}}")  # an Infobip key takes 92
_WRAP: Final = re.compile(rf"\n(?<={_BASE64}{{16}}\n)[ \t\n]*+(?={_BASE64})")
_READABLE: Final = re.compile(rb"[\t\n\r -~]{16,}")
_QUOTED: Final = re.compile(r"=(?:\n|[0-9A-Fa-f]{2})")
_HYPHENS: Final = "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"  # HTML's &hyphen; and what word processors write
_INVISIBLE: Final = "\0\u00ad\u200b\u2060\ufeff"  # NUL: of UTF-16


def json_object(text: Any) -> dict[str, Any] | None:
    """Return a JSON object, or ``None`` for anything else, whatever is wrong with it."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def mapping_in(value: object) -> Mapping[str, Any]:
    """Return a part of untrusted JSON that should be an object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def text_in(value: object) -> str:
    """Return a part of untrusted JSON that should be a string; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def unescaped(text: str, *, entities: bool = True) -> str | None:
    """Decode the text once, HTML entities only if wanted; ``None`` if it contains no escape.

    A byte (``%C3``) becomes the character with that number, so UTF-8 is decoded as Latin-1.
    """
    if "%" not in text and "\\" not in text and "&" not in text:
        return None
    result = _ESCAPE.sub(_character if entities else _but_entities, text)
    return None if result == text else result


def _but_entities(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith("&") else _character(match)


def _character(match: re.Match[str]) -> str:
    percent_u, percent, high, low, unit, braces, long, byte, octal, short, entity = match.groups()
    if entity is not None:
        return html.unescape(entity)
    if short is not None:
        return _SHORT.get(short, short)
    if octal is not None:
        return chr(int(octal, 8))
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    code = int(percent_u or percent or unit or braces or long or byte, 16)
    return chr(code) if code <= _LAST_CODE else match[0]


def readings(text: str) -> Iterator[str]:
    """Yield a text and, recursively, the texts that it encodes, each once, up to 4 deep and 64 times its length."""
    views, seen, left = [text], set[int](), _MOST_DECODED * len(text)
    for _ in range(_DEEPEST + 1):
        encoded, views = views, []
        for view in map(plain, encoded):
            left -= len(view)
            if hash(view) not in seen and left >= 0:
                seen.add(hash(view))
                yield view
                views += _decodings(view)


def plain(text: str) -> str:
    """Return a text with ASCII hyphens and ``\\n`` at the ends of its lines, without invisible characters."""
    for char in _HYPHENS + _INVISIBLE:
        text = text.replace(char, "-" if char in _HYPHENS else "")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decodings(text: str) -> Iterator[str]:
    """Yield the texts that a plain text may encode, decoded once in each way that applies."""
    yield unescaped(text) or ""
    if "=2D" in text or "=\n" in text:  # of `KEY=0123…` the next way takes `=01` for a character
        yield text.replace("=\n", "").replace("=2D", "-")
    if _QUOTED.search(text):
        yield binascii.a2b_qp(text.encode(errors="replace")).decode(errors="replace")
    blobs = [blob.replace("-", "+").replace("_", "/") for blob in _BLOB.findall(_WRAP.sub("", text))]
    # Letters before base64 may look like a part of it, so each of the first four positions may be the start.
    parts = [f"{blob[start:]}AAA" for blob in blobs for start in range(4)]
    found = [binascii.a2b_base64(part[: len(part) // 4 * 4]).replace(b"\0", b"") for part in parts]
    yield "\n".join(run.decode("ascii") for raw in found for run in _READABLE.findall(raw))
