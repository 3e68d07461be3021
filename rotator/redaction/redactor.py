"""Redacts secrets in texts: learnt values, and text that looks like a credential.

What is redacted depends on a text's origin (:class:`~rotator.redaction.patterns.Content`). A learnt value may be any
text, even ``success`` or another secret's name, so names, ids and constants are not searched for learnt values.

A secret can be escaped in many ways. Rather than list them, the redactor decodes a text (escapes of URLs, JSON, HTML
and programming languages) repeatedly, and searches each result. If it finds a secret, it returns the decoded text.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date, timedelta
from enum import Enum
from typing import Any, Final
from urllib.parse import quote

from rotator.decoding import json_object, unescaped
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
"""Texts shorter than this many characters are not learnt, because they would match almost anywhere."""

WORD: Final = 8
"""Shorter values made only of letters count as words, not credentials. Infobip's passwords are longer."""
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
"""How often a text is decoded: enough for JSON in JSON or a URL in a URL, and something around it."""


class Redactor:
    """Keeps only the hashes of secrets, so that a dump of it reveals nothing. Thread safe.

    At each position of a text it hashes four characters. Only if that hash is known does it try the lengths of the
    values that begin so. Thousands of learnt values therefore add almost no time.

    :param constants: words of the program and names to spare permanently; see :meth:`spare`.
    """

    def __init__(self, constants: Iterable[str] = ()) -> None:
        self._constants = frozenset(constants)
        self._lock = threading.Lock()
        # Lengths by the hash of the first characters, and whether a text is random by its hash.
        self._known: tuple[dict[int, tuple[int, ...]], dict[int, bool]] = ({}, {})
        self._learnt: set[int] = set()
        self._names = set(self._constants)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._known[1])} texts>"

    def learn(self, text: str) -> None:
        """Redact ``text`` from now on, in any escaping or encoding. Repeating this costs nothing.

        If it is a JSON object, also redact its fields that have names of credentials or look like one, but not ids,
        URLs and plain words. Texts shorter than :data:`SHORTEST` characters are ignored.
        """
        if hash(text) in self._learnt:
            return
        self._add(text)
        for leaf in _sensitive_leaves(text):
            if not _is_word(leaf):
                self._add(leaf)
        self._learnt.add(hash(text))

    def learn_value(self, text: str) -> None:
        """Learn a value found in a secret, unless it is a plain word.

        A placeholder such as ``prod`` is not a credential, and redacting it would blank that word in every sentence.
        """
        if not _is_word(text):
            self.learn(text)

    def spare(self, names: Iterable[str]) -> None:
        """Never redact these names and ids where they occur as a whole, even if a learnt value is the same."""
        self._names.update(names)

    def forget(self) -> None:
        """Forget everything learnt, at the end of a sweep. Patterns still apply."""
        with self._lock:
            self._known = ({}, {})
            self._learnt = set()
            self._names = set(self._constants)

    def redact(self, text: str) -> str:
        """Return untrusted text with every learnt value and everything that looks like a credential redacted."""
        return redact_patterns(self._redact_learned(text))

    def redact_own(self, text: str) -> str:
        """Redact text that the rotator wrote itself. Of the learnt values only random ones are redacted, since others
        may be ordinary words in it.
        """
        return redact_patterns(self._redact_learned(text, only_random=True))

    def scrub(self, value: Any) -> Any:
        """Return a copy for JSON, with each field redacted by its name. Values outside fields are untrusted.

        Values of fields with names of credentials are redacted whole. ``secret`` is not one of them: in this program it
        is a secret's name, never its value.
        """
        return self._scrub(value, Content.UNTRUSTED, 0)

    def scrub_field(self, name: str, value: Any) -> Any:
        """Return the value of one field, redacted by the field's name."""
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
        """Redact learnt values in the text as it is and after each decoding."""
        if not self._known[1]:
            return text
        shown = self._cut(text, only_random)
        # If all escapes are decoded at once, a backslash from an HTML entity would escape the next character. So decode
        # a second time with HTML last.
        for html_last in (False, True):
            view = shown
            for _ in range(2 * _DECODINGS if html_last else _DECODINGS):
                decoded = (html_last and unescaped(view, entities=False)) or unescaped(view)
                if not decoded:
                    break
                view = self._cut(decoded, only_random)
                if view != decoded:
                    shown = view
        return shown

    def _cut(self, text: str, only_random: bool) -> str:
        spans = iter(sorted(self._spans(text, only_random)))
        parts: list[str] = []
        done = 0  # the text up to here is in parts, or was redacted
        begin, end = next(spans, (0, 0))
        for first, last in spans:
            if first > end:
                parts += (text[done:begin], REDACTED)
                done, begin = end, first
            end = max(end, last)
        return "".join((*parts, text[done:begin], REDACTED, text[end:])) if end else text

    def _spans(self, text: str, only_random: bool) -> Iterator[tuple[int, int]]:
        """Yield the positions of learnt values in a text."""
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
        """Whether ``text[begin:end]`` is, or is part of, a known name that occurs there as a whole."""
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
            shown = self.redact_own(text)  # our own field names are never random
            if SENSITIVE_NAME.fullmatch(text) and item not in (None, "", b"") and not isinstance(item, bool):
                yield shown, REDACTED
            else:
                yield shown, self._scrub(item, content_of(text), depth + 1)


def _is_word(text: str) -> bool:
    return len(text) < WORD and text.isalpha()


def _inside_word(text: str, at: int) -> bool:
    """Whether a position is inside a word, so that no name begins or ends there."""
    if not 0 < at < len(text):
        return False
    return bool(_NAME_CHARACTER.match(text[at - 1]) and _NAME_CHARACTER.match(text[at]))


def _edges(text: str, positions: range) -> list[int]:
    """Return the first positions where a name may begin or end."""
    found: list[int] = []
    for at in positions:
        if not _inside_word(text, at):
            found.append(at)
            if len(found) == _MOST_EDGES:
                break
    return found


def _forms(text: str) -> Iterator[str]:
    """Yield the forms of a secret to search for: as it is, decoded as texts are, with ``+`` for blanks as in URLs, its
    UTF-8 read as Latin-1, and in base64 and hexadecimal digits, which are not escapes.
    """
    for stripped in {text, text.strip()}:
        if len(stripped) < SHORTEST:
            continue
        raw = stripped.encode(errors="surrogatepass")
        yield raw.hex()
        yield raw.hex().upper()
        yield from _base64_forms(raw)
        if _PLAIN_TEXT.fullmatch(stripped):  # like most keys and tokens, without any escapes
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
                    form = unescaped(form)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield base64 of the bytes alone, and inside a longer text (``user:password``) at each alignment."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        yield whole
        yield whole.rstrip("=")
        for shift in (0, 1, 2):
            # Characters that also contain bits of the text before or after are left out.
            first = math.ceil(shift * 8 / 6)
            last = (shift + len(raw)) * 8 // 6
            core = encode(b"\0" * shift + raw).decode()[first:last]
            if len(core) >= 8:
                yield core


def _sensitive_leaves(text: str) -> Iterator[str]:
    if not text.lstrip().startswith("{") or len(text) > _JSON_LARGEST:
        return
    pending: list[tuple[str, Any]] = [("", json_object(text))]
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
