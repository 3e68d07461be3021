"""What is shaped like a credential, whoever made it: Infobip keys, headers, URLs, and fields by their names."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

REDACTED: Final = "<redacted>"

_KEY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{4,8}(?![0-9a-f])(?:-[0-9a-f]+)*", re.IGNORECASE)
"""An Infobip key, also one that was cut off in its second part or later."""

_KEY_VALUE = re.compile(r"[0-9a-f]{32}-[0-9a-f]{8}(?:-[0-9a-f]{1,12})+", re.IGNORECASE)
"""The same, cut off in its third part or later: more than a name of 32 digits and a suffix has."""

# Every pattern begins with something rare or bounded: hostile text must not cost time that grows with its square.
_USERINFO = re.compile(
    r"(?<=[a-z0-9+.-])://"
    # A password may hold a slash, where it was not encoded: then what follows the colon is not a port.
    r"(?:[^/\s\"'<>:@]{0,256}:(?!\d{1,5}(?:[/?#\s\"']|$))[^\s\"'<>]{0,512}|[^/\s\"'<>]{0,512})@",
    re.IGNORECASE,
)
_QUERY = re.compile(r"([?&][^=&?\s\"'<>\\]{1,64}=)[^&\s\"'<>\\]+")
_HEADER = re.compile(
    r"(authorization(?:\\*[\"']\s*[:=,]|\s*[:=])\s*+\(?+b?+\\*+[\"']?+\s*+)(?!<redacted>)[^\"'\\\r\n]+",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(basic|bearer|ibsso|app)(\s+|%20|\+)([A-Za-z0-9._~+/=%-]{4,})", re.IGNORECASE)
_LOOKS_RANDOM = re.compile(r"[0-9=_+/%~]|[a-z][A-Z]|^[A-Z]{4}|\w\.\w+\.\w|.{20}")
_NAMES: Final = (
    r"(?:(?:password|passwd|passphrase|client[_-]?secret|secret[_-]?access[_-]?key|private[_-]?key"
    r"|api[_-]?key|api[_-]?key[_-]?secret|(?:access|session|refresh|auth|id)[_-]?token)|(?<![\w-])token)"
)
_QUOTED_FIELD = re.compile(
    rf"((?:{_NAMES}|(?<=[\"'])secret)\\*[\"']?\s*[:=]\s*b?)(\\*[\"'])(?s:.*?)(?:(?<!\\)\2|\Z)", re.IGNORECASE
)
_BARE_FIELD = re.compile(
    rf"({_NAMES}(?:\\*[\"']\s*:|\s*[:=])\s*)(?!<redacted>|(?:null|none|true|false)\b)[^\s\"'\\&\[{{]+", re.IGNORECASE
)
SENSITIVE_NAME: Final = re.compile(rf"[\w.-]*(?:{_NAMES}|authorization)", re.IGNORECASE)
"""Matches the whole name of a field that holds a credential. ``secret`` is none: here it names a secret."""


def _scheme(match: re.Match[str]) -> str:
    token = match[3]
    known = _LOOKS_RANDOM.search(token) is not None
    if not known and match[1].lower() == "basic":
        try:
            known = b":" in base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            known = False
    # "basic authentication" and "app store" are English; a token has digits, mixed case or length.
    return f"{match[1]}{match[2]}{REDACTED}" if known else match[0]


def redact_key_values(text: str) -> str:
    """Take out what has the shape of an Infobip key's value, and nothing else: for names and ids."""
    return _KEY_VALUE.sub(REDACTED, text)


def redact_patterns(text: str) -> str:
    """Take out what is shaped like a credential, whoever made it. Doing it twice changes nothing more."""
    text = _KEY.sub(REDACTED, text)
    if "://" in text:
        text = _USERINFO.sub(f"://{REDACTED}@", text)
    if "=" in text or ":" in text or "," in text:  # without one of them none of these can match
        text = _QUERY.sub(rf"\1{REDACTED}", text)
        text = _HEADER.sub(rf"\1{REDACTED}", text)
        text = _QUOTED_FIELD.sub(rf"\1\2{REDACTED}\2", text)
        text = _BARE_FIELD.sub(rf"\1{REDACTED}", text)
    return _SCHEME.sub(_scheme, text)
