"""What stands in which field: names, ids and constants, which the rotator writes itself, and text from anywhere.

A field that is not named here is taken for text from anywhere. So a field that is forgotten here may lose a word; it
can't give a secret away.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from rotator.model import ActionKind, Outcome, Reason, Severity


class Content(StrEnum):
    """What a field holds, which decides what is searched for in it."""

    NAME = "name"
    """Names, ids, times and constants: only what has the shape of an Infobip key's value is taken out."""

    OWN = "own"
    """Text that the rotator or its operator wrote: credentials by their shape, and learnt values that look random."""

    UNTRUSTED = "untrusted"
    """What a server, an exception or a library wrote, or quotes: every learnt value, in every way of writing it."""


CONSTANTS: Final = frozenset(str(each) for kind in (Reason, ActionKind, Outcome, Severity) for each in kind)
"""Words of plans and audit lines that also stand in sentences."""

_OWN: Final = frozenset({"actor", "incident", "name", "key_name"})
"""The names of keys at Infobip are among them: people write anything there."""
_NAMES: Final = frozenset(
    {
        *("account", "accounts", "secret", "secrets", "names", "deployment", "label", "labels"),
        *("event", "outcome", "level", "trigger", "timestamp", "prev", "log", "kind", "severity", "state", "role"),
        *("strategy", "step", "what", "rolled_back_from", "next_action", "deadline", "date", "first_full_day"),
        *("unlinked_runs", "revoked", "replaced", "would_replace", "valid_from", "last_accessed", "shell", "gate"),
        *("class", "open_runs"),
        *("changed_fields", "known_from", "known_until", "too_late_from", "waits_until"),
    }
)
_SUFFIXES: Final = ("_id", "_ids", "_arn", "_at", "_ms")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))?")


def content_of(field: str) -> Content:
    """What stands in a field of that name."""
    if field in _OWN:
        return Content.OWN
    if field in _NAMES or field.endswith(_SUFFIXES) or field.startswith("last_read"):
        return Content.NAME
    return Content.UNTRUSTED


def is_constant(text: str) -> bool:
    """Whether a field's whole text is a constant or a time, whatever the field is."""
    return text in CONSTANTS or _TIME.fullmatch(text) is not None
