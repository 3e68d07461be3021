"""Events for consumers: the same fields in each, one for every change, and none that matters is lost to a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy, Target
from rotator.engine.emergency.leak_intake import revoke_each
from rotator.engine.rollback import rollback
from rotator.errors import StoreUnavailable
from rotator.infobip.client import InfobipClient
from rotator.leaks import Leak, Place
from rotator.sandbox.state import Options
from rotator.telemetry.consumer_events import DETAIL_FIELDS
from tests.emergencies import CREATE, UPDATE, EmergencyWorld, Killed, leaked
from tests.support.faulty_infobip import FaultKind
from tests.world import DAY, HOUR, NAME

LIST = ("GET", "api-keys")


def published(world: EmergencyWorld) -> list[tuple[str, dict[str, Any]]]:
    """What was sent since the last call; every event has every field."""
    sent, world.events.sent = world.events.sent, []
    for kind, detail in sent:
        assert {*DETAIL_FIELDS} <= {*detail}, kind
        assert detail["account"] or kind == "Rotation Failed"
    return [(kind, dict(detail)) for kind, detail in sent]


def arn(world: EmergencyWorld, name: str = NAME) -> str:
    return world.store.peek(name).arn


def raising(operation: str, error: BaseException) -> Callable[[str, str], None]:
    """A hook of the store: that call of Secrets Manager fails."""

    def hook(called: str, _name: str) -> None:
        if called == operation:
            raise error

    return hook


def killed_at(world: EmergencyWorld, operation: str, *, before: bool = False) -> None:
    """Let the next sweep be killed right after (or before) its first call of one kind at Secrets Manager."""
    kill = raising(operation, Killed())
    world.store.before, world.store.after = (kill, None) if before else (None, kill)
    with pytest.raises(Killed):
        world.sweep()
    world.store.before = world.store.after = None


def looking(world: EmergencyWorld, look: Callable[[], int]) -> list[int]:
    """What there is to see whenever an event is sent."""
    seen: list[int] = []
    send = world.events.send

    def sent(detail_type: str, detail: Mapping[str, Any]) -> None:
        seen.append(look())
        send(detail_type, detail)

    world.events.send = sent  # type: ignore[method-assign]
    return seen


def due() -> EmergencyWorld:
    world = EmergencyWorld()
    world.secret(NAME, left=5 * DAY)
    return world


def test_rotation() -> None:
    world = due()
    old = world.current_key(NAME)
    (before,) = world.labels(NAME)
    world.sweep()
    new = world.current_key(NAME)
    (after,) = world.labels(NAME).keys() - {before}
    common = {"account": "main", "secret": NAME, "secret_arn": arn(world), "reason": "expiring", "incident": None}
    revoke_at = (world.clock.now() + 72 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert published(world) == [
        ("API Key Rotated", {**common, "version_id": after, "key_id": new.id}),
        ("API Key Retired", {**common, "version_id": before, "key_id": old.id, "revoke_at": revoke_at}),
    ]
    world.pass_time(72 * HOUR)
    world.sweep()
    done = {"version_id": before, "key_id": old.id, "reason": "grace-over"}
    assert published(world) == [("API Key Revoked", {**common, **done})]


@pytest.mark.parametrize("moment", ["promote", "add_label"])
def test_killed_before_retire_label(moment: str) -> None:
    world = due()
    world.secret("prod/other")
    killed_at(world, moment, before=moment == "add_label")
    world.sweep()
    new = world.current_key(NAME)
    rotated = [detail for kind, detail in published(world) if kind == "API Key Rotated"]
    assert {detail["key_id"] for detail in rotated} == {new.id}
    assert {detail["secret_arn"] for detail in rotated} == {arn(world)}
    world.sweep()
    assert published(world) == []


def test_missing_retire_label_published_once() -> None:
    world = due()
    killed_at(world, "promote")
    world.store.before = raising("add_label", StoreUnavailable("no"))
    world.sweep()
    world.sweep()
    assert "API Key Rotated" not in [kind for kind, _ in published(world)]


def test_revoked_orphan_is_published() -> None:
    world = EmergencyWorld(options=Options(reveal=False))
    world.secret(NAME, left=5 * DAY)

    def kill(_request: object, _answer: object) -> None:
        raise Killed

    world.fault(FaultKind.HOOK_AFTER, CREATE, hook=kill)
    with pytest.raises(Killed):
        world.sweep()
    world.infobip.faults.clear()
    assert published(world) == []
    world.pass_time(timedelta(minutes=31))
    world.sweep()
    ended = [detail for kind, detail in published(world) if kind == "API Key Revoked"]
    (line,) = world.events_named("key.orphan_found")
    assert [(one["key_id"], one["reason"]) for one in ended] == [(line["key_id"], "orphan")]
    assert ended[0]["secret_arn"] == arn(world)
    assert ended[0]["version_id"] == line["version_id"]


def test_rejected_replacement_is_published() -> None:
    world = due()
    world.fault(FaultKind.STATUS_BEFORE, ("GET", "balance"), status=401)
    world.sweep()
    kinds = published(world)
    assert [kind for kind, _ in kinds] == ["API Key Revoked", "Rotation Failed"]
    assert kinds[1][1]["error"].startswith("ReplacementRejected: ")
    (line,) = world.events_named("key.rejected", "failure")
    assert kinds[0][1]["key_id"] == line["key_id"]


@pytest.mark.parametrize("way", ["credentials", "no answer", "no management secret", "clock"])
def test_unswept_account_is_published(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = due()
    world.secret("other/sms", account="other")
    if way == "credentials":
        world.fault(FaultKind.STATUS_BEFORE, LIST, status=401)
    elif way == "no answer":
        world.fault(FaultKind.DROP_BEFORE, LIST)
    elif way == "no management secret":
        world.store.create_secret("third/sms", world.tags("third"), "{}")
    else:
        monkeypatch.setattr(InfobipClient, "skew", lambda _: HOUR)
    assert not world.sweep(dry_run=True).ok
    assert published(world) == []  # the function that does it has no right to
    done = world.sweep()
    broken = {plan.account: plan.error for plan in done.plan.accounts if plan.error is not None}
    assert broken
    failed = {detail["account"]: detail for kind, detail in published(world) if kind == "Rotation Failed"}
    assert {account: detail["error"] for account, detail in failed.items()} == broken
    reason = {"no management secret": "unknown-account", "clock": "clock-skew"}.get(way, "not-observed")
    assert {detail["reason"] for detail in failed.values()} == {reason}


def test_unlistable_secrets_are_published() -> None:
    world = due()
    world.store.before = raising("list_secrets", StoreUnavailable("Secrets Manager is away"))
    with pytest.raises(StoreUnavailable):
        world.sweep(account="main")
    ((kind, detail),) = published(world)
    assert (kind, detail["account"]) == ("Rotation Failed", "main")
    assert "Secrets Manager is away" in detail["error"]


def test_emergency(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    published(world)
    (version,) = [v for v, labels in world.labels(NAME).items() if "AWSCURRENT" in labels]
    report = world.revoke(incident="INC-1")
    common = {"account": "main", "secret": NAME, "secret_arn": arn(world), "incident": "INC-1"}
    sent = published(world)
    assert [kind for kind, _ in sent] == ["API Key Rotated", *["API Key Revoked"] * 2, "Emergency Revocation"]
    assert all(common.items() <= detail.items() for _, detail in sent)
    assert {detail["reason"] for _, detail in sent} == {"pasted in a ticket"}
    last = sent[-1][1]
    assert (last["version_id"], last["key_id"], last["error"]) == (version, current.id, None)
    assert (last["outcome"], last["replaced"], last["revoked"]) == ("success", [NAME], list(report.revoked))
    assert {*last["revoked"]} == {current.id, old.id}


def test_failed_emergency_replacement(world: EmergencyWorld) -> None:
    world.secret(NAME)
    world.fault(FaultKind.STATUS_BEFORE, CREATE, status=403)
    world.revoke()
    assert "Rotation Failed" in [kind for kind, _ in published(world)]


@pytest.mark.parametrize("by", ["secret", "key"])
def test_emergency_that_fails(world: EmergencyWorld, by: str) -> None:
    old, current = world.in_grace()
    published(world)
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=403)
    named = old if by == "key" else current
    target = {"key_id": old.id, "account": "main"} if by == "key" else {"secret": NAME}
    report = world.revoke(Strategy.REVOKE_ONLY, incident="INC-1", **target)
    assert not report.ok
    kind, detail = published(world)[-1]
    assert (kind, detail["outcome"], detail["key_id"]) == ("Emergency Revocation", "failure", named.id)
    assert detail["secret_arn"] == arn(world)
    assert detail["error"] == "; ".join(report.errors)


def test_no_event_before_last_revocation(world: EmergencyWorld) -> None:
    world.in_grace()
    published(world)
    alive = looking(world, lambda: len(world.live()) - 1)  # but for the new current one
    assert world.revoke().ok
    assert alive == [0, 0, 0, 0]


def test_leaked_keys_wait_for_no_event(world: EmergencyWorld) -> None:
    keys = [world.secret(f"prod/{number}") for number in range(3)]
    alive = looking(world, lambda: sum(world.infobip.authenticates(key.value) for key in keys))
    leaks = [Leak(leaked(key), (Place(number, f"file {number}"),)) for number, key in enumerate(keys)]
    results = list(revoke_each(world.emergency(), leaks, Strategy.REPLACE_FIRST))
    assert [str(result.outcome) for result in results] == ["revoked"] * 3
    assert len(alive) == 9
    assert {*alive} == {0}


def test_killed_emergency_publishes_work(world: EmergencyWorld) -> None:
    world.in_grace()
    published(world)
    command = world.emergency()
    plan = command.plan(Target(secret=NAME), Strategy.REPLACE_FIRST)
    world.store.after = raising("describe", Killed())
    with pytest.raises(Killed):
        command.execute(plan)
    assert next(kind for kind, _ in published(world)) == "API Key Rotated"


def test_rollback(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    published(world)
    rollback(world.services(), NAME, "a scope is missing")
    (kind, detail), (other, retired) = published(world)
    assert (kind, detail["key_id"], detail["rolled_back_from"]) == ("API Key Rotated", old.id, current.id)
    assert (other, retired["key_id"], retired["reason"]) == ("API Key Retired", current.id, "a scope is missing")
