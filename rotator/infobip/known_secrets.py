"""The secret texts that a client has in hand, so that none of them gets back out in what the far end says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

from rotator.redaction.redactor import Redactor

KEY_VALUE: Final = re.compile(r"[0-9a-f]{32}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What the value of an API key looks like."""

_ANY_CASE: Final = re.compile(KEY_VALUE.pattern, re.IGNORECASE)
_KEPT: Final = 64
_HIDDEN: Final = "<hidden>"


class Known:
    """Passes secret texts on to ``learn``, and hides them in texts that come from outside.

    Password and tokens are remembered for that; key values are not, since their shape gives them away anyway.

    :param learn: called with every text, so that a redactor elsewhere knows it too.
    """

    def __init__(self, learn: Callable[[str], None]) -> None:
        self._learn = learn
        self._texts: dict[str, bool] = {}

    def add(self, text: str, *, passing: bool = False) -> None:
        """Learn a text and the ways in which it stands in a URL or a form.

        :param passing: it will be out of use some day, as a token; of such ones only the latest are remembered.
        """
        if KEY_VALUE.fullmatch(text):
            self._learn(text)
            return
        for form in dict.fromkeys((text, quote(text, safe=""), quote_plus(text))):
            if form and form not in self._texts:
                self._texts[form] = passing
                self._learn(form)
        for old in [each for each, goes in list(self._texts.items()) if goes][:-_KEPT]:
            self._texts.pop(old, None)

    def scrub(self, text: str) -> str:
        """The text without any known secret, however it is escaped, and without what has the shape of a key value."""
        redactor = Redactor()  # made anew, since it can't forget single texts; a server refuses little
        for known in sorted(self._texts, key=len, reverse=True):
            text = text.replace(known, _HIDDEN)
            redactor.learn(known)
        return _ANY_CASE.sub(_HIDDEN, redactor.hide(text, _HIDDEN))


def printable(text: str, limit: int = 200) -> str:
    """A text from outside on one line: control and other invisible characters escaped, cut at ``limit`` characters."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text.strip())
    return line if len(line) <= limit else line[: limit - 1] + "…"
