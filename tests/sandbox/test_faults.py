from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from rotator.sandbox.exchange import ErrorStyle, Request, Response
from tests.sandbox.conftest import BASE, KEYS, SESSION, Site
from tests.support.faulty_infobip import ELSEWHERE, Fault, FaultKind, faults_of

Caller = Callable[..., requests.Response]
LOST = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@pytest.fixture(params=["http", "in-process"])
def call(request: pytest.FixtureRequest, site: Site, in_process: requests.Session) -> Caller:
    """Create a key, over sockets and without."""
    session, base = (site.session, site.server.url) if request.param == "http" else (in_process, BASE)

    def post(**settings: Any) -> requests.Response:
        return session.post(
            base + KEYS,
            json={"name": "a key"},
            headers={"Authorization": site.basic},
            allow_redirects=False,
            **{"timeout": 20, **settings},
        )

    return post


@pytest.mark.parametrize(
    ("kind", "outcome", "made"),
    [
        (FaultKind.REFUSE, LOST, 0),
        (FaultKind.DROP_BEFORE, LOST, 0),
        (FaultKind.DROP_AFTER, LOST, 1),
        (FaultKind.TRUNCATE, LOST, 1),
        (FaultKind.HANG_BEFORE, requests.ReadTimeout, 0),
        (FaultKind.HANG_AFTER, requests.ReadTimeout, 1),
        (FaultKind.STATUS_BEFORE, 502, 0),
        (FaultKind.STATUS_AFTER, 502, 1),
        (FaultKind.THROTTLE, 429, 0),
        (FaultKind.REDIRECT, 302, 0),
        (FaultKind.GARBAGE, 200, 1),
        (FaultKind.HUGE, 200, 1),
        (FaultKind.DELAY, 200, 1),
    ],
)
def test_what_caller_sees_and_what_is_made(site: Site, call: Caller, kind: FaultKind, outcome: Any, made: int) -> None:
    faults_of(site.world).add(Fault(kind, status=502, size=300_000, seconds=0.01))
    if isinstance(outcome, int):
        answer = call()
        assert answer.status_code == outcome
        assert answer.headers.get("Location") == (ELSEWHERE if kind is FaultKind.REDIRECT else None)
        assert "Retry-After" not in answer.headers
        assert (len(answer.content) == 300_000) is (kind is FaultKind.HUGE)
        if kind is FaultKind.GARBAGE:
            with pytest.raises(requests.JSONDecodeError):
                answer.json()
    else:
        with pytest.raises(outcome):
            call(timeout=0.05)
    assert len(site.world.keys()) == site.world.creates_used(site.account) == made
    assert call().status_code == 200


def test_effect_that_comes_late(site: Site, call: Caller) -> None:
    start = site.clock.now()
    faults_of(site.world).add(Fault(FaultKind.LATE, seconds=60))
    with pytest.raises(requests.ReadTimeout):
        call(timeout=0.05)
    assert site.world.keys() == ()
    site.clock.set(start + timedelta(seconds=59))
    assert site.world.keys() == ()
    site.clock.set(start + timedelta(seconds=60))
    assert [key.created_at for key in site.world.keys()] == [start + timedelta(seconds=60)]


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (ErrorStyle.DOCUMENTED, b'{"errorCode"'),
        (ErrorStyle.CURRENT, b'{"errorCode"'),
        (ErrorStyle.OLDER, b'{"requestError"'),
        (ErrorStyle.HTML, b"<html>"),
        (ErrorStyle.XML, b"<?xml"),
        (ErrorStyle.EMPTY, b""),
    ],
)
def test_errors_of_every_sort(site: Site, call: Caller, body: ErrorStyle, start: bytes) -> None:
    faults_of(site.world).add(Fault(FaultKind.THROTTLE, body=body, retry_after="17"))
    answer = call()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")
    assert answer.content.startswith(start)
    assert bool(answer.content) is bool(start)


def test_another_id_than_right_one(site: Site, call: Caller) -> None:
    faults_of(site.world).add(Fault(FaultKind.WRONG_ID, count=None))
    answer = call().json()
    (key,) = site.world.keys()
    assert answer["id"] == site.call("GET", KEYS).json()["apiKeys"][0]["id"] == key.id[::-1]
    login = {"username": site.user.username, "password": site.user.password}
    token = site.call("POST", SESSION, "", json=login).json()["token"]
    assert site.call("DELETE", SESSION, f"IBSSO {token}").content == b""  # no id, and not even JSON


def test_filter_can_be_ignored(site: Site) -> None:
    on, off = site.world.add_key(site.account), site.world.add_key(site.account, enabled=False)

    def found(**params: str) -> set[str]:
        return {key["id"] for key in site.call("GET", KEYS, params=params).json()["apiKeys"]}

    faults_of(site.world).add(Fault(FaultKind.IGNORE_FILTER, param="apiKeySecret", count=None))
    assert found(apiKeySecret=on.value) == {on.id, off.id}
    assert found(apiKeySecret=on.value, enabled="false") == {off.id}
    faults_of(site.world).add(Fault(FaultKind.IGNORE_FILTER, param="enabled", count=None))
    assert found(apiKeySecret=on.value, enabled="false") == found(enabled="true") == {on.id, off.id}
    assert site.world.calls[0].params == ("apiKeySecret",)


