"""Takes secrets out of texts: values that were learnt, and what is shaped like a credential.

What is searched for depends on where a text comes from (:class:`~rotator.redaction.patterns.Content`). A learnt value
may be any text, ``success`` or another secret's name among them, so names, ids and constants are not searched for it.

Instead of a list of the ways in which a secret can be written, a text is decoded (escapes of URLs, JSON, HTML and
programming languages), as often as it holds escapes, and each result is searched. Where a secret is found, the text is
shown as it was decoded.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date, timedelta
from enum import Enum
from typing import Any, Final
from urllib.parse import quote

from rotator.redaction.patterns import (
    REDACTED,
    SENSITIVE_NAME,
    Content,
    content_of,
    is_constant,
    redact_key_values,
    redact_patterns,
)
from rotator.secret import Secret

__all__ = ["REDACTED", "SHORTEST", "Redactor", "redact_patterns"]

SHORTEST: Final = 4
"""Texts shorter than this many characters are not learnt: they would damage everything."""

WORD: Final = 8
"""Shorter values of letters alone, found in secrets, are words and not credentials: Infobip's passwords are longer."""
_DEEPEST: Final = 24
_JSON_LARGEST: Final = 1_000_000

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_.-]*")
_PLAIN_NAME = re.compile(r".*(?:id|_at|name|user|host|url|uri|email|region|auth)", re.IGNORECASE)
_RANDOM = re.compile(r"(?!.*://|arn:|\d{4}-\d\d-\d\d)(?=.*[0-9])(?=.*[A-Za-z])\S{16,}", re.DOTALL)
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])(?=.*[^\w\s./:@=-])\S{10,}", re.DOTALL)

_NAME_CHARACTER = re.compile(r"[A-Za-z0-9]")
_LONGEST_NAME: Final = 512
_MOST_EDGES: Final = 8

_DECODINGS: Final = 4
"""How many times a text is decoded: JSON in JSON, a URL in a URL, and something around it."""

_HEX: Final = "[0-9a-fA-F]"
_ESCAPE: Final = re.compile(
    rf"%u({_HEX}{{4}})|%({_HEX}{{2}})"
    rf"|\\u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})|\\u({_HEX}{{4}})|\\u\{{({_HEX}{{1,6}})\}}"
    rf"|\\U({_HEX}{{8}})|\\x({_HEX}{{2}})|\\([0-3][0-7]{{2}})|\\([\"'\\/bfnrt])"
    r"|(&(?:\#[0-9]{1,8}|\#[xX][0-9a-fA-F]{1,7}|[a-zA-Z][a-zA-Z0-9]{1,31});)"
)
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LAST_CODE: Final = 0x10FFFF


