"""Fails every test whose captured output, logs or report hold a secret. A pytest plugin; ``conftest.py`` loads it.

Tests register the secrets that they use; what is shaped like an Infobip key is searched for without being registered.
Works in every xdist worker: a worker reports its own tests.
"""

from __future__ import annotations

import re
from collections.abc import Generator

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
    return len({*_whole(text), *(value for value in _registered if value in text)})


def _whole(text: str) -> set[str]:
    return {text[match.start() - 32 : match.end()] for match in _KEY.finditer(text)}


def check(text: str, where: str) -> None:
    """Fail if a text that pytest does not capture (a subprocess's output, a file) holds a secret."""
    if count := find(text):
        pytest.fail(f"{count} secret(s) leaked into {where}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Search what was captured up to now, in each phase of a test."""
    report = yield
    leaking = [title for title, text in report.sections if find(text)]
    if leaking:
        # The secret must not be printed by the report about it.
        report.sections = [(title, text) for title, text in report.sections if title not in leaking]
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a secret leaked into {', '.join(leaking)} (not shown)"
    return report
