"""Patterns of credentials (Infobip keys, headers, URLs), and the kind of content that a field's name implies.

A field that is not listed here counts as untrusted input. So a forgotten field may lose a word, but cannot reveal a
secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum
from typing import Final

from rotator.key_format import TRUNCATED_VALUE, TRUNCATED_VALUE_IN_NAME
from rotator.plan import ActionKind, Outcome, Severity
from rotator.reasons import Reason

REDACTED: Final = "<redacted>"

# Every pattern begins with something rare or bounded, so that hostile text does not take quadratic time.
_USERINFO = re.compile(
    r"(?<=[a-z0-9+.-])://"
    # An unencoded password may contain a slash; then the text after the colon is not a port.
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
"""Matches the whole name of a field with a credential. ``secret`` does not match: here it is a secret's name."""


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
    """Redact only text with the format of an Infobip key's value. For names and ids."""
    return TRUNCATED_VALUE_IN_NAME.sub(REDACTED, text)


def redact_patterns(text: str) -> str:
    """Redact text that looks like a credential of any vendor. Idempotent."""
    text = TRUNCATED_VALUE.sub(REDACTED, text)
    if "://" in text:
        text = _USERINFO.sub(f"://{REDACTED}@", text)
    if "=" in text or ":" in text or "," in text:  # the patterns below need one of these
        text = _QUERY.sub(rf"\1{REDACTED}", text)
        text = _HEADER.sub(rf"\1{REDACTED}", text)
        text = _QUOTED_FIELD.sub(rf"\1\2{REDACTED}\2", text)
        text = _BARE_FIELD.sub(rf"\1{REDACTED}", text)
    return _SCHEME.sub(_scheme, text)


class Content(StrEnum):
    """The kind of content of a field, which decides what is redacted in it."""

    NAME = "name"
    """Names, ids, times and constants: only values in the format of an Infobip key are redacted."""

    OWN = "own"
    """Text by the rotator or its operator: text that looks like a credential and random learnt values are redacted."""

    UNTRUSTED = "untrusted"
    """Text from a server, an exception or a library: every learnt value is redacted too, in every encoding."""


CONSTANTS: Final = frozenset(str(each) for kind in (Reason, ActionKind, Outcome, Severity) for each in kind)
"""Words of plans and audit lines that also occur in sentences."""

_OWN_FIELDS: Final = frozenset({"actor", "incident", "name", "key_name"})
"""These include key names at Infobip, in which people write anything."""
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
    """Return the kind of content of a field with this name."""
    if field in _OWN_FIELDS:
        return Content.OWN
    if field in _NAME_FIELDS or field.endswith(_NAME_SUFFIXES) or field.startswith("last_read"):
        return Content.NAME
    return Content.UNTRUSTED


def is_constant(text: str) -> bool:
    """Whether a whole text is a constant or a time."""
    return text in CONSTANTS or _TIME.fullmatch(text) is not None