class Redactor:
    """Knows secrets by their hashes only, so that a dump of it gives nothing away. Thread safe.

    Each position of a text is searched by the hash of four characters, and only where those are known by the lengths
    that begin so: thousands of learnt values cost a line nothing.

    :param constants: words of the program and names that stay for its life; see :meth:`spare`.
    """

    def __init__(self, constants: Iterable[str] = ()) -> None:
        self._constants = frozenset(constants)
        self._lock = threading.Lock()
        # By the first characters' hash the lengths, and by a whole text's hash whether it is random.
        self._known: tuple[dict[int, tuple[int, ...]], dict[int, bool]] = ({}, {})
        self._learnt: set[int] = set()
        self._names = set(self._constants)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._known[1])} texts>"

    def learn(self, text: str) -> None:
        """From now on take out ``text``, however it is escaped or encoded. To do it again costs nothing.

        Of a JSON object also its fields that are named or look like credentials; not its ids, URLs and plain words.
        Shorter than :data:`SHORTEST` characters is ignored.
        """
        if hash(text) in self._learnt:
            return
        self._add(text)
        for leaf in _sensitive_leaves(text):
            if not _is_word(leaf):
                self._add(leaf)
        self._learnt.add(hash(text))

    def learn_value(self, text: str) -> None:
        """As :meth:`learn`, for what was found in a secret: a placeholder such as ``prod`` is no credential, and taking
        it out would blank that word in every sentence.
        """
        if not _is_word(text):
            self.learn(text)

    def spare(self, names: Iterable[str]) -> None:
        """Never take out these names and ids, where they stand as a whole, even if a learnt value is the same."""
        self._names.update(names)

    def forget(self) -> None:
        """Drop everything learnt, at the end of a sweep. Patterns stay."""
        with self._lock:
            self._known = ({}, {})
            self._learnt = set()
            self._names = set(self._constants)

    def redact(self, text: str) -> str:
        """Untrusted text with ``<redacted>`` for every learnt value and everything shaped like a credential."""
        return redact_patterns(self._redact_learned(text))

    def redact_own(self, text: str) -> str:
        """The same for text that the rotator wrote itself: of the learnt values only the random ones, since the others
        may be words of it.
        """
        return redact_patterns(self._redact_learned(text, only_random=True))

    def scrub(self, value: Any) -> Any:
        """A copy that JSON can hold, each field redacted by its name; a value in no field is untrusted.

        Values of fields named like credentials are taken out whole, but not ``secret``: in this program it names a
        secret and never holds one.
        """
        return self._scrub(value, Content.UNTRUSTED, 0)

    def scrub_field(self, name: str, value: Any) -> Any:
        """The value of one field, redacted by its name."""
        return self._scrub(value, content_of(name), 0)

    def _add(self, text: str) -> None:
        random = bool(_RANDOM.fullmatch(text.strip()) or _MIXED.fullmatch(text.strip()))
        with self._lock:
            lengths, digests = self._known
            for form in {form for form in _forms(text) if len(form) >= SHORTEST}:
                digest, start = hash(form), hash(form[:SHORTEST])
                digests[digest] = random or digests.get(digest, False)
                seen = lengths.get(start, ())
                if len(form) not in seen:
                    lengths[start] = tuple(sorted((*seen, len(form)), reverse=True))

    def _redact_learned(self, text: str, *, only_random: bool = False) -> str:
        """The text without learnt values; as it is, or decoded as often as it takes to find one."""
        if not self._known[1]:
            return text
        shown = self._cut(text, only_random)
        # Decoded all at once, a backslash that HTML wrote by its number would escape what follows it: so also one
        # after the other, with HTML last.
        for at_once in (True, False):
            view = shown
            for _ in range(_DECODINGS if at_once else 2 * _DECODINGS):
                decoded = _decoded(view, entities=at_once) or _decoded(view)
                if decoded is None:
                    break
                view = self._cut(decoded, only_random)
                if view != decoded:
                    shown = view
            if "&" not in text:
                break
        return shown

    def _cut(self, text: str, only_random: bool) -> str:
        spans = iter(sorted(self._spans(text, only_random)))
        parts: list[str] = []
        done = 0  # up to here the text is in parts, or was taken out
        begin, end = next(spans, (0, 0))
        for first, last in spans:
            if first > end:
                parts += (text[done:begin], REDACTED)
                done, begin = end, first
            end = max(end, last)
        return "".join((*parts, text[done:begin], REDACTED, text[end:])) if end else text

    def _spans(self, text: str, only_random: bool) -> Iterator[tuple[int, int]]:
        """Where learnt values stand in a text."""
        lengths, digests = self._known
        starts = [at for at in range(len(text) - SHORTEST + 1) if hash(text[at : at + SHORTEST]) in lengths]
        for at in starts:
            for length in lengths[hash(text[at : at + SHORTEST])]:
                end = at + length
                random = digests.get(hash(text[at:end])) if end <= len(text) else None
                if random is not None and (random or not only_random) and not self._is_name(text, at, end):
                    yield at, end
                    break

    def _is_name(self, text: str, begin: int, end: int) -> bool:
        """Whether a stretch of the text is, or is a part of, a known name that stands there as a whole."""
        lefts = _edges(text, range(begin, max(-1, begin - _LONGEST_NAME), -1))
        rights = _edges(text, range(end, min(len(text), end + _LONGEST_NAME) + 1))
        return any(text[left:right] in self._names for left in lefts for right in rights)

    def _text(self, text: str, content: Content) -> str:
        if content is Content.NAME or is_constant(text):
            return redact_key_values(text)
        return self.redact_own(text) if content is Content.OWN else self.redact(text)

    def _scrub(self, value: Any, content: Content, depth: int) -> Any:
        if depth > _DEEPEST:
            return "<too deep>"
        match value:
            case None | bool():
                return value
            case Enum():
                return self._scrub(value.value, Content.NAME, depth + 1)
            case str():
                return self._text(value, content)
            case int():
                text = str(value)
                own = content is not Content.UNTRUSTED or len(text) < WORD
                return value if own or self._redact_learned(text) == text else REDACTED
            case float():
                return value if math.isfinite(value) else str(value)
            case Secret():
                return Secret.HIDDEN
            case date():
                return value.isoformat().replace("+00:00", "Z")
            case timedelta():
                return value.total_seconds()
            case bytes() | bytearray() | memoryview():
                return self._text(bytes(value).decode(errors="backslashreplace"), content)
            case BaseException():
                return self.redact(f"{type(value).__name__}: {value}")
            case Mapping():
                return dict(self._items(value, depth))
            case list() | tuple():
                return [self._scrub(item, content, depth + 1) for item in value]
            case Set():
                return sorted((self._scrub(item, content, depth + 1) for item in value), key=str)
            case _:
                return self._text(str(value), content)

    def _items(self, value: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
        for name, item in value.items():
            text = str(name.value if isinstance(name, Enum) else name)
            shown = self.redact_own(text)  # a name of ours is never random
            if SENSITIVE_NAME.fullmatch(text) and item not in (None, "", b"") and not isinstance(item, bool):
                yield shown, REDACTED
            else:
                yield shown, self._scrub(item, content_of(text), depth + 1)


def _is_word(text: str) -> bool:
    return len(text) < WORD and text.isalpha()


def _inside_word(text: str, at: int) -> bool:
    """Whether a name cannot begin or end at a position, because a word continues there."""
    if not 0 < at < len(text):
        return False
    return bool(_NAME_CHARACTER.match(text[at - 1]) and _NAME_CHARACTER.match(text[at]))


def _edges(text: str, positions: range) -> list[int]:
    """The first positions where a name may begin or end."""
    found: list[int] = []
    for at in positions:
        if not _inside_word(text, at):
            found.append(at)
            if len(found) == _MOST_EDGES:
                break
    return found


def _forms(text: str) -> Iterator[str]:
    """What to search the views of a text for: the secret itself, what it is when it is decoded as they are, with the
    blanks of a URL's form, its UTF-8 as Latin-1, and what is no matter of escapes: base64 and hexadecimal digits.
    """
    for stripped in {text, text.strip()}:
        if len(stripped) < SHORTEST:
            continue
        raw = stripped.encode(errors="surrogatepass")
        yield raw.hex()
        yield raw.hex().upper()
        yield from _base64_forms(raw)
        if _PLAIN_TEXT.fullmatch(stripped):  # as most keys and tokens are: no escape is in them
            yield stripped
            continue
        for escaped in (json.dumps(stripped)[1:-1], quote(raw, safe="")):
            yield from _base64_forms(escaped.encode())
        for read in (stripped, raw.decode("latin-1")):
            form: str | None = read
            for _ in range(_DECODINGS + 1):
                if form is not None:
                    yield form
                    yield form.replace(" ", "+")
                    form = _decoded(form)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Base64 of the bytes alone, and of the bytes inside something longer (``user:password``) at each alignment."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        yield whole
        yield whole.rstrip("=")
        for shift in (0, 1, 2):
            # Characters that also hold bits of what stands before or after are left out.
            first = math.ceil(shift * 8 / 6)
            last = (shift + len(raw)) * 8 // 6
            core = encode(b"\0" * shift + raw).decode()[first:last]
            if len(core) >= 8:
                yield core


def _sensitive_leaves(text: str) -> Iterator[str]:
    if not text.lstrip().startswith("{") or len(text) > _JSON_LARGEST:
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    pending: list[tuple[str, Any]] = [("", document)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.items())
        elif isinstance(value, list):
            pending.extend((name, item) for item in value)
        elif isinstance(value, str) and (
            SENSITIVE_NAME.fullmatch(name)
            or name.lower() == "secret"
            or (not _PLAIN_NAME.fullmatch(name) and _RANDOM.fullmatch(value))
        ):
            yield value


def _decoded(text: str, *, entities: bool = True) -> str | None:
    """The text decoded once, HTML's entities only if wanted; ``None`` where it holds no escape.

    A byte (``%C3``) becomes the character of that number, so that a text is searched for as UTF-8 read as Latin-1 too.
    """
    if "%" not in text and "\\" not in text and "&" not in text:
        return None
    decoded = _ESCAPE.sub(_character if entities else _but_entities, text)
    return None if decoded == text else decoded


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
