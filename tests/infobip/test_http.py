"""The client against a server that misbehaves: repeats, lost answers, sizes and time patience, over real sockets."""

from __future__ import annotations

import gzip
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from rotator.errors import (
    BadCredentials,
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    MissingRole,
    OutcomeUnknown,
    ProviderError,
    ProviderThrottled,
    ProviderUnavailable,
)
from rotator.patience import Patience
from rotator.ports import KeyRequest
from tests.infobip.answers import K1, key
from tests.infobip.certificates import certificate
from tests.infobip.clients import RecordingClock, client_for
from tests.infobip.fake_server import FakeServer, Reply, below_tls, drop, endless, raw, reply, reset, silence

REQUEST = KeyRequest("a/rotator:default:v1", datetime(2026, 12, 1, tzinfo=UTC), frozenset({"sms:manage"}))
GOOD = reply(200, key())


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_read_is_retried_with_growing_waits(status: int) -> None:
    clock = RecordingClock()
    with FakeServer([reply(status)]) as server, pytest.raises(ProviderError) as caught:
        client_for(server.url, clock).get_key("K1")
    assert isinstance(caught.value, ProviderThrottled if status == 429 else ProviderUnavailable)
    assert len(server.seen) == 4
    first, second, third = clock.sleeps
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4
    assert f"GET /settings/2/api-keys/K1 at {server.host}: HTTP {status}" in str(caught.value)
    assert "(4 tries)" in str(caught.value)


@pytest.mark.parametrize(
    "failure", [drop, reset, reply(503), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), raw(b"what?\r\n\r\n")]
)
def test_read_that_succeeds_at_last(failure: Reply) -> None:
    clock = RecordingClock()
    with FakeServer([failure, failure, GOOD]) as server:
        assert client_for(server.url, clock).get_key("K1").key.id == "K1"
    assert len(server.seen) == 3
    assert len(clock.sleeps) == 2


def test_silent_server_is_asked_once() -> None:
    """After four attempts without a response each call is one attempt, until one gets a response."""
    with FakeServer([*[drop] * 5, GOOD, drop, GOOD]) as server:
        client = client_for(server.url, RecordingClock())
        for _ in range(2):
            with pytest.raises(ProviderUnavailable):
                client.get_key("K1")
        for _ in range(2):
            assert client.get_key("K1").key.id == "K1"
    assert len(server.seen) == 8


def test_retry_after_up_to_thirty_seconds() -> None:
    clock = RecordingClock()
    date = format_datetime(clock.now() + timedelta(seconds=30 + 17), usegmt=True)
    with FakeServer([reply(429, Retry_After="30"), reply(503, Retry_After=date), GOOD]) as server:
        client_for(server.url, clock).get_key("K1")
    assert clock.sleeps == [30, 17]


@pytest.mark.parametrize("header", ["31", "3600", "999999999"])
def test_longer_retry_after_ends_call(header: str) -> None:
    clock = RecordingClock()
    with FakeServer([reply(429, Retry_After=header)]) as server, pytest.raises(ProviderThrottled, match=header):
        client_for(server.url, clock).get_key("K1")
    assert (len(server.seen), clock.sleeps) == (1, [])


@pytest.mark.parametrize("header", ["soon", "-5", "9" * 5000, "1.5", "Mon, 99 Foo 2026 10:00:00 GMT", ""])
def test_senseless_retry_after_is_ignored(header: str) -> None:
    clock = RecordingClock()
    with FakeServer([reply(429, Retry_After=header), GOOD]) as server:
        client_for(server.url, clock).get_key("K1")
    assert 0.5 <= clock.sleeps[0] <= 1


@pytest.mark.parametrize(
    "failure",
    [
        drop,
        reset,
        reply(500),
        reply(502),
        reply(503),
        reply(504),
        reply(408),
        reply(425),
        reply(302, Location="/"),
        reply(200),
        reply(200, b"<html>"),
        reply(200, {}),
        reply(201, key("a/b")),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    ],
)
def test_create_is_sent_once_if_in_doubt(failure: Reply) -> None:
    clock = RecordingClock()
    with FakeServer([failure]) as server, pytest.raises(OutcomeUnknown, match="rotator:default:v1") as caught:
        client_for(server.url, clock).create_key(REQUEST)
    assert (len(server.seen), clock.sleeps) == (1, [])
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, BadCredentials),
        (403, MissingRole),
        (404, InvalidRequest),
        (409, InvalidRequest),
        (422, InvalidRequest),
        (429, ProviderThrottled),
    ],
)
def test_refused_create_did_not_happen(status: int, kind: type[ProviderError]) -> None:
    clock = RecordingClock()
    with (
        FakeServer(
            [reply(status, {"errorCode": "E", "violations": [{"property": "name", "violation": "long"}]})]
        ) as server,
        pytest.raises(kind) as caught,
    ):
        client_for(server.url, clock).create_key(REQUEST)
    assert not caught.value.outcome_unknown
    assert "name: long" in str(caught.value)
    assert (len(server.seen), clock.sleeps) == (1, [])


