"""The two years begin first, then the faults: they are the longest."""

from __future__ import annotations

from pathlib import Path

import pytest

LONGEST = [Path(__file__).parent / name for name in ("test_two_years.py", "test_every_fault_at_every_call.py")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that the other processes take all the others meanwhile."""
    items.sort(key=lambda item: LONGEST.index(item.path) if item.path in LONGEST else len(LONGEST))
