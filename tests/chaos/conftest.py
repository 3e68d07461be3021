"""Nothing in this folder is traced for coverage, and the two years begin first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONGEST = "test_two_years.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest file first, so that the other processes take all the others meanwhile."""
    items.sort(key=lambda item: item.path != HERE / LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Let a test and its fixtures run untraced: they run the same lines hundreds of times, which tracing makes twice as
    slow, and those lines have tests of their own.

    pytest-cov's ``no_cover`` does not serve: in a process of pytest-xdist more than one measurement is under way, and
    where the topmost pauses, the next goes on.
    """
    tracer, of_threads = sys.gettrace(), threading.gettrace()
    if not type(tracer).__module__.startswith("coverage"):  # a debugger's is left alone
        return (yield)
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
        if of_threads is not None:
            threading.settrace(of_threads)
