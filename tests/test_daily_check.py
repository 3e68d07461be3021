"""The daily verification of values: one that is not its label's key is found in a day, at few calls."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import Sweep
from rotator.errors import RotatorError
from rotator.model import Policy
from rotator.plan import Alert, Outcome
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import Options
from tests.chaos.faults import AWS_FAULTS, HTTP_FAULTS, AwsFault, HttpFault, Kill, armed
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, KEY, PLAIN, World

KEYS = r"^/settings/2/api-keys$"


def hourly(world: World, count: int = 24) -> list[Sweep]:
    """A day's sweeps, or fewer."""
    done = []
    for _ in range(count):
        world.pass_time(HOUR)
        done.append(world.sweep())
    return done


def day_of(world: World, found: list[Sweep]) -> tuple[list[tuple[Any, ...]], list[Alert]]:
    """What sweeps did to labels, and what they say of the verification."""
    results = [(r.action.secret, r.action.reason, r.outcome) for sweep in found for r in sweep.results]
    kinds = (Reason.UNPROVEN_LABEL, Reason.UNREADABLE)
    return results, [a for sweep in found for plan in sweep.plan.accounts for a in plan.alerts if a.kind in kinds]


def searches(world: World) -> int:
    """Searches by value, with those by which a client finds out once a sweep that Infobip filters by value."""
    return sum("apiKeySecret" in call.params for call in world.infobip.calls)


def reads(world: World) -> Counter[str]:
    """How often AWS was asked for values, by operation; the management secret apart."""
    return Counter(op for op, name in world.store.calls if op.startswith("read_") and "rotator/" not in name)


def masked() -> Options:
    return Options(reveal=False)


def labels_of(world: World, name: str) -> set[str]:
    return {label for labels in world.labels(name).values() for label in labels if label.startswith("rotator:key:")}


@pytest.mark.parametrize("reveal", [True, False])
def test_right_labels_are_read_once_daily(reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    for number in range(30):
        world.secret(f"prod/{number}", value=PLAIN if number % 3 == 0 else KEY)
    world.sweep()
    world.store.calls.clear()
    world.infobip.calls.clear()
    found = hourly(world)
    assert day_of(world, found) == ([], [])
    assert searches(world) == (0 if reveal else 30 + reads(world)["read_many"])
    assert set(reads(world)) == {"read_many"}
    assert reads(world)["read_many"] <= 24


def edit_field(world: World, text: str = "not a key", name: str = "prod/sms") -> None:
    """Somebody overwrites the key in the stored version: a new version, and the label is moved along."""
    key = world.first_keys[name]
    old = world.version_of(name, key)
    new = world.store.put_value_by_hand(name, json.dumps({"api_key": text}), world.new_id())
    world.store.label_by_hand(name, f"rotator:key:{key.id}", new, old)


def empty_answer(_: Request, answer: Response | None) -> None:
    if answer is not None and answer.status == 200:
        body = {"apiKeys": [], "paging": {"page": 0, "size": 100, "totalPages": 0, "totalCount": 0}}
        object.__setattr__(answer, "body", json.dumps(body).encode())


def test_masked_search_without_key() -> None:
    world = World(options=masked())
    for number in range(5):
        world.secret(f"prod/{number}")
    before = [world.labels(f"prod/{number}") for number in range(5)]
    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, "GET", KEYS, "apiKeySecret", count=None, hook=empty_answer))
    results, alerts = day_of(world, hourly(world))
    assert results == []
    assert {a.kind for a in alerts} == {Reason.UNREADABLE}
    assert [world.labels(f"prod/{number}") for number in range(5)] == before


def test_only_masked_secret_is_verified() -> None:
    world = World(options=masked())
    world.secret("prod/sms")
    edit_field(world)
    results, _ = day_of(world, hourly(world))
    assert results == [("prod/sms", Reason.MISLABELLED, Outcome.DONE)]


def test_held_secret_keeps_its_label() -> None:
    world = World()
    world.secret("prod/sms", hold="freeze")
    edit_field(world)
    before = world.labels("prod/sms")
    results, alerts = day_of(world, hourly(world))
    assert results == []
    assert [(a.kind, a.secret) for a in alerts] == [(Reason.UNPROVEN_LABEL, "prod/sms")]
    assert alerts[0].message.values["reason"] is Reason.HOLD
    assert world.labels("prod/sms") == before


