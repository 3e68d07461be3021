"""An emergency falls back to Basic where a login fails: the credentials are the same."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from rotator.errors import BadCredentials, SessionBusy
from rotator.infobip.credentials import AuthMethod
from rotator.infobip.http import Limits
from rotator.ports import KeyRequest
from rotator.secret import Secret
from tests.infobip.fake_server import (
    PASSWORD,
    USER,
    FakeServer,
    RecordingClock,
    Reply,
    client_for,
    drop,
    key,
    page,
    reply,
    sandbox,
    silence,
)

GOOD = reply(200, key())
LOGINS = [AuthMethod.IBSSO, AuthMethod.OAUTH2]


def schemes(server: FakeServer) -> list[str]:
    return [each.headers.get("authorization", "login").partition(" ")[0] for each in server.seen]


@pytest.mark.parametrize("auth", LOGINS)
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
    with FakeServer([failure, GOOD]) as server:
        client = client_for(server.url, clock, auth=auth, fall_back_to_basic=True)
        with caplog.at_level(logging.WARNING, "rotator.infobip.auth"):
            client.get_key("K1")
            client.get_key("K1")
    assert schemes(server) == ["login", "Basic", "Basic"]
    assert clock.sleeps == []  # an emergency does not wait for a login to recover
    (warning,) = caplog.messages
    assert "Basic is used with the same credentials" in warning
    assert PASSWORD not in warning


def test_a_login_that_hangs_is_cut_and_basic_follows() -> None:
    server = FakeServer()
    server.script = [silence(server.stopping), GOOD]
    with server:
        limits = Limits(connect=1, read=0.2, total=0.3)
        client_for(server.url, auth=AuthMethod.IBSSO, limits=limits, fall_back_to_basic=True).get_key("K1")
    assert schemes(server) == ["login", "Basic"]


@pytest.mark.parametrize("auth", LOGINS)
def test_a_login_that_works_is_used(auth: AuthMethod) -> None:
    with sandbox() as (server, world, _, clock):
        client = client_for(server.url, clock, auth=auth, fall_back_to_basic=True)
        client.list_keys()
        client.close()
        assert {call.principal for call in world.calls if "api-keys" in call.path} == {f"{auth}:{USER}"}
        assert world.state.sessions == {}


def test_a_session_that_is_refused_is_left_for_basic() -> None:
    with sandbox() as (server, world, account, clock):
        client = client_for(server.url, clock, auth=AuthMethod.IBSSO, fall_back_to_basic=True)
        client.list_keys()
        world.state.sessions.clear()  # another process destroyed it, and has opened one of its own
        client_for(server.url, clock, auth=AuthMethod.IBSSO).list_keys()
        client.create_key(KeyRequest("new", clock.now() + timedelta(days=1), frozenset({"sms:manage"})))
        assert [each.name for each in world.keys(account)] == ["new"]
        client.close()
        assert len(world.state.sessions) == 1


def test_both_failures_are_reported_where_basic_is_refused_too() -> None:
    busy = {"requestError": {"serviceException": {"text": "A session exists already"}}}
    with FakeServer([reply(400, busy), reply(401)]) as server, pytest.raises(BadCredentials) as caught:
        client_for(server.url, auth=AuthMethod.IBSSO, fall_back_to_basic=True).get_key("K1")
    assert "A session exists already" in caught.value.message
    assert "Basic with the same credentials was answered with HTTP 401" in caught.value.message
    assert schemes(server) == ["login", "Basic"]


def test_a_user_name_that_basic_cannot_send_keeps_its_error() -> None:
    busy = reply(400, {"requestError": {"serviceException": {"text": "A session exists already"}}})
    with FakeServer([busy]) as server, pytest.raises(SessionBusy):
        client_for(server.url, auth=AuthMethod.IBSSO, fall_back_to_basic=True, username="a:b").get_key("K1")
    assert len(server.seen) == 1


@pytest.mark.parametrize("auth", LOGINS)
def test_scheduled_work_never_falls_back(auth: AuthMethod) -> None:
    with FakeServer([reply(403), reply(200, page())]) as server, pytest.raises(BadCredentials):
        client_for(server.url, auth=auth).list_keys()
    assert schemes(server) == ["login"]


def test_basic_credentials_need_no_login() -> None:
    with FakeServer([reply(200, page())]) as server:
        assert client_for(server.url, fall_back_to_basic=True).find_by_value(Secret("x")) is None
    assert schemes(server) == ["Basic"]
