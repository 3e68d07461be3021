"""The two years begin first: they are the longest."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONGEST = "test_two_years.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest file first, so that the other processes take all the others meanwhile."""
    items.sort(key=lambda item: item.path != HERE / LONGEST)
