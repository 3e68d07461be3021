"""What is shaped like a credential (Infobip keys, headers, URLs), and what fields hold, by their names.

A field that is not named here is taken for untrusted input. So a field that is forgotten here may lose a word; it
cannot give a secret away.
"""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum
from typing import Final

from rotator.model import ActionKind, Outcome, Reason, Severity

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
_RANDOM_TOKEN = re.compile(r"[0-9=_+/%~]|[a-z][A-Z]|^[A-Z]{4}|\w\.\w+\.\w|.{20}")
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
    known = _RANDOM_TOKEN.search(token) is not None
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
    """Take out what is shaped like a credential, any vendor's. Idempotent."""
    text = _KEY.sub(REDACTED, text)
    if "://" in text:
        text = _USERINFO.sub(f"://{REDACTED}@", text)
    if "=" in text or ":" in text or "," in text:  # without one of them none of these can match
        text = _QUERY.sub(rf"\1{REDACTED}", text)
        text = _HEADER.sub(rf"\1{REDACTED}", text)
        text = _QUOTED_FIELD.sub(rf"\1\2{REDACTED}\2", text)
        text = _BARE_FIELD.sub(rf"\1{REDACTED}", text)
    return _SCHEME.sub(_scheme, text)


class Content(StrEnum):
    """What a field holds, which decides what is searched for in it."""

    NAME = "name"
    """Names, ids, times and constants: only what has the shape of an Infobip key's value is taken out."""

    OWN = "own"
    """Text that the rotator or its operator wrote: credentials by their shape, and random learnt values."""

    UNTRUSTED = "untrusted"
    """What a server, an exception or a library wrote, or quotes: every learnt value, in every encoding."""


CONSTANTS: Final = frozenset(str(each) for kind in (Reason, ActionKind, Outcome, Severity) for each in kind)
"""Words of plans and audit lines that also stand in sentences."""

_OWN_FIELDS: Final = frozenset({"actor", "incident", "name", "key_name"})
"""The names of keys at Infobip are among them: people write anything there."""
_NAME_FIELDS: Final = frozenset(
    {
        *("account", "accounts", "secret", "secrets", "names", "deployment", "label", "labels"),
        *("event", "outcome", "level", "trigger", "timestamp", "prev", "log", "kind", "severity", "state", "role"),
        *("strategy", "step", "what", "rolled_back_from", "next_action", "deadline", "date", "first_full_day"),
        *("unlinked_runs", "revoked", "replaced", "valid_from", "last_accessed", "shell", "gate"),
        *("class", "open_runs"),
        *("changed_fields", "known_from", "known_until", "too_late_from", "waits_until"),
    }
)
_NAME_SUFFIXES: Final = ("_id", "_ids", "_arn", "_at", "_ms")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))?")


def content_of(field: str) -> Content:
    """What a field of that name holds."""
    if field in _OWN_FIELDS:
        return Content.OWN
    if field in _NAME_FIELDS or field.endswith(_NAME_SUFFIXES) or field.startswith("last_read"):
        return Content.NAME
    return Content.UNTRUSTED


def is_constant(text: str) -> bool:
    """Whether a field's whole text is a constant or a time, whatever the field is."""
    return text in CONSTANTS or _TIME.fullmatch(text) is not None
