"""How far our wall clock is off Infobip's: judged by every answer, and right now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from rotator.errors import MissingRole
from rotator.infobip.client import InfobipClient
from rotator.sandbox.clocks import OffsetClock, VirtualClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.secret import Secret
from tests.infobip.answers import KEY_VALUE, key
from tests.infobip.clients import PASSWORD, USER, client_for
from tests.infobip.fake_server import FakeServer, reply
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

ZERO = timedelta(0)


class Pair:
    """Infobip's clock, ours, and a client; ours can be wrong."""

    def __init__(self, server: InfobipServer, world: InfobipWorld, true: VirtualClock) -> None:
        self.world, self.true, self.ours = world, true, OffsetClock(true)
        self.client: InfobipClient = client_for(server.url, self.ours)


@pytest.fixture
def pair() -> Iterator[Pair]:
    true = VirtualClock()
    world = InfobipWorld(true)
    world.add_user(world.add_account(), USER, PASSWORD)
    with InfobipServer(world) as server:
        pair = Pair(server, world, true)
        yield pair
        pair.client.close()


@pytest.mark.parametrize("step", [timedelta(hours=72), timedelta(minutes=-10), timedelta(seconds=2)])
def test_clock_step_shows_at_once(pair: Pair, step: timedelta) -> None:
    pair.client.count_keys()
    pair.true.advance(timedelta(minutes=5))
    assert pair.client.skew() == ZERO
    pair.ours.set(pair.ours.now() + step)
    assert pair.client.skew() == -step
    pair.true.advance(timedelta(hours=1))
    assert pair.client.skew() == -step
    pair.client.count_keys()
    assert pair.client.skew() == -step
    pair.ours.set(pair.true.now())
    assert pair.client.skew() == ZERO


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.999999])
def test_rounding_and_time_are_no_skew(pair: Pair, fraction: float) -> None:
    pair.true.advance(timedelta(seconds=fraction))
    pair.client.count_keys()
    assert pair.client.skew() == ZERO
    pair.true.advance(timedelta(days=400, microseconds=123457))
    assert pair.client.skew() == ZERO


def test_skew_beyond_rounding_shows(pair: Pair) -> None:
    pair.true.advance(timedelta(seconds=0.5))
    for ours, skew in ((timedelta(seconds=-0.75), 0.25), (timedelta(seconds=0.5), -1.0)):
        pair.ours.set(pair.true.now() + ours)
        pair.client.count_keys()
        assert pair.client.skew() == timedelta(seconds=skew)


def test_answer_that_took_long_is_no_skew(pair: Pair) -> None:
    faults_of(pair.world).add(Fault(FaultKind.DELAY, seconds=9))
    pair.client.count_keys()
    assert pair.client.skew() == ZERO


def test_every_answer_counts_refusal_too(pair: Pair) -> None:
    pair.client.count_keys()
    pair.ours.set(pair.ours.now() - timedelta(hours=1))
    faults_of(pair.world).add(Fault(FaultKind.STATUS_BEFORE, status=403))
    with pytest.raises(MissingRole):
        pair.client.count_keys()
    assert pair.client.skew() == timedelta(hours=1)


def test_answer_without_date_keeps_skew() -> None:
    dated = reply(200, key(), Date="Tue, 01 Sep 2026 10:00:07 GMT")
    with FakeServer([dated, reply(200, key(), Date="soon"), reply(200, key())]) as server:
        client = client_for(server.url)
        for _ in range(3):
            client.get_key("K1")
            assert client.skew() == timedelta(seconds=7)


def test_servers_wrong_date_counts(pair: Pair) -> None:
    faults_of(pair.world).add(Fault(FaultKind.DATE, seconds=-90))
    pair.client.count_keys()
    assert pair.client.skew() == timedelta(seconds=-90)
    pair.client.count_keys()
    assert pair.client.skew() == ZERO


def test_probe_does_not_set_skew() -> None:
    with FakeServer([reply(200, Date="Tue, 01 Sep 2026 10:00:07 GMT")]) as server:
        client = client_for(server.url)
        client.probe(Secret(KEY_VALUE), "/")
        assert client.skew() is None
