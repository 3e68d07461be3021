from __future__ import annotations

import http.client
import threading
from collections import Counter
from urllib.parse import urlsplit

import pytest
import requests

from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from tests.sandbox.conftest import KEYS, Site
from tests.support.faulty_infobip import Fault, FaultKind, faults_of


def test_connection_serves_many_requests(site: Site) -> None:
    connection = http.client.HTTPConnection(urlsplit(site.server.url).netloc, timeout=10)
    connection.connect()
    own_port = connection.sock.getsockname()[1]
    for _ in range(3):
        connection.request("GET", KEYS)
        assert connection.getresponse().read()
        assert connection.sock.getsockname()[1] == own_port
    connection.close()


def test_no_two_keys_are_made_from_one_quota(site: Site) -> None:
    site.world.options.daily_creates = 10
    statuses: list[int] = []
    start = threading.Barrier(8)

    def create() -> None:
        with requests.Session() as session:
            start.wait()
            for _ in range(4):
                header = {"Authorization": site.basic}
                answer = session.post(site.server.url + KEYS, json={"name": "x"}, headers=header, timeout=30)
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(statuses) == {200: 10, 429: 22}
    assert len({key.value for key in site.world.keys()}) == 10


def test_server_returns_at_same_address(site: Site) -> None:
    url = site.server.url
    site.create()
    with site.server.refused(), pytest.raises(requests.ConnectionError):
        site.create()
    assert site.server.url == url
    site.create()
    assert len(site.world.keys()) == 2


def test_stopping_ends_requests_that_hang(site: Site) -> None:
    reached = threading.Event()
    errors: list[str] = []
    faults_of(site.world).add(Fault(FaultKind.HOOK_BEFORE, hook=lambda _q, _a: reached.set()))
    faults_of(site.world).add(Fault(FaultKind.HANG_BEFORE))

    def ask() -> None:
        try:
            requests.get(site.server.url + KEYS, timeout=60)
        except requests.RequestException as e:
            errors.append(type(e).__name__)

    thread = threading.Thread(target=ask)
    thread.start()
    assert reached.wait(10)
    site.server.stop()
    thread.join(10)
    assert errors == ["ConnectionError"]
    site.server.stop()  # twice does no harm


def test_it_writes_nothing_and_logs_no_value(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    made = site.create()
    site.call("GET", KEYS, params={"apiKeySecret": made["apiKeySecret"]})
    assert capfd.readouterr() == ("", "")
    call = site.world.calls[-1]
    assert (call.method, call.path, call.status, call.principal, call.params) == (
        "GET",
        KEYS,
        200,
        "basic:ops",
        ("apiKeySecret",),
    )
    shown = repr((site.world.calls, site.world.keys(), site.user, list(site.world.state.sessions.values())))
    assert made["apiKeySecret"] not in shown
    assert site.user.password not in shown
    request = Request("GET", KEYS, {"apiKeySecret": "v4lue"}, {"authorization": "App v4lue"}, b"v4lue")
    assert "v4lue" not in repr((request, Response(200, body=b"v4lue")))


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "x"}, {"Content-Length": "1000001"}, {"Transfer-Encoding": "chunked"}]
)
def test_unmeasured_body_is_refused(site: Site, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(site.server.url).netloc, timeout=10)
    connection.putrequest("POST", KEYS)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_observers_error_is_raised_at_end() -> None:
    world = InfobipWorld(VirtualClock())

    def complain(_request: Request, response: Response) -> None:
        assert response.status == 200, "not what was wanted"

    world.observers.append(complain)
    with (
        pytest.raises(ExceptionGroup, match="observers") as caught,
        InfobipServer(world) as server,
    ):
        assert requests.get(server.url + KEYS, timeout=10).status_code == 401
    assert "not what was wanted" in str(caught.value.exceptions[0])
    world.check()
    world.failures.append(ValueError("an observer's"))
    with pytest.raises(KeyError, match="the test's"), InfobipServer(world):
        raise KeyError("the test's")  # an error on its way is not hidden by an observer's


def test_mistake_of_simulation_is_seen(site: Site) -> None:
    site.world.options.resources = None  # type: ignore[assignment]  # provokes a mistake inside
    answer = site.call("GET", "/account/1/balance")
    assert answer.status_code == 500
    with pytest.raises(ExceptionGroup):
        site.world.check()
