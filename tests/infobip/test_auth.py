from __future__ import annotations

import base64
import logging
import re
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from rotator.errors import (
    BadCredentials,
    ContractViolation,
    InvalidRequest,
    ProviderError,
    ProviderThrottled,
    ProviderUnavailable,
    SessionBusy,
)
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import AuthMethod, Credentials
from rotator.patience import Patience
from rotator.ports import KeyRequest
from rotator.sandbox.state import Options
from rotator.secret import Secret
from tests.infobip.answers import key, page
from tests.infobip.clients import PASSWORD, USER, RecordingClock, RecordingRedactor, client_for, sandbox
from tests.infobip.fake_server import FakeServer, Reply, drop, reply, silence

IBSSO, OAUTH2 = AuthMethod.IBSSO, AuthMethod.OAUTH2
SESSION = "/auth/1/session"
TOKEN = "/auth/1/oauth2/token"


def lines(server: FakeServer) -> list[str]:
    return [each.line.rpartition(" ")[0] for each in server.seen]


def token(value: str = "T1", **more: object) -> dict[str, object]:
    return {"access_token": value, "token_type": "Bearer", "expires_in": 3600, **more}


@pytest.mark.parametrize("auth", list(AuthMethod))
def test_every_method_works_over_sandbox(auth: AuthMethod) -> None:
    with sandbox() as (server, world, account, clock):
        old = world.add_key(account, "old")
        client = client_for(server.url, clock, auth=auth)
        assert [each.id for each in client.list_keys().keys] == [old.id]
        made = client.create_key(KeyRequest("new", clock.now() + timedelta(days=90), frozenset({"sms:manage"})))
        assert made.value is not None
        assert world.authenticates(made.value.reveal())
        assert client.get_key(made.key.id) == made
        client.revoke_key(made.key, clock.now())
        assert not world.authenticates(made.value.reveal())
        client.close()
        assert {call.principal for call in world.calls if call.path.startswith("/settings")} == {f"{auth}:{USER}"}


@pytest.mark.parametrize("auth", list(AuthMethod))
def test_wrong_password_is_bad_credentials(auth: AuthMethod) -> None:
    with sandbox() as (server, world, _, clock):
        credentials = Credentials(server.url, USER, Secret("wrong"), auth)
        client = InfobipClient(credentials, clock)
        with pytest.raises(BadCredentials, match="HTTP 401"):
            client.list_keys()
        with pytest.raises(BadCredentials):
            client.create_key(KeyRequest("new", clock.now()))
        assert world.keys() == ()
        assert clock.sleeps == []


