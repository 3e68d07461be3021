"""Where Python's search for garbage rests, it goes on afterwards; and what is planned meanwhile leaves none behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rotator.core.garbage import no_search_for_garbage
from rotator.core.model import Policy
from rotator.core.planner import plan_account
from tests.core.build import DAY, NOW, key, secret, snap


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The search is switched on, and is so again after a test that fails."""
    assert gc.isenabled()
    yield
    gc.enable()


def test_it_goes_on_afterwards() -> None:
    with no_search_for_garbage():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), no_search_for_garbage():
        raise KeyError
    assert gc.isenabled()


def test_whoever_found_it_switched_off_leaves_it_off() -> None:
    gc.disable()
    with no_search_for_garbage():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_spans_of_several_threads_may_end_in_any_order() -> None:
    one, two = no_search_for_garbage(), no_search_for_garbage()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    two.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_plan_leaves_no_garbage_that_must_be_searched_for() -> None:
    secrets = [secret(f"s{number:03}", {f"v{number}": f"CURRENT key:K{number}"}) for number in range(100)]
    keys = [key(f"K{number}", left=DAY if number % 9 == 0 else 300 * DAY) for number in range(100)]
    snapshot = snap(secrets, keys)
    plan_account(snapshot, Policy(), NOW)
    gc.collect()
    with no_search_for_garbage():
        plan = plan_account(snapshot, Policy(), NOW)
        found = gc.collect()
    assert plan.actions
    assert found < 10  # not a thing for each secret
