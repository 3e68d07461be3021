"""``rotator:gate=adoption`` in sweeps: a revocation waits for consumers, reports it, and does not wait for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.answers import MAX_LOG_TIME
from rotator.engine.consumers import read_consumers
from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import Sweep
from rotator.errors import ReadersUnknown, Refused, SecretNotFound
from rotator.plan import ActionKind, Outcome
from rotator.policy.tags import InvalidTags
from rotator.reasons import Reason
from rotator.sandbox.state import SimKey
from tests.reader_log import LAG, MemoryLog, role
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
GRACE = 72 * HOUR
SECOND = timedelta(seconds=1)
DENIED = ReadersUnknown("cloudtrail:LookupEvents is denied")


def world_with(*, log: bool = True, gate: str | None = None) -> tuple[World, MemoryLog, SimKey]:
    """A secret that billing and sms read, then rotated."""
    world = World()
    readers = MemoryLog(world.clock)
    world.readers = readers if log else None
    old = world.secret(NAME, left=20 * DAY)
    if gate is not None:
        world.store.tag(NAME, {"rotator:gate": gate})
    readers.read(NAME, "billing", "sms")
    world.pass_time(HOUR)
    assert [result.outcome for result in world.sweep().results] == [Outcome.DONE]
    world.pass_time(HOUR)
    readers.read(NAME, "sms")
    return world, readers, old


def waits(sweep: Sweep) -> list[str]:
    (plan,) = sweep.plan.accounts
    assert sweep.results == ()
    assert {skip.reason for skip in plan.skipped} <= {Reason.WAITING_FOR_CONSUMERS}
    return [skip.detail for skip in plan.skipped]


def revoked(sweep: Sweep) -> bool:
    return [(r.action.kind, r.action.reason, r.outcome) for r in sweep.results] == [
        (ActionKind.REVOKE, Reason.GRACE_OVER, Outcome.DONE)
    ]


def test_revocation_waits_for_consumers() -> None:
    world, log, old = world_with(gate="adoption")
    world.pass_time(GRACE - HOUR - SECOND)
    assert waits(world.sweep()) == []  # its grace period: the log is not read
    assert log.asked == []
    world.pass_time(SECOND)
    (detail,) = waits(world.sweep())
    assert all(fact in detail for fact in (old.id, "role/billing", "8 Mar 10:00 UTC"))
    assert "sms" not in detail
    alerts = [line for line in world.events_named("alert.raised") if line["reason"] == "waiting-for-consumers"]
    assert [(line["secret"], line["key_id"], line["level"]) for line in alerts] == [(NAME, old.id, "warning")]
    assert world.works(old)
    log.read(NAME, "billing")
    (detail,) = waits(world.sweep())  # the log lags
    world.pass_time(LAG)
    assert revoked(world.sweep())
    assert not world.works(old)
    assert world.consumer_works(NAME)


def test_without_tag_log_is_not_read() -> None:
    world, log, _ = world_with()
    world.pass_time(GRACE)
    assert revoked(world.sweep())
    assert log.asked == []


@pytest.mark.parametrize("log", [True, False])
def test_unreadable_log_waits_and_warns(log: bool) -> None:
    world, readers, old = world_with(log=log, gate="adoption")
    readers.failure = DENIED
    world.pass_time(GRACE)
    sweep = world.sweep()
    (detail,) = waits(sweep)
    assert old.id in detail
    assert ("cloudtrail:LookupEvents is denied" in detail) is log
    assert sweep.ok  # a warning
    assert [line["reason"] for line in world.events_named("alert.raised")] == ["waiting-for-consumers"]
    world.pass_time(GRACE)
    assert revoked(world.sweep())
    assert not world.works(old)


def test_denied_log_is_read_once() -> None:
    world, log, _ = world_with(gate="adoption")
    for number in range(3):
        world.secret(f"more/{number}", left=20 * DAY, gate="adoption")
    world.sweep()
    world.pass_time(GRACE)
    log.failure = DENIED
    assert len(waits(world.sweep())) == 4
    assert len(log.asked) == 1


def test_slow_log_does_not_use_up_sweep() -> None:
    world, log, _ = world_with(gate="adoption")
    world.secret("later", left=20 * DAY, gate="adoption")
    world.sweep()
    world.pass_time(GRACE)

    class Slow(MemoryLog):
        def reads(self, *args: Any) -> Any:
            answer = super().reads(*args)
            self.clock.sleep(MAX_LOG_TIME.total_seconds() + 1)
            return answer

    slow = Slow(world.clock)
    slow._reads = log._reads
    world.readers = slow
    assert len(waits(world.sweep())) == 2
    assert [name for name, _ in slow.asked] == [NAME]


def test_ending_process_reads_no_log() -> None:
    world, log, _ = world_with(gate="adoption")
    world.pass_time(GRACE)
    services = replace(world.services(), may_start=lambda: False)
    (plan,) = Reconciler(services).plan().accounts
    assert [skip.reason for skip in plan.skipped] == [Reason.WAITING_FOR_CONSUMERS]
    assert log.asked == []


def test_plan_of_one_secret_reads_one_log() -> None:
    world, log, _ = world_with(gate="adoption")
    world.secret("other", left=20 * DAY, gate="adoption")
    world.sweep()
    world.pass_time(GRACE)
    (plan,) = world.reconciler().plan(secret=NAME).accounts
    assert [(skip.secret, skip.reason) for skip in plan.skipped] == [(NAME, Reason.WAITING_FOR_CONSUMERS)]
    assert [name for name, _ in log.asked] == [NAME]
    (plan,) = world.reconciler().plan(at=world.clock.now() + GRACE).accounts
    assert {action.secret for action in plan.actions if action.kind is ActionKind.REVOKE} == {NAME, "other"}


def test_tag_set_after_plan_counts() -> None:
    world, _, old = world_with()
    world.pass_time(GRACE)
    world.store.staleness = timedelta(minutes=5)  # the listing's; a description is fresh
    world.store.tag(NAME, {"rotator:gate": "adoption"})
    (result,) = world.sweep().results
    assert result.outcome is Outcome.DEFERRED
    assert old.id in str(result.error)
    assert world.works(old)


def test_emergency_does_not_wait() -> None:
    """Threat: a gate that holds back an emergency revocation. An emergency ignores it."""
    world, log, old = world_with(gate="adoption")
    emergency = Emergency(world.services(), "leaked", "INC-1")
    assert emergency.execute(emergency.plan(Target(NAME), Strategy.REPLACE_FIRST)).ok
    assert not world.works(old)
    assert log.asked == []


# ---- rotator consumers ----------------------------------------------------------------------------------------------


def test_consumers_that_have_not_read_since() -> None:
    world, _, old = world_with()
    world.pass_time(HOUR)
    found = read_consumers(world.reconciler(), NAME)
    promoted = world.clock.now() - 2 * HOUR
    assert found.retiring is not None
    assert (found.retiring.key_id, found.promoted) == (old.id, promoted)
    assert [(each.principal, each.last_before, each.last_since) for each in found.found] == [
        (role("billing"), promoted - HOUR, None),
        (role("sms"), promoted - HOUR, promoted + HOUR),
    ]
    assert [each.principal for each in found.waited_for] == [role("billing")]
    assert found.limit == promoted + 2 * GRACE
    assert (found.gap, found.known_until) == (None, world.clock.now() - LAG)


def test_consumers_without_key_in_grace(world: World) -> None:
    log = MemoryLog(world.clock)
    world.readers = log
    world.secret(NAME)
    log.read(NAME, "old")
    world.pass_time(15 * DAY)
    log.read(NAME, "billing")
    world.pass_time(HOUR)
    found = read_consumers(world.reconciler(), NAME)
    assert found.retiring is None
    assert found.waited_for == ()
    assert [each.principal for each in found.found] == [role("billing")]
    found = read_consumers(world.reconciler(), NAME, 60 * DAY)
    assert (len(found.found), found.gap) == (2, None)
    log.cut = world.clock.now() - DAY
    found = read_consumers(world.reconciler(), NAME)
    assert found.known_from == log.cut
    assert found.gap is not None
    assert found.gap.values == {"since": log.cut}


def test_consumers_without_answer_of_infobip() -> None:
    world, _, _ = world_with()
    world.pass_time(HOUR)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, count=None))
    assert world.reconciler().plan().accounts[0].error is not None
    assert [each.principal for each in read_consumers(world.reconciler(), NAME).waited_for] == [role("billing")]


def test_consumers_of_unlisted_secret() -> None:
    world, _, _ = world_with()
    tags = dict(world.store.peek(NAME).tags)
    world.store.untag(NAME, *tags)
    world.pass_time(HOUR)
    world.store.tag(NAME, tags)
    world.store.staleness = timedelta(minutes=5)
    with pytest.raises(SecretNotFound):
        world.reconciler().plan(secret=NAME)
    assert [each.principal for each in read_consumers(world.reconciler(), NAME).waited_for] == [role("billing")]


def test_unknown_consumers_are_error() -> None:
    world, log, _ = world_with()
    log.failure = DENIED
    with pytest.raises(ReadersUnknown):
        read_consumers(world.reconciler(), NAME)
    with pytest.raises(SecretNotFound):
        read_consumers(world.reconciler(), "nowhere")
    with pytest.raises(Refused, match="rotator/main"):
        read_consumers(world.reconciler(), "rotator/main")
    world.secret("wrong", grace="soon")
    with pytest.raises(InvalidTags, match="rotator:grace"):
        read_consumers(world.reconciler(), "wrong")
    world.readers = None
    with pytest.raises(ReadersUnknown):
        read_consumers(world.reconciler(), NAME)
