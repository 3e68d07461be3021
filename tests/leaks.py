"""The secrets that nothing may show: those that tests register, and whatever is shaped like an Infobip key."""

from __future__ import annotations

import re

import pytest

_registered: set[str] = set()
# A key's value, matched from its first hyphen on: hyphens are found many times faster than 32 digits.
_KEY = re.compile(r"-(?<=[0-9a-f]{32}-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def register(value: str) -> str:
    """Search for ``value`` in the output of this test and of all that follow in this process. Gives it back."""
    if len(value) < 6:
        raise ValueError("too short to be searched for: it would be found in innocent text")
    _registered.add(value)
    return value


def find(text: str) -> int:
    """How many different secrets are in a text."""
    keys = {text[match.start() - 32 : match.end()] for match in _KEY.finditer(text)}
    return len(keys | {value for value in _registered if value in text})


def check(text: str, where: str) -> None:
    """Fail if a text that pytest does not capture (a subprocess's output, a file) holds a secret."""
    if count := find(text):
        pytest.fail(f"{count} secret(s) leaked into {where}", pytrace=False)
