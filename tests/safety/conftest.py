"""One moto server for these tests; a fresh Infobip, an empty Secrets Manager and the same first moment for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotator.sandbox.aws import MotoServer
from rotator.sandbox.clocks import DEFAULT_START, VirtualClock
from rotator.sandbox.server import InfobipServer
from tests.near_clock import near_clock
from tests.safety.aws_answers import AwsAnswers, aws_answers
from tests.safety.harness import MACHINE, MachineClock, Region, System
from tests.support.faulty_infobip import FaultyInfobip


@pytest.fixture(scope="package")
def aws() -> Iterator[tuple[MotoServer, AwsAnswers, VirtualClock]]:
    clock = VirtualClock()
    with MotoServer(clock) as moto, aws_answers() as answers:
        yield moto, answers, clock


@pytest.fixture
def system(aws: tuple[MotoServer, AwsAnswers, VirtualClock]) -> Iterator[System]:
    """One Infobip without accounts, and AWS without secrets."""
    moto, answers, clock = aws
    clock.set(DEFAULT_START)
    moto.reset()
    answers.reset()
    infobip, machine = FaultyInfobip(clock), MachineClock(clock)
    with InfobipServer(infobip) as server, near_clock(MACHINE, machine):
        yield System(infobip, server.url, clock, machine, moto.url, answers)


@pytest.fixture
def region(system: System) -> Region:
    """A region with one management secret, of the account ``main``."""
    _account, user = system.account()
    region = system.region()
    region.management(user)
    return region


@pytest.fixture
def other_region(system: System, region: Region) -> Region:
    """Another region, with a management secret of the same name for the same Infobip account."""
    other = system.region("eu-west-1")
    other.management(next(iter(system.infobip.state.users.values())))
    return other


@pytest.fixture
def other_infobip(system: System) -> Iterator[InfobipServer]:
    """Another Infobip account, on a host of its own, without keys."""
    with InfobipServer(FaultyInfobip(system.clock, seed=2)) as server:
        yield server