@pytest.mark.parametrize("options", [{"dry_run": True}, {"secret": "prod/sms"}])
def test_dry_run_verifies_nothing(options: dict[str, Any]) -> None:
    world = World()
    world.secret("prod/sms")
    edit_field(world)
    before = world.labels("prod/sms")
    for _ in range(24):
        world.pass_time(HOUR)
        world.sweep(**options)
        world.reconciler().plan()
    assert world.labels("prod/sms") == before
    assert reads(world) == Counter()


@pytest.mark.slow
@pytest.mark.parametrize("reveal", [True, False])
def test_hourly_idle_sweep_is_cheap(reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    for number in range(1000):
        world.secret(f"prod/{number:04}", left=300 * DAY, lifetime=365 * DAY)
    asked = []
    for _ in range(24):
        world.pass_time(HOUR)
        world.store.calls.clear()
        world.infobip.calls.clear()
        begun = world.clock.monotonic()
        world.sweep()
        asked.append((reads(world)["read_many"], searches(world)))
        assert searches(world) <= 10 * (world.clock.monotonic() - begun) + 2.1
    assert max(batches for batches, _ in asked) <= 5
    assert max(found for _, found in asked) <= (0 if reveal else 65)
    # The sweeps themselves take time, so that the last one is a minute into the next day.
    assert reveal or 1000 + 24 <= sum(found for _, found in asked) <= 1000 + 24 + 3


def test_nothing_begins_when_process_ends() -> None:
    world = World()
    world.secret("prod/sms")
    edit_field(world)
    before = world.labels("prod/sms")
    alerts = []
    for _ in range(24):
        world.pass_time(HOUR)
        services = world.services()
        services.may_start = lambda: False
        alerts += day_of(world, [Reconciler(services).sweep()])[1]
    assert reads(world) == Counter()
    assert world.labels("prod/sms") == before
    assert [a.kind for a in alerts] == [Reason.UNREADABLE]


def test_slow_search_ends_verification() -> None:
    world = World(options=masked())
    for number in range(60):
        world.secret(f"prod/{number:04}")

    def slow(_: Request, __: Response | None) -> None:
        world.clock.advance(timedelta(seconds=5))

    world.infobip.faults.add(Fault(FaultKind.HOOK_BEFORE, "GET", KEYS, "apiKeySecret", count=None, hook=slow))
    world.policy = Policy(sweep_every=DAY)
    begun = world.clock.monotonic()
    _, alerts = day_of(world, [world.sweep()])
    assert world.clock.monotonic() - begun <= 130
    assert alerts[0].kind is Reason.UNREADABLE
    assert alerts[0].count >= 30


def test_late_daemon_sweep_verifies_due() -> None:
    world = World()
    world.secret("prod/sms")
    edit_field(world)
    services = world.services()
    services.previous = world.clock.now()
    world.pass_time(DAY - HOUR / 60)
    results = [r.action.reason for r in Reconciler(services).sweep().results]
    world.pass_time(HOUR / 60)
    results += [r.action.reason for r in world.sweep().results]
    assert results == [Reason.MISLABELLED]


def test_rotation_in_sweep_is_no_difference() -> None:
    world = World(policy=Policy(sweep_every=DAY))
    world.secret("prod/sms", left=20 * DAY)
    results, alerts = day_of(world, [world.sweep()])
    assert [reason for _, reason, _ in results] == [Reason.EXPIRING]
    assert alerts == []


# ---- interrupted at each call -------------------------------------------------------------------------------------


def two_wrong() -> World:
    """One secret's label names another key, one secret's value is no key, and one is as it should be."""
    world = World(options=masked(), policy=Policy(sweep_every=DAY))
    sms = world.secret("prod/sms")
    world.secret("prod/voice")
    world.secret("prod/fine")
    spare = world.infobip.add_key(world.accounts["main"], "spare")
    version = world.version_of("prod/sms", sms)
    world.store.label_by_hand("prod/sms", f"rotator:key:{sms.id}", None, version)
    world.store.label_by_hand("prod/sms", f"rotator:key:{spare.id}", version)
    edit_field(world, name="prod/voice")
    return world


def calls_of_one_sweep() -> tuple[int, int]:
    world = two_wrong()
    world.store.calls.clear()
    world.infobip.calls.clear()
    world.sweep()
    return len(world.store.calls), len(world.infobip.calls)


AT_AWS, AT_INFOBIP = calls_of_one_sweep()
GONE = "ResourceNotFoundException"
"""The secret, says AWS, does not exist. At the removal of a label that is no error."""
FAULTS: list[tuple[AwsFault | HttpFault, int, bool]] = [
    *((fault, number, False) for fault in AWS_FAULTS if fault.name != GONE for number in range(AT_AWS)),
    *((fault, number, True) for fault in HTTP_FAULTS for number in range(AT_INFOBIP)),
]


@pytest.mark.parametrize("kind", sorted({fault.name for fault, _, _ in FAULTS}))
def test_fault_at_any_call_only_delays(kind: str) -> None:
    for fault, number, infobip in FAULTS:
        if fault.name != kind:
            continue
        world = two_wrong()
        sms, fine = world.first_keys["prod/sms"], world.first_keys["prod/fine"]
        before = labels_of(world, "prod/sms"), labels_of(world, "prod/voice")
        with armed(world, fault, number, infobip=infobip), contextlib.suppress(Kill, RotatorError):
            world.sweep()
        where = f"{kind} at call {number} of {'Infobip' if infobip else 'AWS'}"
        assert labels_of(world, "prod/sms") in (before[0], set(), {f"rotator:key:{sms.id}"}), where
        assert labels_of(world, "prod/voice") in (before[1], set()), where
        assert labels_of(world, "prod/fine") == {f"rotator:key:{fine.id}"}, where
        for _ in range(2):
            world.pass_time(DAY)
            world.sweep()
        assert labels_of(world, "prod/sms") == {f"rotator:key:{sms.id}"}, where
        assert labels_of(world, "prod/voice") == set(), where
        assert labels_of(world, "prod/fine") == {f"rotator:key:{fine.id}"}, where
        assert all(key.enabled for key in world.infobip.keys()), where


def test_promotion_between_looks_keeps_label() -> None:
    """Another process rotates the secret after the first look: what was read is not what is current now."""
    world = World(policy=Policy(sweep_every=DAY))
    world.secret("prod/sms")
    edit_field(world)
    new = world.infobip.add_key(world.accounts["main"], "new")

    def promote(operation: str, name: str) -> None:
        if (operation, name) == ("read_version", "prod/sms"):
            world.store.before = None
            world.put("prod/sms", {"api_key": new.value}, ["AWSCURRENT", f"rotator:key:{new.id}"])

    world.store.before = promote
    world.sweep()
    assert f"rotator:key:{new.id}" in labels_of(world, "prod/sms")


@pytest.mark.parametrize(("status", "corrected"), [(429, []), (403, ["prod/voice"])])
def test_failed_search_keeps_label(status: int, corrected: list[str]) -> None:
    """A second one alone does not decide. One that is about a single value stops no other; a throttled account does."""
    world = World(options=masked(), policy=Policy(sweep_every=DAY))
    for name in ("prod/sms", "prod/voice", "prod/fine"):
        world.secret(name)
    edit_field(world, "one", "prod/sms")
    edit_field(world, "two", "prod/voice")
    of_sms = Fault(
        FaultKind.STATUS_BEFORE,
        status=status,
        when=lambda asked: asked.query.get("apiKeySecret") == "one",
        count=None if status == 429 else 1,  # it is retried
    )
    world.infobip.faults.add(of_sms)
    results, alerts = day_of(world, [world.sweep()])
    assert [secret for secret, *_ in results] == corrected
    assert "prod/sms" in str(next(a for a in alerts if a.kind is Reason.UNREADABLE).message.values["names"])


@pytest.mark.parametrize("reveal", [True, False])
def test_late_listing_is_no_difference(reveal: bool) -> None:
    """The list, which is up to 5 minutes old, has another ``rotator:value-field``."""
    world = World(options=Options(reveal=reveal), policy=Policy(sweep_every=DAY))
    key = world.secret("prod/sms", extra={"other": "no key"})
    world.tag("prod/sms", value_field="other")

    def correct(operation: str, name: str) -> None:
        if operation == "describe":
            world.store.before = None
            world.tag("prod/sms", value_field="api_key")

    world.store.before = correct
    assert day_of(world, [world.sweep()]) == ([], [])
    assert labels_of(world, "prod/sms") == {f"rotator:key:{key.id}"}
    assert ("describe", "prod/sms") in world.store.calls
