from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from rotator.sandbox.exchange import ErrorStyle, Request, Response
from rotator.sandbox.state import MANAGE_ACCOUNT
from tests.sandbox.conftest import BALANCE, KEYS, SESSION, TOKEN, Site


def session_token(site: Site, **more: object) -> str:
    body = {"username": site.user.username, "password": site.user.password, **more}
    answer = site.call("POST", SESSION, "", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def test_basic_is_utf8_with_colons(site: Site) -> None:
    assert site.call("GET", KEYS).status_code == 200
    latin = base64.b64encode(f"{site.user.username}:{site.user.password}".encode("latin-1")).decode()
    assert site.call("GET", KEYS, f"Basic {latin}").status_code == 401


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Basic b3BzOndyb25n", "Digest x", "IBSSO x", "Bearer x"])
def test_unknown_users_are_refused_alike(site: Site, header: str) -> None:
    answer = site.call("GET", KEYS, header)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, "E401")
    assert answer.json()["description"] == "Invalid login details"


@pytest.mark.parametrize("manages_keys", [True, False])
def test_roles(site: Site, manages_keys: bool) -> None:
    site.user.manages_keys = manages_keys
    assert site.call("GET", KEYS).status_code == (200 if manages_keys else 403)


def test_api_key_cannot_manage_keys(site: Site) -> None:
    key = site.world.add_key(site.account, scopes=[MANAGE_ACCOUNT])
    for method, path in (("GET", KEYS), ("POST", KEYS), ("PUT", f"{KEYS}/{key.id}")):
        assert site.call(method, path, f"App {key.value}", json={"name": "x"}).status_code == 401
    assert len(site.world.keys()) == 1


def test_session_serves_and_ends(site: Site) -> None:
    token = session_token(site)
    assert site.call("GET", KEYS, f"IBSSO {token}").status_code == 200
    assert site.world.calls[-1].principal == "ibsso:ops"
    ended = site.call("DELETE", SESSION, f"IBSSO {token}")
    assert (ended.status_code, ended.content) == (200, b"")
    assert site.call("GET", KEYS, f"IBSSO {token}").status_code == 401
    assert site.call("DELETE", SESSION, f"IBSSO {token}").status_code == 401
    assert site.call("DELETE", SESSION).status_code == 401


def test_second_session_is_refused(site: Site) -> None:
    first = session_token(site)
    body = {"username": site.user.username, "password": site.user.password}
    for status in (400, 409):
        site.world.options.session_busy_status = status
        assert site.call("POST", SESSION, "", json=body).status_code == status
    site.call("DELETE", SESSION, f"IBSSO {first}")
    assert session_token(site) != first


def test_session_ends_after_idle_hour(site: Site) -> None:
    token = session_token(site)
    for _ in range(3):
        site.clock.advance(timedelta(minutes=59))
        assert site.call("GET", KEYS, f"IBSSO {token}").status_code == 200
    site.clock.advance(timedelta(minutes=60))
    assert site.call("GET", KEYS, f"IBSSO {token}").status_code == 401
    session_token(site)


@pytest.mark.parametrize(("unsafe", "status"), [(False, 401), (True, 200)])
def test_session_is_bound_to_address(site: Site, unsafe: bool, status: int) -> None:
    token = session_token(site, unsafe=unsafe)
    answer = site.world.handle(Request("GET", KEYS, headers={"authorization": f"IBSSO {token}"}, remote_ip="192.0.2.7"))
    assert isinstance(answer, Response)
    assert answer.status == status


def test_bad_session_request(site: Site) -> None:
    wrong = site.call("POST", SESSION, "", json={"username": "ops", "password": "wrong"})
    assert (wrong.status_code, wrong.json()["requestError"]["serviceException"]["messageId"]) == (401, "UNAUTHORIZED")
    empty = site.call("POST", SESSION, "", json={"unsafe": 1}).json()["requestError"]["serviceException"]
    assert set(empty["validationErrors"]) == {"username", "password", "unsafe"}


def token_form(site: Site, **more: str) -> dict[str, str]:
    own = {"client_id": site.user.username, "client_secret": site.user.password}
    return own | {"grant_type": "client_credentials"} | more


