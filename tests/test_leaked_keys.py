"""Leaked keys are revoked many at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.engine.emergency import Emergency, Strategy
from rotator.engine.emergency.leak_intake import LeakOutcome, LeakResult, revoke_each
from rotator.leaks import Leak, Place
from rotator.sandbox.exchange import Request
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from rotator.telemetry.audit import Trigger
from tests import leaks
from tests.emergencies import EmergencyWorld
from tests.support.faulty_infobip import FaultKind

FOREIGN = leaks.register("0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555")


def leak(value: str, position: int = 1) -> Leak:
    return Leak(Secret(value), (Place(position, "src/app.py", position),))


def go(
    world: EmergencyWorld,
    *keys: SimKey | str,
    confirmed: bool = True,
    incident: str | None = None,
    account: str | None = None,
) -> list[LeakResult]:
    values = [str(key.value) if isinstance(key, SimKey) else key for key in keys]
    emergency = Emergency(world.services(Trigger.EMERGENCY), "found by a scanner", incident)
    every = [leak(value, number) for number, value in enumerate(values, 1)]
    return list(revoke_each(emergency, every, Strategy.REPLACE_FIRST, account, dry_run=not confirmed))


def outcomes(results: list[LeakResult]) -> list[LeakOutcome]:
    return [result.outcome for result in results]


def two_secrets() -> tuple[EmergencyWorld, SimKey, SimKey]:
    world = EmergencyWorld()
    return world, world.secret("prod/a"), world.secret("prod/b", account="second")


def test_each_is_revoked_in_its_account() -> None:
    world, one, two = two_secrets()
    results = go(world, one, FOREIGN, two)
    assert outcomes(results) == [LeakOutcome.REVOKED, LeakOutcome.NOT_OURS, LeakOutcome.REVOKED]
    assert [result.key_id for result in results] == [one.id, None, two.id]
    assert [result.plan.account if result.plan else None for result in results] == ["main", None, "second"]
    assert not world.works(one, two)
    assert world.consumer_works("prod/a")
    assert world.consumer_works("prod/b")
    assert "main, second" in results[1].detail
    leaks.check(world.stream.getvalue(), "the audit")


@pytest.mark.parametrize("known", ["lower", "upper"])
def test_key_is_found_in_either_spelling(world: EmergencyWorld, known: str) -> None:
    key = world.infobip.add_key(world.account())
    value = leaks.register(getattr(key.value, known)())
    world.infobip.change_key(key.id, value=value)
    assert [result.key_id for result in go(world, leaks.register(value.upper()))] == [key.id]
    assert not world.works(key)


@pytest.mark.parametrize("confirmed", [True, False], ids=["done", "shown"])
@pytest.mark.parametrize("incident", [None, "INC-1"], ids=["no incident", "incident"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["old first", "current first"])
def test_two_keys_make_one_replacement(
    world: EmergencyWorld, order: tuple[int, int], incident: str | None, confirmed: bool
) -> None:
    pair = world.in_grace()
    before = len(world.infobip.keys())
    results = go(world, *(pair[place] for place in order), incident=incident, confirmed=confirmed)
    assert outcomes(results) == [LeakOutcome.REVOKED if confirmed else LeakOutcome.PLANNED] * 2
    assert len(world.infobip.keys()) == before + confirmed
    assert [world.works(key) for key in pair] == [not confirmed] * 2
    if confirmed:
        world.calm()


def test_one_that_fails_stops_no_other() -> None:
    world, one, two = two_secrets()
    broken = world.fault(FaultKind.STATUS_BEFORE, ("PUT", f"api-keys/{one.id}"), status=403)
    results = go(world, one, two, incident="INC-1")
    assert outcomes(results) == [LeakOutcome.FAILED, LeakOutcome.REVOKED]
    assert one.id in results[0].detail
    broken.count = 0
    # However late the command is repeated: a named key is always revoked.
    world.pass_time(timedelta(hours=25))
    again = go(world, one, two, incident="INC-1")
    assert outcomes(again) == [LeakOutcome.REVOKED, LeakOutcome.DISABLED]
    assert not world.works(one)


def test_silent_account_leaves_undecided() -> None:
    world, one, two = two_secrets()
    world.store.put_value_by_hand("rotator/second", '{"base_url": "https://sandbox.api.infobip.com"}')
    results = go(world, one, two)
    assert outcomes(results) == [LeakOutcome.REVOKED, LeakOutcome.FAILED]
    assert "second" in results[1].detail
    assert outcomes(go(world, FOREIGN, account="main")) == [LeakOutcome.NOT_OURS]


def test_values_go_to_own_infobip_alone() -> None:
    world, one, _ = two_secrets()
    asked: list[Request] = []
    before = len(world.infobip.calls)
    world.infobip.observers.append(lambda request, _answer: asked.append(request))
    go(world, one, FOREIGN, account="second", confirmed=False)
    users = {call.principal for call in world.infobip.calls[before:]}
    assert users == {"basic:ops-second"}
    assert all("apiKeySecret" in request.query for request in asked)
