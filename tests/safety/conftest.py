"""A fresh Infobip, an empty Secrets Manager and the same first moment for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.server import InfobipServer
from tests.near_clock import near_clock
from tests.safety.aws_answers import AwsAnswers, aws_answers
from tests.safety.harness import MachineClock, Region, System
from tests.support.engine import Engine
from tests.support.faulty_infobip import FaultyInfobip
from tests.support.moto import Moto
from tests.support.rotator import Rotator


@pytest.fixture(scope="package")
def answers(moto: Moto) -> Iterator[AwsAnswers]:
    with aws_answers() as found:
        yield found


@pytest.fixture
def system(moto: Moto, answers: AwsAnswers) -> Iterator[System]:
    """One Infobip without accounts, and AWS without secrets."""
    clock = VirtualClock()
    answers.reset()
    infobip, machine = FaultyInfobip(clock), MachineClock(clock)
    with moto.emptied(clock), InfobipServer(infobip) as server, near_clock(machine):
        yield System(infobip, server.url, clock, machine, moto, answers)


@pytest.fixture
def region(system: System) -> Region:
    """A region with one account, ``main``."""
    region = system.region()
    region.account()
    return region


@pytest.fixture(params=["engine", pytest.param("command", marks=pytest.mark.slow)])
def rotator(request: pytest.FixtureRequest) -> Rotator:
    """With one account, ``main``: the engine in memory, then the command line in a region."""
    made: Rotator = request.getfixturevalue("region") if request.param == "command" else Engine()
    if request.param == "engine":
        made.account()
    return made


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
