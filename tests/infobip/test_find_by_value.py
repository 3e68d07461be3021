"""A search by value is a proof of ownership: whatever Infobip makes of its own filter, no wrong key is named."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from rotator.errors import ContractViolation, ProviderError, ProviderUnavailable
from rotator.infobip.client import InfobipClient
from rotator.sandbox.state import Options
from rotator.secret import Secret
from tests.infobip.answers import KEY_VALUE, key, page
from tests.infobip.clients import client_for, sandbox
from tests.infobip.fake_server import FakeServer, reply
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

OTHER = KEY_VALUE.replace("0123", "ffff")
MASK = "********5555"
WANTED = Secret(KEY_VALUE)


def found_by(client: InfobipClient) -> str | None:
    found = client.find_by_value(WANTED)
    return None if found is None else found.id


@pytest.mark.parametrize(
    ("keys", "total"),
    [
        ([key("A")], 1),
        ([key("A")], 250),  # the filter is ignored, but the value is there to be compared
        ([key("A"), key("B", apiKeySecret=OTHER)], 2),
        ([key("A"), key("A")], 2),
    ],
)
def test_readable_equal_value_names_its_key(keys: list[dict[str, object]], total: int) -> None:
    with FakeServer([reply(200, page(*keys, total=total))]) as server:
        assert found_by(client_for(server.url)) == "A"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("keys", "total"),
    [
        ([key("A", apiKeySecret=OTHER)], 1),
        ([key("A"), key("B")], 2),
        ([key("A"), key("B", apiKeySecret=MASK)], 2),
        ([key("A", apiKeySecret=OTHER), key("B", apiKeySecret=MASK)], 2),
        ([key("A", apiKeySecret=MASK), key("B", apiKeySecret=MASK)], 2),
        ([key("A", apiKeySecret=MASK)], 2),
        ([key("A", apiKeySecret=MASK)], 0),
        ([key("A", apiKeySecret=None)], 2),
        ([], 1),
    ],
)
def test_answer_not_one_key_is_inconclusive(keys: list[dict[str, object]], total: int) -> None:
    with (
        FakeServer([reply(200, page(*keys, total=total))]) as server,
        pytest.raises(ContractViolation, match="inconclusive"),
    ):
        found_by(client_for(server.url))
    assert len(server.seen) == 1


def test_answer_without_key() -> None:
    with FakeServer([reply(200, page())]) as server:
        assert found_by(client_for(server.url)) is None


@pytest.mark.parametrize("shown", [MASK, None, "", KEY_VALUE.upper()])
def test_only_key_with_ignored_filter(shown: str | None) -> None:
    with FakeServer([reply(200, page(key("A", apiKeySecret=shown)))]) as server:
        client = client_for(server.url)
        for _ in range(2):
            with pytest.raises(ContractViolation, match="inconclusive"):
                found_by(client)
    assert len(server.seen) == 4


def test_only_key_with_working_filter() -> None:
    masked = reply(200, page(key("A", apiKeySecret=MASK)))
    with FakeServer([masked, reply(200, page()), masked]) as server:
        client = client_for(server.url)
        assert found_by(client) == "A"
        assert found_by(client) == "A"
    assert len(server.seen) == 3  # one call checked whether the filter works
    invented = server.seen[1].line.partition("apiKeySecret=")[2].partition(" ")[0]
    assert invented not in ("", KEY_VALUE)


def test_filter_check_may_fail() -> None:
    with (
        FakeServer([reply(200, page(key("A", apiKeySecret=MASK))), reply(503)]) as server,
        pytest.raises(ProviderUnavailable),
    ):
        found_by(client_for(server.url))


@pytest.mark.parametrize(("reveal", "calls"), [(True, 3), (False, 4)])
def test_searches_at_infobip(reveal: bool, calls: int) -> None:
    with sandbox(Options(reveal=reveal)) as (server, world, account, clock):
        only = world.add_key(account, "only")
        client = client_for(server.url, clock)
        for _ in range(2):
            found = client.find_by_value(Secret(only.value))
            assert found is not None
            assert found.id == only.id
        assert client.find_by_value(WANTED) is None
        assert len(world.calls) == calls


@pytest.mark.parametrize("others", [0, 1, 150])
@pytest.mark.parametrize(
    "faults",
    [
        [Fault(FaultKind.IGNORE_FILTER, param="apiKeySecret", count=None)],
        [Fault(FaultKind.IGNORE_FILTER, param="apiKeySecret", count=None), Fault(FaultKind.MASK, count=None)],
        [Fault(FaultKind.MASK, count=None)],
        [Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", status=502, count=None)],
        [Fault(FaultKind.STATUS_AFTER, param="apiKeySecret", status=500, count=None)],
        [Fault(FaultKind.GARBAGE, param="apiKeySecret", count=None)],
    ],
    ids=lambda faults: "+".join(fault.kind for fault in faults),
)
def test_no_wrong_key_is_named(faults: list[Fault], others: int) -> None:
    with sandbox() as (server, world, account, clock):
        wanted = [world.add_key(account, f"key {number}") for number in range(others + 1)][others // 2]
        for fault in faults:
            faults_of(world).add(replace(fault))
        client = client_for(server.url, clock)
        with suppress(ProviderError):
            assert client.find_by_value(WANTED) is None
        with suppress(ProviderError):
            found = client.find_by_value(Secret(wanted.value))
            assert found is not None
            assert found.id == wanted.id