def test_token_serves_until_it_expires(site: Site) -> None:
    answer = site.call("POST", TOKEN, "", data=token_form(site)).json()
    assert (answer["expires_in"], answer["token_type"]) == (3600, "Bearer")
    header = f"Bearer {answer['access_token']}"
    site.clock.advance(timedelta(seconds=3599))
    assert site.call("GET", KEYS, header).status_code == 200
    site.clock.advance(timedelta(seconds=1))
    assert site.call("GET", KEYS, header).status_code == 401


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "Invalid login details"),
        ({"client_secret": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_bad_token_request(site: Site, changes: dict[str, str], status: int, error: str) -> None:
    answer = site.call("POST", TOKEN, "", data=token_form(site, **changes))
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "requestError" in answer.json()
    assert site.call("POST", TOKEN, "", json=token_form(site)).status_code == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.call("POST", TOKEN, "", data=b"\xff", headers=form).status_code == 400
    assert site.call("GET", TOKEN, "").status_code == 405


def test_balance_shows_working_key(site: Site) -> None:
    key = site.world.add_key(site.account, scopes=[MANAGE_ACCOUNT])
    narrow = site.world.add_key(site.account, scopes=["sms:manage"])
    assert site.call("GET", BALANCE, f"App {key.value}").json() == {"balance": 47.79, "currency": "EUR"}
    assert site.call("GET", BALANCE, f"App {narrow.value}").status_code == 403
    assert site.call("GET", "/sms/3/logs", f"App {narrow.value}").status_code == 200
    assert site.call("POST", BALANCE, f"App {key.value}").status_code == 405
    assert site.call("GET", BALANCE).status_code == 200


def test_key_that_must_not_work_does_not(site: Site) -> None:
    now = site.clock.now()
    keys = {
        "disabled": site.world.add_key(site.account, enabled=False),
        "expired": site.world.add_key(site.account, valid_to=now),
        "not yet": site.world.add_key(site.account, valid_from=now + timedelta(hours=1)),
        "elsewhere": site.world.add_key(site.account, allowed_ips=["192.0.2.0/24"]),
    }
    answers = {name: site.call("GET", BALANCE, f"App {key.value}").status_code for name, key in keys.items()}
    assert answers == dict.fromkeys(keys, 401)
    site.clock.advance(timedelta(hours=1))
    assert site.world.authenticates(keys["not yet"].value)


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "127.0.0.1-127.0.0.3", "0.0.0.0/0"])
def test_addresses_that_are_let_in(site: Site, allowed: str) -> None:
    key = site.world.add_key(site.account, allowed_ips=["192.0.2.1", allowed], scopes=[MANAGE_ACCOUNT])
    assert site.call("GET", BALANCE, f"App {key.value}").status_code == 200
    assert site.world.authenticates(key.value, ip="::1") is False


def test_change_takes_its_time_where_asked(site: Site) -> None:
    site.world.options.propagation = timedelta(seconds=20)
    made = site.create()
    header = f"App {made['apiKeySecret']}"
    assert site.call("GET", BALANCE, header).status_code == 401
    site.clock.sleep(20)
    assert site.call("GET", BALANCE, header).status_code == 200
    site.update(made["id"], enabled=False)
    assert site.call("GET", f"{KEYS}/{made['id']}").json()["enabled"] is False
    site.clock.sleep(19)
    assert site.call("GET", BALANCE, header).status_code == 200
    site.clock.sleep(1)
    assert site.call("GET", BALANCE, header).status_code == 401


@pytest.mark.parametrize(
    ("style", "path", "field"),
    [
        (ErrorStyle.DOCUMENTED, KEYS, "errorCode"),
        (ErrorStyle.DOCUMENTED, BALANCE, "requestError"),
        (ErrorStyle.CURRENT, BALANCE, "errorCode"),
        (ErrorStyle.OLDER, KEYS, "requestError"),
    ],
)
def test_shapes_of_errors(site: Site, style: ErrorStyle, path: str, field: str) -> None:
    site.world.options.error_style = style
    answer = site.call("GET", path, "App nonsense")
    assert answer.status_code == 401
    assert field in answer.json()
