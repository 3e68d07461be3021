"""Fails every test whose captured output, logs or report hold a secret. A pytest plugin; ``conftest.py`` loads it.

Works in every xdist worker: a worker reports its own tests.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.leaks import find


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
