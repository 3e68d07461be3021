"""A wrapper for secret values."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn


class Secret:
    """Holds a secret text. ``repr``, ``str`` and ``format`` hide it; only :meth:`reveal` returns it.

    Not picklable, not hashable, and without ``__dict__``, so that dumps of locals or objects do not contain it.
    """

    __slots__ = ("__text",)
    HIDDEN: Final = "<hidden>"

    def __init__(self, text: str) -> None:
        self.__text: Final = text

    def reveal(self) -> str:
        """Return the text itself. Call this only if the value must leave the process."""
        return self.__text

    def digest(self) -> bytes:
        """Return the SHA-256 of the text, from which a key's random value can't be guessed."""
        return hashlib.sha256(self.__text.encode("utf-8", "surrogatepass")).digest()

    def __repr__(self) -> str:
        return self.HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return self.HIDDEN

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (text.encode("utf-8", "surrogatepass") for text in (self.__text, other.reveal()))
        return hmac.compare_digest(mine, theirs)

    __hash__ = None  # type: ignore[assignment]  # a hash would let a value be guessed by trial

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never serialised")
