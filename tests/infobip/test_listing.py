"""Listing keys, by state or all, and counting them, in accounts whose disabled keys only ever grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from rotator.infobip.listing import PAGE_SIZE, REACH, list_all
from rotator.infobip.wire import Page
from rotator.ports import FetchedKey
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import SimAccount
from tests.infobip.answers import key, page
from tests.infobip.clients import client_for, sandbox
from tests.infobip.fake_server import FakeServer, reply
from tests.policy.build import key as known_key
from tests.support.faulty_infobip import Fault, FaultKind, faults_of


def seeded(world: InfobipWorld, account: SimAccount, enabled: int, disabled: int) -> set[str]:
    """The ids of the enabled keys."""
    for number in range(disabled):
        world.add_key(account, f"old {number}", enabled=False)
    return {world.add_key(account, f"key {number}").id for number in range(enabled)}


@pytest.mark.parametrize(("keys", "calls"), [(0, 1), (1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (201, 3), (450, 5)])
def test_one_call_per_hundred_keys(keys: int, calls: int) -> None:
    with sandbox() as (server, world, account, clock):
        made = {world.add_key(account, f"key {number}").id for number in range(keys)}
        listing = client_for(server.url, clock).list_keys()
        assert listing.complete
        assert len(listing.keys) == keys
        assert {each.id for each in listing.keys} == made
        assert [call.params for call in world.calls] == [("page", "size")] * calls


def test_wrong_sums_are_listed_again() -> None:
    with FakeServer(
        [reply(200, page(key("A"), total=2)), reply(200, page()), reply(200, page(key("A"), key("B")))]
    ) as server:
        listing = client_for(server.url).list_keys()
    assert (len(listing.keys), listing.complete) == (2, True)
    with FakeServer([reply(200, page(key("A"), total=2)), reply(200, page())] * 2) as server:
        listing = client_for(server.url).list_keys()
    assert ([each.id for each in listing.keys], listing.complete) == (["A"], False)
    assert len(server.seen) == 4


def test_moving_keys_are_listed_once() -> None:
    first, second = page(key("A"), key("B"), total=3, pages=2), page(key("B"), key("C"), total=3, pages=2)
    with FakeServer([reply(200, first), reply(200, second)]) as server:
        listing = client_for(server.url).list_keys()
    assert (sorted(each.id for each in listing.keys), listing.complete) == (["A", "B", "C"], True)


def test_server_that_does_not_page_at_all() -> None:
    with FakeServer([reply(200, page(key("A"), total=5000))]) as server:
        assert not client_for(server.url).list_keys().complete
    assert len(server.seen) == 4


def test_too_low_count_is_not_trusted() -> None:
    with FakeServer(
        [reply(200, page(key("A"), total=1, pages=2)), reply(200, page(key("B"), total=2, pages=2))]
    ) as server:
        assert client_for(server.url).list_keys().complete
    assert len(server.seen) == 2


def test_without_counts_every_page_is_read() -> None:
    with FakeServer(
        [reply(200, {"apiKeys": [key("A")], "paging": {}}), reply(200, {"apiKeys": [], "paging": {}})]
    ) as server:
        listing = client_for(server.url).list_keys()
    assert (len(listing.keys), listing.complete) == (1, True)


@pytest.mark.parametrize(("enabled", "disabled"), [(0, 0), (3, 250), (250, 3)])
def test_enabled_and_disabled_are_apart(enabled: int, disabled: int) -> None:
    with sandbox() as (server, world, account, clock):
        ids = seeded(world, account, enabled, disabled)
        client = client_for(server.url, clock)
        on, off = client.list_keys(enabled=True), client.list_keys(enabled=False)
        assert (on.complete, off.complete) == (True, True)
        assert len(world.calls) == 2 + (enabled + disabled) // 100
        assert client.count_keys() == enabled + disabled
        assert {each.id for each in on.keys} == ids
        assert {each.id for each in off.keys} == {each.id for each in world.keys()} - ids


def test_listings_by_state_name_account() -> None:
    with FakeServer([reply(200, page())]) as server:
        client = client_for(server.url, account_id="SUB")
        client.list_keys(enabled=True)
        client.list_keys(enabled=False)
        client.count_keys()
    assert [each.line.split()[1].partition("?")[2] for each in server.seen] == [
        "enabled=true&page=0&size=100&accountId=SUB",
        "enabled=false&page=0&size=100&accountId=SUB",
        "page=0&size=1&accountId=SUB",
    ]


@pytest.mark.parametrize("enabled", [True, False])
def test_ignored_state_changes_nothing(enabled: bool) -> None:
    with sandbox() as (server, world, account, clock):
        ids = seeded(world, account, 120, 130)
        faults_of(world).add(Fault(FaultKind.IGNORE_FILTER, param="enabled", count=None))
        listing = client_for(server.url, clock).list_keys(enabled=enabled)
        assert listing.complete
        assert {each.id for each in listing.keys} == (ids if enabled else {each.id for each in world.keys()} - ids)


def test_shrinking_list_is_read_again() -> None:
    # A was disabled between the two pages: B moved onto the first, unseen, and A is counted in its place.
    first, second = page(key("A"), total=3, pages=2), page(key("C"), total=2, pages=2)
    again = page(key("B"), key("C"))
    with FakeServer([reply(200, first), reply(200, second), reply(200, again)]) as server:
        listing = client_for(server.url).list_keys(enabled=True)
    assert ({each.id for each in listing.keys}, listing.complete) == ({"B", "C"}, True)


@pytest.mark.parametrize(
    ("paging", "count"), [({"totalCount": 12}, 12), ({"totalCount": 0}, 0), ({}, None), ({"totalCount": None}, None)]
)
def test_keys_are_counted_in_one_call(paging: dict[str, object], count: int | None) -> None:
    with FakeServer([reply(200, {"apiKeys": [key()], "paging": paging})]) as server:
        assert client_for(server.url).count_keys() == count
    assert len(server.seen) == 1


def fetch_from(
    enabled: int, disabled: int, *, ignored: bool = False
) -> tuple[Callable[[Mapping[str, str]], Page], list[int]]:
    """Pages of that many keys, as Infobip cuts them; the requested ones are in the list.

    More keys than a server would hold in the time of a test.
    """
    on = [FetchedKey(known_key(f"on{number:06}"), None) for number in range(enabled)]
    off = [FetchedKey(known_key(f"off{number:06}", enabled=False), None) for number in range(disabled)]
    requested: list[int] = []

    def fetch(query: Mapping[str, str]) -> Page:
        requested.append(int(query["page"]))
        state = None if ignored else query.get("enabled")
        found = {"true": on, "false": off, None: on + off}[state]
        if query.get("orderDirection") == "desc":
            found = found[::-1]
        start = int(query["page"]) * PAGE_SIZE
        return Page(tuple(found[start : start + PAGE_SIZE]), len(found), -(-len(found) // PAGE_SIZE))

    return fetch, requested


@pytest.mark.parametrize(
    ("disabled", "complete"), [(REACH, True), (REACH + 1, True), (2 * REACH, True), (2 * REACH + 1, False)]
)
def test_disabled_keys_read_from_both_ends(disabled: int, complete: bool) -> None:
    fetch, requested = fetch_from(7, disabled)
    listing = list_all(fetch, enabled=False)
    assert (len(listing.keys), listing.complete) == (min(disabled, 2 * REACH), complete)
    assert len(requested) == (101 if disabled <= REACH else 202)


@pytest.mark.parametrize(("disabled", "complete"), [(2 * REACH, True), (2 * REACH + 1, False)])
def test_whole_listing_knows_its_gaps(disabled: int, complete: bool) -> None:
    fetch, requested = fetch_from(7, disabled)
    listing = list_all(fetch)
    assert (len(listing.keys), listing.complete) == (7 + min(disabled, 2 * REACH), complete)
    assert len(requested) == 1 + 1 + 202


def test_enabled_keys_among_many_disabled() -> None:
    fetch, requested = fetch_from(7, 3 * REACH)
    listing = list_all(fetch, enabled=True)
    assert (len(listing.keys), listing.complete, len(requested)) == (7, True, 1)


def test_ignored_filter_hides_no_key() -> None:
    fetch, _ = fetch_from(7, 3 * REACH, ignored=True)
    listing = list_all(fetch, enabled=True)
    assert not listing.complete
    assert all(each.enabled for each in listing.keys)
