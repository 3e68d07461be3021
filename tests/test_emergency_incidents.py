"""An incident's name is a retry for 24 hours by Infobip's clock; afterwards it is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.errors import Refused
from rotator.sandbox.state import SimKey
from tests.emergencies import REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY, UPDATE, EmergencyWorld
from tests.support.faulty_infobip import FaultKind
from tests.world import DAY, HOUR, NAME

MINUTE = timedelta(minutes=1)
REPLACING = [REPLACE_FIRST, REVOKE_FIRST]


def revoked(world: EmergencyWorld, incident: str, strategy: Strategy = REPLACE_FIRST) -> tuple[str, ...]:
    """The keys that the command revokes."""
    report = world.revoke(strategy, incident=incident)
    assert report.ok, report.errors
    return report.revoked


def left_enabled(world: EmergencyWorld) -> SimKey:
    """The old key, which INC-1 replaced and could not revoke."""
    old = world.secret(NAME)
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=500)
    assert world.revoke(incident="INC-1").replaced == (NAME,)
    world.infobip.faults.clear()
    return old


def assert_refused(world: EmergencyWorld, *facts: str, strategy: Strategy = REPLACE_FIRST) -> None:
    before = world.labels(NAME), world.infobip.keys()
    with pytest.raises(Refused) as caught:
        world.revoke(strategy, incident="INC-1")
    assert [fact for fact in ("INC-1", "24 hours", *facts) if fact not in str(caught.value)] == []
    assert (world.labels(NAME), world.infobip.keys()) == before


@pytest.mark.parametrize("strategy", REPLACING)
def test_retry_in_day_makes_no_second_key(world: EmergencyWorld, strategy: Strategy) -> None:
    world.secret(NAME)
    revoked(world, "INC-1", strategy)
    made = world.current_key(NAME)
    world.pass_time(DAY - 2 * MINUTE)
    assert revoked(world, "INC-1", strategy) == ()
    assert world.current_key(NAME) == made


@pytest.mark.parametrize("strategy", REPLACING)
def test_after_24_hours_name_is_refused(world: EmergencyWorld, strategy: Strategy) -> None:
    """Both ways out end the current key: another name, and the key's id, which works with the old name."""
    world.secret(NAME)
    revoked(world, "INC-1")
    made = world.current_key(NAME)
    world.pass_time(DAY + MINUTE)
    assert_refused(world, made.id, strategy=strategy)
    assert revoked(world, "INC-2", strategy) == (made.id,)
    again = world.current_key(NAME)
    assert world.revoke(strategy, incident="INC-1", key_id=again.id, account="main").revoked == (again.id,)
    assert world.consumer_works(NAME)


def test_rotated_key_still_dates_incident(world: EmergencyWorld) -> None:
    """INC-1's key is revoked: its version is ``AWSPREVIOUS``."""
    world.secret(NAME)
    revoked(world, "INC-1")
    made = world.current_version(NAME)
    revoked(world, "INC-2")
    assert "AWSPREVIOUS" in world.labels(NAME)[made]
    assert revoked(world, "INC-1") == ()
    world.pass_time(25 * HOUR)
    assert_refused(world)


def test_name_without_trace_is_new_incident(world: EmergencyWorld) -> None:
    world.secret(NAME)
    for incident in ("INC-1", "INC-2", "INC-3"):
        revoked(world, incident)
    made = world.current_key(NAME)
    world.pass_time(25 * HOUR)
    assert revoked(world, "INC-1") == (made.id,)
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("renamed", [True, False])
def test_missing_key_is_dated_by_version(world: EmergencyWorld, renamed: bool, late: bool) -> None:
    """Or Infobip can't be asked."""
    old = left_enabled(world)
    made = world.current_key(NAME)
    if renamed:
        world.infobip.change_key(made.id, name="renamed in the portal")
    else:
        world.fault(FaultKind.STATUS_BEFORE, ("GET", "api-keys$"), status=400)
    if late:
        world.pass_time(25 * HOUR)
        assert_refused(world)
    else:
        assert revoked(world, "INC-1") == (old.id,)
        assert world.current_key(NAME).id == made.id


def test_unrevoked_is_left_after_24_hours(world: EmergencyWorld) -> None:
    """But a named key is never protected."""
    old = left_enabled(world)
    world.pass_time(25 * HOUR)
    assert_refused(world)
    assert world.revoke(incident="INC-1", key_id=old.id, account="main").revoked == (old.id,)


@pytest.mark.parametrize("incident", ["INC-1", "INC-2"])
def test_revoke_only_takes_current_key(world: EmergencyWorld, incident: str) -> None:
    """It makes no key that would date the name; who asks for it gets it, even of the key that the incident made."""
    key = world.secret(NAME)
    assert [revoked(world, "INC-2", REVOKE_ONLY) for _ in range(2)] == [(key.id,), ()]
    revoked(world, "INC-1")
    made = world.current_key(NAME)
    assert made.id in revoked(world, incident, REVOKE_ONLY)
    assert not world.consumer_works(NAME)