def test_searches_alone_can_be_hit(site: Site) -> None:
    key = site.world.add_key(site.account)
    faults_of(site.world).add(Fault(FaultKind.MASK, param="apiKeySecret"))
    search = {"apiKeySecret": key.value}
    shown = [site.call("GET", KEYS, params=asked).json()["apiKeys"][0]["apiKeySecret"] for asked in (search, {})]
    assert shown == ["********" + key.value[-4:], key.value]
    faults_of(site.world).add(Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", status=503))
    assert [site.call("GET", KEYS, params=asked).status_code for asked in ({}, search, search)] == [200, 503, 200]


@pytest.mark.parametrize("seconds", [90, -3600])
def test_date_of_answers_can_be_off(site: Site, call: Caller, seconds: int) -> None:
    faults_of(site.world).add(Fault(FaultKind.DATE, seconds=seconds))
    shown = [parsedate_to_datetime(call().headers["Date"]) for _ in range(2)]
    assert shown == [site.clock.now() + timedelta(seconds=seconds), site.clock.now()]


def test_passing_faults_add_up(site: Site) -> None:
    site.world.add_key(site.account)
    start = site.clock.now()
    for kind in (FaultKind.IGNORE_FILTER, FaultKind.MASK, FaultKind.DATE, FaultKind.DELAY):
        faults_of(site.world).add(Fault(kind, param="apiKeySecret", seconds=5))
    answer = site.call("GET", KEYS, params={"apiKeySecret": "x"})
    assert [key["apiKeySecret"][:8] for key in answer.json()["apiKeys"]] == ["********"]
    # 5 s ahead, and sent 5 s later
    assert parsedate_to_datetime(answer.headers["Date"]) == site.clock.now() == start + timedelta(seconds=5)


def test_long_delay_costs_no_real_time(site: Site, in_process: requests.Session) -> None:
    faults_of(site.world).add(Fault(FaultKind.HANG_BEFORE, count=9))
    faults_of(site.world).add(Fault(FaultKind.DELAY, nth=10, seconds=30))
    start, began = site.clock.now(), time.monotonic()
    for _ in range(10):
        with pytest.raises(requests.ReadTimeout):
            in_process.get(BASE + KEYS, timeout=(5, 20))
    assert site.clock.now() == start + timedelta(seconds=200)
    assert time.monotonic() - began < 20


def test_answer_can_be_held_back_by_event(site: Site, call: Caller) -> None:
    release = threading.Event()
    fault = faults_of(site.world).add(Fault(FaultKind.DELAY, until=release))
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(call().status_code))
    thread.start()
    assert fault.entered.wait(10)
    assert len(site.world.keys()) == 1
    assert site.call("GET", KEYS).status_code == 200  # nobody else waits
    assert answers == []
    release.set()
    thread.join()
    assert answers == [200]


def test_which_requests_are_hit(site: Site) -> None:
    made = site.create()
    faults = faults_of(site.world)
    third = faults.add(Fault(FaultKind.STATUS_BEFORE, status=503, method="get", path=r"/api-keys$", nth=3, count=2))
    by_body = faults.add(Fault(FaultKind.STATUS_BEFORE, status=504, when=lambda r: b"enabled" in r.body, count=None))
    assert [site.call("GET", KEYS).status_code for _ in range(6)] == [200, 200, 503, 503, 200, 200]
    assert site.call("GET", f"{KEYS}/{made['id']}").status_code == 200
    assert site.call("PUT", f"{KEYS}/{made['id']}", json={"enabled": False}).status_code == 504
    assert site.call("PUT", f"{KEYS}/{made['id']}", json={"name": "x"}).status_code == 200
    assert (third.hits, by_body.hits) == (2, 1)
    faults.clear()
    first, second = (faults.add(Fault(FaultKind.STATUS_BEFORE, status=status)) for status in (500, 502))
    assert [site.call("GET", KEYS).status_code for _ in range(3)] == [500, 502, 200]  # one at a time
    assert (first.hits, second.hits) == (1, 1)


class Crash(BaseException):
    """The process ends at this moment."""


def crash(_request: Request, _response: Response | None) -> None:
    raise Crash


@pytest.mark.parametrize(("kind", "made"), [(FaultKind.HOOK_BEFORE, 0), (FaultKind.HOOK_AFTER, 1)])
def test_hook_may_end_caller_in_process(site: Site, in_process: requests.Session, kind: FaultKind, made: int) -> None:
    faults_of(site.world).add(Fault(kind, hook=crash))
    header = {"Authorization": site.basic}
    with pytest.raises(Crash):
        in_process.post(BASE + KEYS, json={"name": "x"}, headers=header, timeout=5)
    assert len(site.world.keys()) == made
    assert (site.world.calls[-1].status, site.world.calls[-1].effect) == (None, bool(made))


def test_raising_hook_ends_http_connection(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    faults_of(site.world).add(Fault(FaultKind.HOOK_BEFORE, hook=crash))
    with pytest.raises(requests.ConnectionError):
        site.create()
    site.server.stop()
    assert capfd.readouterr() == ("", "")


def test_hooks_see_request_and_answer(site: Site) -> None:
    seen: list[tuple[str, int | None]] = []

    def note(request: Request, response: Response | None) -> None:
        seen.append((request.method, None if response is None else response.status))

    faults_of(site.world).add(Fault(FaultKind.HOOK_BEFORE, hook=note))
    faults_of(site.world).add(Fault(FaultKind.HOOK_AFTER, hook=note))
    site.create()
    assert seen == [("POST", None), ("POST", 200)]
