"""Redirects, sizes and time limits."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest

from rotator.errors import (
    ContractViolation,
    MissingRole,
    OutcomeUnknown,
    ProviderUnavailable,
)
from rotator.infobip.http import Limits
from rotator.ports import KeyRequest
from tests.infobip.fake_server import (
    FakeServer,
    Reply,
    client_for,
    endless,
    key,
    reply,
    silence,
)

REQUEST = KeyRequest("a/rotator:default:v1", datetime(2026, 12, 1, tzinfo=UTC), frozenset({"sms:manage"}))
GOOD = reply(200, key())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with FakeServer([GOOD]) as other, FakeServer([reply(status, b"", Location=f"{other.url}/x")]) as server:
        with pytest.raises(ContractViolation, match="redirect"):
            client_for(server.url).get_key("K1")
        with pytest.raises(ContractViolation, match="redirect"):
            client_for(server.url).revoke_key("K1", None)
        assert len(server.seen) == 2
        assert other.connections == 0


def test_bodies_are_bounded() -> None:
    with FakeServer([reply(200, b"[" + b" " * 6_000_000)]) as server, pytest.raises(ContractViolation, match="bytes"):
        client_for(server.url).get_key("K1")


def test_bodies_without_an_end_are_bounded() -> None:
    server = FakeServer()
    server.script = [endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, 0, server.stopping)]
    with server, pytest.raises(ContractViolation, match="bytes"):
        client_for(server.url).get_key("K1")


def test_packed_bodies_are_bounded_as_they_unpack() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    with (
        FakeServer([reply(200, bomb, Content_Encoding="gzip")]) as server,
        pytest.raises(ContractViolation, match="bytes"),
    ):
        client_for(server.url).get_key("K1")


def test_a_packed_answer_is_read() -> None:
    packed = gzip.compress(b'{"id": "K1", "name": "n", "enabled": true}')
    with FakeServer([reply(200, packed, Content_Encoding="gzip")]) as server:
        assert client_for(server.url).get_key("K1").key.enabled
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_a_huge_error_page_is_still_that_error() -> None:
    with FakeServer([reply(403, b"x" * 6_000_000)]) as server, pytest.raises(MissingRole):
        client_for(server.url).get_key("K1")


def drip(first: bytes, server: FakeServer) -> Reply:
    return endless(first, b" ", 0.05, server.stopping)


@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
)
def test_an_answer_that_drips_is_cut_off(first: bytes) -> None:
    server = FakeServer()
    server.script = [drip(first, server)]
    with server, pytest.raises(OutcomeUnknown, match="timed out"):
        client_for(server.url, limits=Limits(connect=1, read=1, total=0.4)).create_key(REQUEST)


def test_silence_times_out() -> None:
    server = FakeServer()
    server.script = [silence(server.stopping)]
    with server, pytest.raises(ProviderUnavailable, match=r"4 tries.*timed out"):
        client_for(server.url, limits=Limits(connect=1, read=0.1, total=5)).get_key("K1")
