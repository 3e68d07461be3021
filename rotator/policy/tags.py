"""The tags' names, and how each one's value is parsed. What they mean together is in :mod:`rotator.policy.spec`.

Every reader takes a tag's text, trimmed, and raises :class:`~rotator.text.Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from rotator.durations import format_duration, parse_duration
from rotator.text import Unreadable

PREFIX: Final = "rotator:"
ROLE_TAG: Final = "rotator:role"
ACCOUNT_TAG: Final = "rotator:account"
BEFORE_TAG: Final = "rotator:rotate-before"
MAX_AGE_TAG: Final = "rotator:max-age"
VALIDITY_TAG: Final = "rotator:validity"
GRACE_TAG: Final = "rotator:grace"
SHORT_GRACE_TAG: Final = "rotator:allow-short-grace"
SCOPES_TAG: Final = "rotator:scopes"
FIELD_TAG: Final = "rotator:value-field"
VERIFY_TAG: Final = "rotator:verify"
PATH_TAG: Final = "rotator:verify-path"
WINDOW_TAG: Final = "rotator:window"
HOLD_TAG: Final = "rotator:hold"
GATE_TAG: Final = "rotator:gate"
KNOWN_TAGS: Final = (
    *(ROLE_TAG, ACCOUNT_TAG, BEFORE_TAG, MAX_AGE_TAG, VALIDITY_TAG, GRACE_TAG, SHORT_GRACE_TAG, SCOPES_TAG),
    *(FIELD_TAG, VERIFY_TAG, PATH_TAG, WINDOW_TAG, HOLD_TAG, GATE_TAG),
)

MIN_VALIDITY: Final = timedelta(minutes=10)
MIN_GRACE: Final = timedelta(hours=1)
"""Consumers cache a value for up to an hour; the tag ``rotator:allow-short-grace`` says that these don't."""
RESERVED_FIELDS: Final = ("key_id", "expires_at", "base_url")

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/+=-]{0,127}")
_FRACTION: Final = re.compile(r"[0-9]{0,3}\.[0-9]{1,17}")
_SCOPE: Final = re.compile(r"[A-Za-z0-9:._/-]+")
_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PATH: Final = re.compile(r"/[A-Za-z0-9/_.=+-]{0,255}")


def read_scopes(text: str) -> frozenset[str]:
    """Read scopes with spaces between them, each once."""
    scopes = text.split()
    if not scopes:
        raise Unreadable(text, "names no scope", "write the scopes, or remove the tag to keep the old key's")
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            fix = "write scopes of letters, digits and : . _ / -, with spaces between them"
            raise Unreadable(scope, "is not a scope", fix)
    return frozenset(scopes)


def read_account(text: str) -> str:
    """Read an account's name."""
    if not _ACCOUNT.fullmatch(text):
        fix = "write the management secret's account: at most 128 letters, digits, spaces and . _ @ / + = -"
        raise Unreadable(text, "is not an account's name", fix)
    return text


def read_before(text: str) -> float | timedelta:
    """Read a fraction strictly between 0 and 1 with a point, or a duration above 0."""
    if _FRACTION.fullmatch(text):
        fraction = float(text)
        if not 0 < fraction < 1:
            raise Unreadable(text, "is not between 0 and 1", "write a fraction such as 0.33, or a duration such as 14d")
        return fraction
    try:
        return read_length(text)
    except Unreadable as error:
        if text.isdigit() or error.fault != "is not a duration":
            raise
        fix = "write a fraction such as 0.33, or a duration such as 14d"
        raise Unreadable(text, "is neither a fraction nor a duration", fix) from None


def read_length(text: str) -> timedelta:
    """Read a duration above 0."""
    length = parse_duration(text)
    if not length:
        raise Unreadable(text, "is no time at all", "write a duration such as 14d")
    return length


def read_validity(text: str) -> timedelta:
    """Read a lifetime of at least 10 minutes."""
    length = parse_duration(text)
    if length < MIN_VALIDITY:
        fix = f"write at least {format_duration(MIN_VALIDITY)}"
        raise Unreadable(text, "is too short for a key to be put to use", fix)
    return length


def one_of(*words: str) -> Callable[[str], str]:
    """Make a reader of one of some words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise Unreadable(text, "is not a known word here", f"write {' or '.join(words)}")
        return text.lower()

    return read


def read_field(text: str) -> str:
    """Read the name of a JSON value's field."""
    if not _FIELD.fullmatch(text):
        raise Unreadable(text, "is not a field's name", "write at most 64 letters, digits and _ . -")
    if text in RESERVED_FIELDS:
        raise Unreadable(text, "is a field that the rotator writes itself", "name the field that holds the key")
    return text


def read_path(text: str) -> str:
    """Read a path that can be put behind any host without changing what host it is."""
    segments = text.split("/")[1:]
    if not _PATH.fullmatch(text) or {".", ".."} & set(segments) or "" in segments[:-1]:
        fix = "write a path such as /account/1/balance: letters, digits and / _ . = + - after one slash"
        raise Unreadable(text, "is not a path that the probe may ask for", fix)
    return text