def test_create_without_connection() -> None:
    with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1"):
        client_for(closed_port()).create_key(REQUEST)
    with pytest.raises(ProviderUnavailable, match=r"nowhere\.invalid"):
        client_for("https://nowhere.invalid").create_key(REQUEST)


def test_create_over_failed_handshake(tmp_path: Path) -> None:
    with (
        FakeServer([GOOD], tls=certificate(tmp_path)[0]) as server,
        pytest.raises(ProviderUnavailable, match="certificate"),
    ):
        client_for(server.url).create_key(REQUEST)
    assert server.seen == []


@pytest.mark.parametrize("greeting", [drop, reset, raw(b"HTTP/1.1 400 no TLS here\r\n\r\n")])
def test_create_to_server_without_tls(greeting: Reply) -> None:
    with FakeServer(greeting=greeting) as server, pytest.raises(ProviderUnavailable):
        client_for(server.url.replace("http:", "https:"), patience=Patience(1, total=2)).create_key(REQUEST)


@pytest.mark.parametrize("failure", [drop, reset, below_tls])
def test_create_is_in_doubt_if_tls_breaks(failure: Reply, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat: a TLS connection that breaks after a create was sent. The create counts as sent: the key is searched for
    by its name. For ``requests`` the last of these is the same ``SSLError`` as a failed handshake.
    """
    context, bundle = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with FakeServer([failure], tls=context) as server, pytest.raises(OutcomeUnknown):
        client_for(server.url).create_key(REQUEST)
    assert len(server.seen) == 1


def test_create_after_closed_connection() -> None:
    def answer_and_close(sock: socket.socket) -> None:
        GOOD(sock)
        sock.shutdown(socket.SHUT_RDWR)

    with FakeServer([answer_and_close]) as server:
        client = client_for(server.url)
        client.get_key("K1")
        assert client.create_key(REQUEST).key.id == "K1"
        assert client.create_key(REQUEST).key.id == "K1"
    assert server.connections == 3


def test_kept_connections_are_reused() -> None:
    with FakeServer([GOOD]) as server:
        client = client_for(server.url)
        for _ in range(3):
            client.get_key("K1")
    assert server.connections == 1


def test_revocation_is_retried_then_in_doubt() -> None:
    clock = RecordingClock()
    with FakeServer([drop]) as server, pytest.raises(OutcomeUnknown):
        client_for(server.url, clock).revoke_key(K1, None)
    assert len(server.seen) == 4
    with FakeServer([reply(503)]) as server, pytest.raises(OutcomeUnknown, match="K1"):
        client_for(server.url).revoke_key(K1, None)
    with FakeServer([drop, reply(429, Retry_After="99")]) as server, pytest.raises(OutcomeUnknown):
        client_for(server.url).revoke_key(K1, None)
    with FakeServer([reply(429, Retry_After="99")]) as server, pytest.raises(ProviderThrottled):
        client_for(server.url).revoke_key(K1, None)
    with pytest.raises(ProviderUnavailable):
        client_for(closed_port()).revoke_key(K1, None)


def test_unreadable_revocation_is_read_back() -> None:
    """Threat: a proxy that answers a revocation with 200. The key is read again; an unknown outcome is an error."""
    off = {**key(), "enabled": False}
    with FakeServer([reply(200, b"<html>ok</html>"), reply(200, off)]) as server:
        client_for(server.url).revoke_key(K1, None)
    assert [each.line.split()[0] for each in server.seen] == ["PUT", "GET"]
    with FakeServer([reply(204), GOOD]) as server, pytest.raises(ContractViolation, match="still enabled"):
        client_for(server.url).revoke_key(K1, None)
    with FakeServer([reply(200, b"<html>ok</html>")]) as server, pytest.raises(OutcomeUnknown):
        client_for(server.url).revoke_key(K1, None)
    with FakeServer([reply(404)]) as server, pytest.raises(KeyNotFound):
        client_for(server.url).revoke_key(K1, None)


def test_bodies_are_bounded() -> None:
    with FakeServer([reply(200, b"[" + b" " * 6_000_000)]) as server, pytest.raises(ContractViolation, match="bytes"):
        client_for(server.url).get_key("K1")


def test_bodies_without_end_are_bounded() -> None:
    """Threat: an endless body. It is cut off at 5 MiB."""
    server = FakeServer()
    server.script = [endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, 0, server.stopping)]
    with server, pytest.raises(ContractViolation, match="bytes"):
        client_for(server.url).get_key("K1")


def test_packed_bodies_are_bounded() -> None:
    """Threat: a decompression bomb. It is cut off at 5 MiB unpacked."""
    bomb = gzip.compress(b" " * 50_000_000)
    with (
        FakeServer([reply(200, bomb, Content_Encoding="gzip")]) as server,
        pytest.raises(ContractViolation, match="bytes"),
    ):
        client_for(server.url).get_key("K1")


def test_packed_answer_is_read() -> None:
    packed = gzip.compress(b'{"id": "K1", "name": "n", "enabled": true}')
    with FakeServer([reply(200, packed, Content_Encoding="gzip")]) as server:
        assert client_for(server.url).get_key("K1").key.enabled
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_huge_error_page_is_still_that_error() -> None:
    with FakeServer([reply(403, b"x" * 6_000_000)]) as server, pytest.raises(MissingRole):
        client_for(server.url).get_key("K1")


def drip(first: bytes, server: FakeServer) -> Reply:
    return endless(first, b" ", 0.05, server.stopping)


@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
    ids=["status", "headers", "body", "endless body"],
)
@pytest.mark.parametrize("patience", [Patience(1, total=0.4), Patience(0.4, total=9)], ids=["total", "read"])
def test_answer_that_drips_is_cut_off(first: bytes, patience: Patience) -> None:
    """Threat: a server that answers byte by byte, to hold a create open. One deadline bounds the whole response. No
    single read is slow. Together they get what one may take, less what connecting took of the total.
    """
    server = FakeServer()
    server.script = [drip(first, server)]
    started = time.monotonic()
    with server, pytest.raises(OutcomeUnknown, match="timed out"):
        client_for(server.url, patience=patience).create_key(REQUEST)
    assert 0.3 < time.monotonic() - started < 2


def test_interim_answers_keep_deadline() -> None:
    server = FakeServer()
    server.script = [endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02, server.stopping)]
    started = time.monotonic()
    with server, pytest.raises(OutcomeUnknown, match="timed out"):
        client_for(server.url, patience=Patience(0.4, total=9)).create_key(REQUEST)
    assert time.monotonic() - started < 2


def test_partial_answer_keeps_deadline() -> None:
    server = FakeServer()
    server.script = [endless(b"", b"HTTP/1.1 200 OK\r\nX: ", 0.9, server.stopping)]
    started = time.monotonic()
    with server, pytest.raises(OutcomeUnknown, match="timed out"):
        client_for(server.url, patience=Patience(1, total=9)).create_key(REQUEST)
    assert time.monotonic() - started < 1.6


def test_handshake_that_drips_is_cut_off() -> None:
    server = FakeServer()
    server.greeting = endless(b"\x16\x03\x03\x3f\xff", b"\x02", 0.05, server.stopping)
    started = time.monotonic()
    with server, pytest.raises(ProviderUnavailable, match="timed out"):
        client_for(server.url.replace("http:", "https:"), patience=Patience(0.4, total=9)).create_key(REQUEST)
    assert time.monotonic() - started < 2


def test_kept_connection_resets_deadline() -> None:
    def slowly(sock: socket.socket) -> None:
        server.stopping.wait(0.2)
        GOOD(sock)

    server = FakeServer([slowly])
    with server:
        client = client_for(server.url, patience=Patience(0.4, total=9))
        for _ in range(3):
            client.get_key("K1")
    assert (server.connections, len(server.seen)) == (1, 3)


def test_silence_times_out() -> None:
    server = FakeServer()
    server.script = [silence(server.stopping)]
    with server, pytest.raises(ProviderUnavailable, match=r"4 tries.*timed out"):
        client_for(server.url, patience=Patience(0.1, total=5)).get_key("K1")
