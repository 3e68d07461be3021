"""Make untrusted input (names, tags, responses) fit for terminals, logs and messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

ELLIPSIS: Final = "…"
DEFAULT_LIMIT: Final = 200
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_WHOLE_ID: Final = 9
_NOT_PLAIN: Final = re.compile(r"[^\n -~]")


class Unreadable(ValueError):
    """User input that can't be parsed.

    :param text: the input, or the invalid part of it; the message shows it printable and truncated.
    :param fault: the problem, as a verb phrase: ``is not a duration``.
    :param fix: the fix, as an imperative: ``use one such as 72h``.
    """

    def __init__(self, text: str, fault: str, fix: str) -> None:
        super().__init__(f"{quoted(text)} {fault}; {fix}")
        self.text = text
        self.fault = fault
        self.fix = fix


def printable(text: str, limit: int = DEFAULT_LIMIT) -> str:
    r"""Return ``text`` with everything that a terminal would act upon written as a visible escape.

    Control characters (so ANSI sequences and line breaks), bidirectional overrides, invisible characters, unusual
    spaces and lone surrogates become ``\n``, ``\x1b``, ``\u202e`` and the like. Doing it twice changes nothing.

    :param limit: the maximum length of the result; a longer one is cut, never inside an escape, and ends in an
        ellipsis.
    :raises ValueError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ValueError("printable needs a limit of at least 1")
    parts: list[str] = []
    length = 0
    fitting = 0  # how many of the parts still fit when an ellipsis follows them
    for char in text:
        part = char if char.isprintable() else _escape(char)
        parts.append(part)
        length += len(part)
        if length > limit:
            return "".join(parts[:fitting]) + ELLIPSIS
        if length < limit:
            fitting = len(parts)
    return "".join(parts)


def closest(text: str, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """Return the known name that a text probably means, in upper or lower case; ``None`` if no name is close.

    :param cutoff: how similar they must be, from 0 to 1. The last parts of paths must be similar as well.
    """
    from difflib import get_close_matches  # only a mistake needs it

    names = {name.lower(): name for name in known}
    text = text[:DEFAULT_LIMIT].lower()
    near = get_close_matches(text, names, cutoff=cutoff)
    last = text.rpartition("/")[2]
    return next((names[each] for each in near if get_close_matches(last, [each.rpartition("/")[2]])), None)


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return ``Did you mean X?`` if one of the known names is close, else nothing."""
    name = closest(text, known)
    return "" if name is None else f"Did you mean {printable(name)}?"


def quoted(text: str, limit: int = 60) -> str:
    """Return :func:`printable` ``text`` in double quotes, for use inside of a sentence."""
    return f'"{printable(text, limit)}"'


def some_of(texts: Iterable[str], most: int) -> str:
    """Join the first items and count the rest: ``a, b, c and 4 more``."""
    every = list(texts)
    shown = ", ".join(every[:most])
    return shown if len(every) <= most else f"{shown} and {len(every) - most} more"


def short_id(identifier: str) -> str:
    """Return an id as people see it: ``5737…48AE``. Ids of at most 9 characters stay whole."""
    if len(identifier) > _WHOLE_ID:
        identifier = f"{identifier[:4]}{ELLIPSIS}{identifier[-4:]}"
    return printable(identifier)


def json_text(document: object) -> str:
    """Return a JSON document in which everything that a terminal would act upon is escaped."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    return _NOT_PLAIN.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


def _escape(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
