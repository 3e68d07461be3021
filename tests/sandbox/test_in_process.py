from __future__ import annotations

import requests
from urllib3.util import Retry

from rotator.sandbox.state import MANAGE_ACCOUNT
from tests.doubles.in_process import InProcessAdapter
from tests.sandbox.conftest import BALANCE, BASE, KEYS, Site
from tests.support.faulty_infobip import Fault, FaultKind, faults_of


def test_same_answer_as_over_http(site: Site, in_process: requests.Session) -> None:
    key = site.world.add_key(site.account, scopes=[MANAGE_ACCOUNT])
    header = {"Authorization": f"App {key.value}"}
    here = in_process.get(BASE + BALANCE, headers=header, timeout=5)
    there = site.session.get(site.server.url + BALANCE, headers=header, timeout=5)
    assert (here.status_code, here.json(), dict(here.headers)) == (
        there.status_code,
        there.json(),
        dict(there.headers),
    )


def test_body_can_be_streamed(site: Site, in_process: requests.Session) -> None:
    header = {"Authorization": site.basic}
    with in_process.get(BASE + KEYS, headers=header, timeout=5, stream=True) as answer:
        assert answer.raw.read(13, decode_content=True) == b'{"apiKeys": ['
        assert len(b"".join(answer.iter_content(7))) == int(answer.headers["Content-Length"]) - 13


def test_retries_are_urllib3s(site: Site) -> None:
    retry = Retry(total=3, backoff_factor=0, status_forcelist=[503], allowed_methods=["GET"])
    session = requests.Session()
    session.mount("https://", InProcessAdapter(site.world, max_retries=retry))
    faults_of(site.world).add(Fault(FaultKind.DROP_BEFORE))
    faults_of(site.world).add(Fault(FaultKind.STATUS_BEFORE, status=503))
    assert session.get(BASE + BALANCE, timeout=5).status_code == 401
    assert [call.status for call in site.world.calls] == [None, 503, 401]
