"""Reads a text as it would be read after decoding: escapes of URLs, JSON, HTML and programming languages.

Instead of a list of the ways in which a secret can be written, a text is decoded, as often as it holds escapes, and
each result is searched. A place that is found is mapped back to the text as it was written.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final

DEEPEST: Final = 4
"""How many times a text is decoded: JSON in JSON, a URL in a URL, and something around it."""

Span = tuple[int, int]
Back = Callable[[int, int], Span]

_HEX: Final = "[0-9a-fA-F]"
_ESCAPE: Final = re.compile(
    rf"%u({_HEX}{{4}})|%({_HEX}{{2}})"
    rf"|\\u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})|\\u({_HEX}{{4}})|\\u\{{({_HEX}{{1,6}})\}}"
    rf"|\\U({_HEX}{{8}})|\\x({_HEX}{{2}})|\\([0-3][0-7]{{2}})|\\([\"'\\/bfnrt])"
    r"|(&(?:\#[0-9]{1,8}|\#[xX][0-9a-fA-F]{1,7}|[a-zA-Z][a-zA-Z0-9]{1,31});)"
)
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LAST_CODE: Final = 0x10FFFF


def views(text: str) -> Iterator[tuple[str, Back]]:
    """The text, and what it becomes decoded once, twice and so on; each with the way back to places in ``text``.

    A byte (``%C3``) becomes the character of that number, so that what is looked for in a view has to be there in
    UTF-8 as Latin-1 too. A place that covers a part of an escape is mapped to the whole escape.
    """
    back: Back = _same
    yield text, back
    for _ in range(DEEPEST):
        if "%" not in text and "\\" not in text and "&" not in text:
            return
        decoded = _decoded(text)
        if decoded is None:
            return
        text, pieces = decoded
        back = _way_back(pieces, back)
        yield text, back


def _same(begin: int, end: int) -> Span:
    return begin, end


def _decoded(text: str) -> tuple[str, list[tuple[int, int, int, int]]] | None:
    """The text decoded once, and its escapes: where each begins and ends decoded, and as written."""
    parts: list[str] = []
    pieces: list[tuple[int, int, int, int]] = []
    done = length = 0
    for match in _ESCAPE.finditer(text):
        character = _character(match)
        if character is None:
            continue
        begin, end = match.span()
        parts += (text[done:begin], character)
        length += begin - done
        pieces.append((length, length + len(character), begin, end))
        length += len(character)
        done = end
    if not pieces:
        return None
    parts.append(text[done:])
    return "".join(parts), pieces


def _character(match: re.Match[str]) -> str | None:
    percent_u, percent, high, low, unit, braces, long, byte, octal, short, entity = match.groups()
    if entity is not None:
        text = html.unescape(entity)
        return None if text == entity else text
    if short is not None:
        return _SHORT.get(short, short)
    if octal is not None:
        return chr(int(octal, 8))
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    code = int(percent_u or percent or unit or braces or long or byte, 16)
    return chr(code) if code <= _LAST_CODE else None


def _way_back(pieces: list[tuple[int, int, int, int]], before: Back) -> Back:
    begins = [piece[0] for piece in pieces]

    def back(begin: int, end: int) -> Span:
        first, last = begin, end
        at = bisect_right(begins, begin) - 1
        if at >= 0:
            _, decoded_end, written, written_end = pieces[at]
            first = written if begin < decoded_end else written_end + begin - decoded_end
        at = bisect_right(begins, end - 1) - 1
        if at >= 0:
            _, decoded_end, _, written_end = pieces[at]
            last = written_end if end <= decoded_end else written_end + end - decoded_end
        return before(first, last)

    return back