def test_basic_sends_utf8() -> None:
    redactor = RecordingRedactor()
    with FakeServer([reply(200, key())]) as server:
        client_for(server.url, redactor=redactor).get_key("K1")
    scheme, _, encoded = server.seen[0].headers["authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == f"{USER}:{PASSWORD}"
    assert {PASSWORD, encoded} <= set(redactor.learned)


def test_basic_is_not_repeated_after_401() -> None:
    with FakeServer([reply(401)]) as server, pytest.raises(BadCredentials):
        client_for(server.url).get_key("K1")
    assert len(server.seen) == 1


def test_session_is_made_once_and_destroyed() -> None:
    with FakeServer([reply(200, {"token": "T1"}), reply(200, key()), reply(200, key()), reply(200)]) as server:
        client = client_for(server.url, auth=IBSSO, unsafe_sessions=True)
        client.get_key("K1")
        client.get_key("K1")
        client.close()
        client.close()
    assert lines(server) == [
        f"POST {SESSION}",
        "GET /settings/2/api-keys/K1",
        "GET /settings/2/api-keys/K1",
        f"DELETE {SESSION}",
    ]
    assert server.seen[0].json() == {"username": USER, "password": PASSWORD, "unsafe": True}
    assert "authorization" not in server.seen[0].headers
    assert {each.headers["authorization"] for each in server.seen[1:]} == {"IBSSO T1"}


def test_only_idle_session_is_replaced() -> None:
    with sandbox() as (server, world, _, clock):
        client = client_for(server.url, clock, auth=IBSSO)
        for _ in range(4):
            client.list_keys()
            clock.advance(timedelta(minutes=50))
        client.list_keys()
        assert [call.method for call in world.calls if call.path == SESSION] == ["POST"]
        clock.advance(timedelta(minutes=57))  # still open at the server, where it would refuse the next
        client.list_keys()
        assert [(call.method, call.status) for call in world.calls if call.path == SESSION][1:] == [
            ("DELETE", 200),
            ("POST", 200),
        ]
        client.close()
        assert world.state.sessions == {}


def test_expired_session_is_replaced_once() -> None:
    with sandbox() as (server, world, account, clock):
        client = client_for(server.url, clock, auth=IBSSO)
        client.list_keys()
        world.state.sessions.clear()
        client.create_key(KeyRequest("new", clock.now() + timedelta(days=1), frozenset({"sms:manage"})))
        assert [each.name for each in world.keys(account)] == ["new"]
        assert [(call.method, call.status) for call in world.calls][2:] == [
            ("POST", 401),
            ("DELETE", 401),
            ("POST", 200),
            ("POST", 200),
        ]


@pytest.mark.parametrize("status", [400, 409])
def test_killed_runs_session_is_reported(status: int) -> None:
    with sandbox(Options(session_busy_status=status)) as (server, _, _, clock):
        client_for(server.url, clock, auth=IBSSO).list_keys()  # and never closed
        with pytest.raises(SessionBusy, match="60 idle minutes"):
            client_for(server.url, clock, auth=IBSSO).list_keys()
        clock.advance(timedelta(minutes=61))
        client_for(server.url, clock, auth=IBSSO).list_keys()


@pytest.mark.parametrize(
    ("auth", "status", "body", "kind"),
    [
        (IBSSO, 401, {}, BadCredentials),
        (IBSSO, 403, {}, BadCredentials),
        (IBSSO, 400, {"requestError": {"serviceException": {"messageId": "UNAUTHORIZED"}}}, BadCredentials),
        (IBSSO, 400, {"requestError": {"serviceException": {"validationErrors": {"username": ["x"]}}}}, InvalidRequest),
        (IBSSO, 404, {}, InvalidRequest),
        (IBSSO, 409, b"<html>", SessionBusy),
        (IBSSO, 423, b"", SessionBusy),
        (IBSSO, 500, {}, ProviderUnavailable),
        (IBSSO, 200, {}, ContractViolation),
        (IBSSO, 200, {"token": "a\nb"}, ContractViolation),
        (IBSSO, 302, {}, ContractViolation),
        (OAUTH2, 400, {"error": "invalid_client"}, BadCredentials),
        (OAUTH2, 400, {"error": "Invalid login details"}, BadCredentials),
        (OAUTH2, 401, {"error": "invalid_client"}, BadCredentials),
        (OAUTH2, 403, {}, BadCredentials),
        (OAUTH2, 400, {"error": "unsupported_grant_type"}, InvalidRequest),
        (OAUTH2, 400, {}, InvalidRequest),
        (OAUTH2, 429, {}, ProviderThrottled),
        (OAUTH2, 503, {}, ProviderUnavailable),
        (OAUTH2, 200, token(expires_in=-1), ContractViolation),
        (OAUTH2, 200, {"error": "x"}, ContractViolation),
    ],
)
def test_refused_logins(auth: AuthMethod, status: int, body: object, kind: type[ProviderError]) -> None:
    with FakeServer([reply(status, body)]) as server, pytest.raises(ProviderError) as caught:
        client_for(server.url, auth=auth).create_key(KeyRequest("n", RecordingClock().now()))
    assert type(caught.value) is kind
    assert {each.split()[1] for each in lines(server)} == {SESSION if auth is IBSSO else TOKEN}
    assert len(server.seen) == 1 or auth is OAUTH2  # a session that may be open refuses the next one


def test_lost_login_is_no_create_in_doubt() -> None:
    with FakeServer([drop]) as server, pytest.raises(ProviderUnavailable):
        client_for(server.url, auth=IBSSO).create_key(KeyRequest("n", RecordingClock().now()))
    assert lines(server) == [f"POST {SESSION}"]


def test_throttled_login_is_repeated() -> None:
    clock = RecordingClock()
    with FakeServer([reply(429, Retry_After="3"), reply(200, {"token": "T1"}), reply(200, key())]) as server:
        client_for(server.url, clock, auth=IBSSO).get_key("K1")
    assert clock.sleeps == [3]
    with FakeServer([reply(429, Retry_After="99")]) as server, pytest.raises(ProviderThrottled):
        client_for(server.url, auth=IBSSO).get_key("K1")


def test_token_is_renewed_before_it_ends() -> None:
    redactor = RecordingRedactor()
    clock = RecordingClock()
    with FakeServer(
        [reply(200, token("T1")), reply(200, key()), reply(200, key()), reply(200, token("T2")), reply(200, key())]
    ) as server:
        client = client_for(server.url, clock, auth=OAUTH2, redactor=redactor)
        client.get_key("K1")
        clock.advance(timedelta(seconds=3539))
        client.get_key("K1")
        clock.advance(timedelta(seconds=1))  # 60 s before the end
        client.get_key("K1")
    assert [each.headers.get("authorization") for each in server.seen] == [
        None,
        "Bearer T1",
        "Bearer T1",
        None,
        "Bearer T2",
    ]
    assert server.seen[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(server.seen[0].body.decode()) == {
        "client_id": [USER],
        "client_secret": [PASSWORD],
        "grant_type": ["client_credentials"],
    }
    assert {PASSWORD, "T1", "T2"} <= set(redactor.learned)


def test_short_token_has_tenth_as_margin() -> None:
    clock = RecordingClock()
    with FakeServer(
        [reply(200, token(expires_in=100)), *[reply(200, key())] * 2, reply(200, token("T2")), reply(200, key())]
    ) as server:
        client = client_for(server.url, clock, auth=OAUTH2)
        client.get_key("K1")
        clock.advance(timedelta(seconds=89))
        client.get_key("K1")
        clock.advance(timedelta(seconds=1))
        client.get_key("K1")
    assert server.seen[-1].headers["authorization"] == "Bearer T2"


def test_refused_token_is_renewed_once() -> None:
    with FakeServer([reply(200, token("T1")), reply(401), reply(200, token("T2")), reply(200, key())]) as server:
        client_for(server.url, auth=OAUTH2).get_key("K1")
    assert server.seen[-1].headers["authorization"] == "Bearer T2"
    with (
        FakeServer([reply(200, token()), reply(401), reply(200, token()), reply(401)]) as server,
        pytest.raises(BadCredentials),
    ):
        client_for(server.url, auth=OAUTH2).get_key("K1")
    assert len(server.seen) == 4


def test_threads_share_one_session() -> None:
    with sandbox() as (server, world, _, clock):
        client = client_for(server.url, clock, auth=IBSSO)
        barrier = threading.Barrier(4)
        complete: list[bool] = []

        def work() -> None:
            barrier.wait()
            complete.append(client.list_keys().complete)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert complete == [True] * 4
        assert [call.method for call in world.calls if call.path == SESSION] == ["POST"]


def test_closing_never_raises() -> None:
    with FakeServer([reply(200, {"token": "T1"}), reply(200, page()), drop]) as server:
        client = client_for(server.url, auth=IBSSO)
        client.list_keys()
        client.close()
    assert lines(server)[-1] == f"DELETE {SESSION}"


# ---- in an emergency Basic follows a login that fails: the credentials are the same ---------------------------------


def schemes(server: FakeServer) -> list[str]:
    return [each.headers.get("authorization", "login").partition(" ")[0] for each in server.seen]


@pytest.mark.parametrize("auth", [IBSSO, OAUTH2])
@pytest.mark.parametrize(
    "failure",
    [
        reply(400, {"requestError": {"serviceException": {"text": "A session exists already"}}}),
        reply(401),
        reply(403),
        reply(404),
        reply(409, b"<html>"),
        reply(429, Retry_After="3"),
        reply(500),
        reply(503),
        reply(200, {}),
        reply(302, Location="https://elsewhere.invalid/"),
        drop,
    ],
)
def test_basic_follows_any_failed_login(auth: AuthMethod, failure: Reply, caplog: Any) -> None:
    clock = RecordingClock()
    with FakeServer([failure, reply(200, key())]) as server:
        client = client_for(server.url, clock, auth=auth, fall_back_to_basic=True)
        with caplog.at_level(logging.WARNING, "rotator.infobip.auth"):
            client.get_key("K1")
            client.get_key("K1")
    assert schemes(server) == ["login", "Basic", "Basic"]
    assert clock.sleeps == []  # an emergency does not wait for a login to recover
    (warning,) = caplog.messages
    assert (SESSION if auth is IBSSO else TOKEN) in warning
    assert PASSWORD not in warning


def test_hanging_login_falls_back_to_basic() -> None:
    server = FakeServer()
    server.script = [silence(server.stopping), reply(200, key())]
    with server:
        patience = Patience(0.2, total=0.3)
        client_for(server.url, auth=IBSSO, patience=patience, fall_back_to_basic=True).get_key("K1")
    assert schemes(server) == ["login", "Basic"]


@pytest.mark.parametrize("auth", [IBSSO, OAUTH2])
def test_login_that_works_is_used(auth: AuthMethod) -> None:
    with sandbox() as (server, world, _, clock):
        client = client_for(server.url, clock, auth=auth, fall_back_to_basic=True)
        client.list_keys()
        client.close()
        assert {call.principal for call in world.calls if "api-keys" in call.path} == {f"{auth}:{USER}"}
        assert world.state.sessions == {}


def test_refused_session_falls_back_to_basic() -> None:
    with sandbox() as (server, world, account, clock):
        client = client_for(server.url, clock, auth=IBSSO, fall_back_to_basic=True)
        client.list_keys()
        world.state.sessions.clear()  # another process destroyed it, and has opened one of its own
        client_for(server.url, clock, auth=IBSSO).list_keys()
        client.create_key(KeyRequest("new", clock.now() + timedelta(days=1), frozenset({"sms:manage"})))
        assert [each.name for each in world.keys(account)] == ["new"]
        client.close()
        assert len(world.state.sessions) == 1


def test_basic_refused_reports_both_failures() -> None:
    busy = {"requestError": {"serviceException": {"text": "A session exists already"}}}
    with FakeServer([reply(400, busy), reply(401)]) as server, pytest.raises(BadCredentials) as caught:
        client_for(server.url, auth=IBSSO, fall_back_to_basic=True).get_key("K1")
    assert "A session exists already" in caught.value.message
    assert {"400", "401"} <= {*re.findall(r"HTTP (\d+)", caught.value.message)}
    assert schemes(server) == ["login", "Basic"]


def test_name_unfit_for_basic_keeps_error() -> None:
    busy = reply(400, {"requestError": {"serviceException": {"text": "A session exists already"}}})
    with FakeServer([busy]) as server, pytest.raises(SessionBusy):
        client_for(server.url, auth=IBSSO, fall_back_to_basic=True, username="a:b").get_key("K1")
    assert len(server.seen) == 1


@pytest.mark.parametrize("auth", [IBSSO, OAUTH2])
def test_scheduled_work_never_falls_back(auth: AuthMethod) -> None:
    with FakeServer([reply(403), reply(200, page())]) as server, pytest.raises(BadCredentials):
        client_for(server.url, auth=auth).list_keys()
    assert schemes(server) == ["login"]


def test_basic_credentials_need_no_login() -> None:
    with FakeServer([reply(200, page())]) as server:
        assert client_for(server.url, fall_back_to_basic=True).find_by_value(Secret("x")) is None
    assert schemes(server) == ["Basic"]
