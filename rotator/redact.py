"""Takes secrets out of texts: values that were learned, and what is shaped like a credential."""

from __future__ import annotations

import base64
import html
import json
import math
import re
import threading
from collections.abc import Iterator, Mapping, Set
from datetime import date, timedelta
from enum import Enum
from typing import Any, Final
from urllib.parse import quote, quote_plus

from rotator.core.secret import Secret
from rotator.redact_patterns import REDACTED, SENSITIVE_NAME, redact_patterns

__all__ = ["REDACTED", "SHORTEST", "Redactor", "redact_patterns"]

SHORTEST: Final = 4
"""Texts shorter than this many characters are not learned: they would damage everything."""

WORD: Final = 8
"""Shorter values found in secrets are words and not credentials: Infobip's passwords and keys are longer."""
_DEEPEST: Final = 24
_JSON_LARGEST: Final = 1_000_000

_HTML_SAFE: Final = tuple({ord(each): f"\\u{ord(each):04x}" for each in which} for which in ("<>&", "<>&'="))
"""What JSON writers of other languages spell in another way: Go's and Java's. PHP's puts a backslash before ``/``."""
_PERCENT = re.compile("%[0-9A-F]{2}")
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_.-]*")
_PLAIN_NAME = re.compile(r".*(?:id|_at|name|user|host|url|uri|email|region|auth)", re.IGNORECASE)
_RANDOM_LEAF = re.compile(r"(?!.*://|arn:|\d{4}-\d\d-\d\d)(?=.*[0-9])(?=.*[A-Za-z])\S{16,}")


class Redactor:
    """Knows secrets by their hashes only, so that a dump of it gives nothing away. Thread safe.

    A text is looked up at each of its positions by the hash of four characters, and only where those are known by the
    lengths that begin so: thousands of learned values cost a line nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[dict[int, tuple[int, ...]], set[int]] = ({}, set())

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._known[1])} texts>"

    def learn(self, text: str) -> None:
        """From now on take out ``text`` and its JSON, URL, HTML and base64 forms.

        Of a JSON object also its fields that are named or look like credentials; not its ids, URLs and plain words.
        Shorter than :data:`SHORTEST` characters is ignored.
        """
        forms = set(_forms(text))
        for leaf in _sensitive_leaves(text):
            if len(leaf) >= WORD:
                forms.update(_forms(leaf))
        with self._lock:
            lengths, digests = self._known
            for form in forms:
                if len(form) < SHORTEST:
                    continue
                digests.add(hash(form))
                start = hash(form[:SHORTEST])
                seen = lengths.get(start, ())
                if len(form) not in seen:
                    lengths[start] = tuple(sorted((*seen, len(form)), reverse=True))

    def learn_value(self, text: str) -> None:
        """As :meth:`learn`, for what was found in a secret: a placeholder such as ``prod`` that somebody stored there
        is no credential, and taking it out would blank that word in every name of every line.
        """
        if len(text) >= WORD:
            self.learn(text)

    def forget(self) -> None:
        """Drop everything learned, at the end of a sweep. Patterns stay."""
        with self._lock:
            self._known = ({}, set())

    def redact(self, text: str) -> str:
        """The text with ``<redacted>`` for every learned value and everything shaped like a credential."""
        return redact_patterns(self._redact_learned(text))

    def _redact_learned(self, text: str) -> str:
        lengths, digests = self._known
        if not digests:
            return text
        parts: list[str] = []
        done = 0  # up to here the text is in parts, or was taken out
        end = 0  # a secret that begins inside another one's stretch makes the stretch longer
        begin = -1
        for at in range(len(text) - SHORTEST + 1):
            for length in lengths.get(hash(text[at : at + SHORTEST]), ()):
                if at + length <= len(text) and hash(text[at : at + length]) in digests:
                    if begin < 0 or at > end:
                        if begin >= 0:
                            parts += (text[done:begin], REDACTED)
                            done = end
                        begin = at
                        end = at + length
                    end = max(end, at + length)
                    break
        if begin < 0:
            return text
        parts += (text[done:begin], REDACTED, text[end:])
        return "".join(parts)

    def scrub(self, value: Any) -> Any:
        """A copy that JSON can hold: texts and keys redacted, and values whose name says that they are credentials.

        ``secret`` as a name is left: in this program it names a secret and never holds one.
        """
        return self._scrub(value, 0)

    def _scrub(self, value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            return "<too deep>"
        match value:
            case None | bool():
                return value
            case Enum():
                return self._scrub(value.value, depth + 1)
            case str():
                return self.redact(value)
            case int():
                text = str(value)
                return value if len(text) < 8 or self._redact_learned(text) == text else REDACTED
            case float():
                return value if math.isfinite(value) else str(value)
            case Secret():
                return Secret.HIDDEN
            case date():
                return value.isoformat().replace("+00:00", "Z")
            case timedelta():
                return value.total_seconds()
            case bytes() | bytearray() | memoryview():
                return self.redact(bytes(value).decode(errors="backslashreplace"))
            case BaseException():
                return self.redact(f"{type(value).__name__}: {value}")
            case Mapping():
                return dict(self._items(value, depth))
            case list() | tuple():
                return [self._scrub(item, depth + 1) for item in value]
            case Set():
                return sorted((self._scrub(item, depth + 1) for item in value), key=str)
            case _:
                return self.redact(str(value))

    def _items(self, value: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
        for name, item in value.items():
            text = str(name.value if isinstance(name, Enum) else name)
            if SENSITIVE_NAME.fullmatch(text) and item not in (None, "", b"") and not isinstance(item, bool):
                yield self.redact(text), REDACTED
            else:
                yield self.redact(text), self._scrub(item, depth + 1)


def _forms(text: str) -> Iterator[str]:
    """The text as it may stand in a log: plain, in JSON (once and twice), in a URL (the same), in HTML, in base64."""
    if len(text) < SHORTEST:
        return
    for stripped in {text, text.strip()}:
        yield stripped
        if _PLAIN_TEXT.fullmatch(stripped):  # as most keys and tokens are: written alike everywhere but in base64
            yield from _base64_forms(stripped.encode())
            continue
        for ascii_only in (True, False):
            once = json.dumps(stripped, ensure_ascii=ascii_only)[1:-1]
            for spelt in (once, once.replace("/", "\\/"), *(once.translate(table) for table in _HTML_SAFE)):
                yield spelt
                yield json.dumps(spelt, ensure_ascii=ascii_only)[1:-1]
        yield repr(stripped)[1:-1]
        for escaped in (html.escape(stripped), html.escape(stripped, quote=False)):
            yield escaped
            yield escaped.encode("ascii", "xmlcharrefreplace").decode()
        raw = stripped.encode(errors="surrogatepass")
        yield repr(raw)[2:-1]
        yield raw.decode("latin-1")  # UTF-8 that somebody took for Latin-1
        for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
            yield encoded
            yield _PERCENT.sub(lambda match: match[0].lower(), encoded)
            yield quote(encoded, safe="")
        yield from _base64_forms(raw)


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
            or (not _PLAIN_NAME.fullmatch(name) and _RANDOM_LEAF.fullmatch(value))
        ):
            yield value
