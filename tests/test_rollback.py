"""Rollback: what it does, what it refuses and advises, and what the next sweeps make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy
from rotator.engine.rollback import RolledBack, rollback
from rotator.engine.rotate_now import rotate_now
from rotator.errors import LostRace, ProviderUnavailable, Refused, SecretNotFound, StoreDenied
from rotator.policy.labels import parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.reasons import Reason
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.emergencies import EmergencyWorld, refuse, refused
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR

# ---- done -----------------------------------------------------------------------------------------------------------


NAME = "prod/sms"
MINUTE = timedelta(minutes=1)


def rotated(**settings: object) -> tuple[EmergencyWorld, SimKey, SimKey]:
    """A secret that was rotated by hand an hour ago, long before it was due: the previous key and the current one."""
    world = EmergencyWorld()
    old = world.secret(NAME, **settings)
    rotate_now(world.services(), NAME, "new contract")
    world.pass_time(HOUR)
    return world, old, world.current_key(NAME)


def rotated_twice() -> tuple[EmergencyWorld, SimKey, SimKey, SimKey]:
    """With two keys in grace, and the current one."""
    world, first, second = rotated()
    rotate_now(world.services(), NAME, "once more")
    return world, first, second, world.current_key(NAME)


def back(world: EmergencyWorld, key_id: str | None = None) -> RolledBack:
    return rollback(world.services(), NAME, "the new key lacks a scope", key_id)


def back_killed(world: EmergencyWorld, after: str) -> None:
    """The command is killed once that call of Secrets Manager has taken effect."""

    def killed(operation: str, _name: str) -> None:
        if operation == after:
            raise KeyboardInterrupt

    world.store.after = killed
    with pytest.raises(KeyboardInterrupt):
        back(world)
    world.store.after = None


def unchanged(world: EmergencyWorld, current: str, retired: str, until: datetime | None) -> RolledBack:
    """The command once more: it says how things stand, and changes and writes nothing."""
    labels, lines, sent = world.labels(NAME), world.lines(), len(world.events.sent)
    done = back(world)
    assert done.already
    assert (done.key_id, done.retired_key_id, done.retired_until) == (current, retired, until)
    assert (world.labels(NAME), world.lines(), len(world.events.sent)) == (labels, lines, sent)
    assert world.current_key(NAME).id == current
    assert back(world, current).already  # by the name of the key that is current, too
    return done


def test_rollback_makes_previous_key_current() -> None:
    world, old, new = rotated()
    asked = len(world.infobip.calls)
    done = back(world)
    assert (done.key_id, done.retired_key_id) == (old.id, new.id)
    assert done.retired_until == world.clock.now() + 72 * HOUR
    assert world.current_key(NAME).id == old.id
    life = read_lifecycle(world.store.peek(NAME))
    assert [(item.key_id, item.revoke_at) for item in life.retiring] == [(new.id, done.retired_until)]
    assert life.stale == ()
    assert life.pending_version is None
    assert world.works(new)
    assert not [call for call in world.infobip.calls[asked:] if call.method in ("POST", "PUT")]
    (attempt,) = world.events_named("secret.rolled_back", "attempt")
    (success,) = world.events_named("secret.rolled_back")
    assert attempt["seq"] < success["seq"]
    assert (success["key_id"], success["reason"]) == (old.id, "the new key lacks a scope")
    told = [(kind, detail["key_id"]) for kind, detail in world.events.sent[-2:]]
    assert told == [("API Key Rotated", old.id), ("API Key Retired", new.id)]
    leaks.check(world.stream.getvalue(), "the audit")


def test_newer_key_is_revoked_after_grace() -> None:
    world, old, new = rotated()
    done = back(world)
    assert (done.due, done.waits) == (None, None)
    assert world.sweep().results == ()  # neither resumed nor rotated back
    world.pass_time(72 * HOUR - MINUTE)
    assert world.sweep().results == ()
    assert world.works(new)
    world.pass_time(MINUTE)
    assert [result.action.key_id for result in world.sweep().results] == [new.id]
    assert not world.works(new)
    assert world.current_key(NAME).id == old.id
    world.calm()


@pytest.mark.parametrize("kept_by", ["nothing", "a hold", "a closed window"])
def test_due_key_is_rotated_by_next_sweep(world: EmergencyWorld, kept_by: str) -> None:
    window = "Sat 09:00-10:00 UTC" if kept_by == "a closed window" else "Mon-Sun 00:00-24:00 UTC"
    old = world.secret(NAME, left=20 * DAY, window=window)
    rotate_now(world.services(), NAME, "test")
    world.pass_time(HOUR)
    done = back(world)
    assert done.due is not None
    assert done.due.reason is Reason.EXPIRING
    assert (done.waits is not None and "Sat" in done.waits.detail) is (kept_by == "a closed window")
    if kept_by == "a hold":
        world.store.tag(NAME, {"rotator:hold": "rolled back"})
    world.sweep()
    assert (world.current_key(NAME).id == old.id) is (kept_by != "nothing")
    if kept_by == "nothing":
        assert world.current_key(NAME).id != done.retired_key_id
        world.calm()


def test_repeat_goes_forward_only_by_key_id() -> None:
    world, old, new = rotated()
    done = back(world)
    unchanged(world, old.id, new.id, done.retired_until)
    world.pass_time(HOUR)
    assert back(world, new.id).retired_key_id == old.id
    assert world.current_key(NAME).id == new.id
    assert world.sweep().results == ()
    world.calm()


def test_newest_key_in_grace_is_chosen() -> None:
    world, first, second, third = rotated_twice()
    done = back(world)
    assert done.key_id == second.id
    again = unchanged(world, second.id, third.id, done.retired_until)
    assert {*again.others} == {first.id, third.id}
    world.pass_time(DAY)
    unchanged(world, second.id, third.id, done.retired_until)
    assert back(world, first.id).key_id == first.id  # one key further only by its name
    unchanged(world, first.id, third.id, done.retired_until)
    assert back(world, third.id).key_id == third.id
    assert back(world).key_id == first.id  # what was current last
    world.calm()


@pytest.mark.parametrize("moment", ["promote", "add_label"])
def test_killed_and_repeated(moment: str) -> None:
    world, first, second, third = rotated_twice()
    back_killed(world, moment)
    until = None if moment == "promote" else world.clock.now() + 72 * HOUR
    unchanged(world, second.id, third.id, until)
    world.sweep()
    unchanged(world, second.id, third.id, world.clock.now() + 72 * HOUR)
    assert world.works(first)
    world.calm()


def test_rollback_after_new_rotation() -> None:
    world, old, _ = rotated()
    back(world)
    rotate_now(world.services(), NAME, "fixed")
    done = back(world)
    assert (done.key_id, done.already) == (old.id, False)


def test_old_key_by_hand_is_no_rollback() -> None:
    world, _, new = rotated()
    world.pass_time(HOUR)
    elder = world.infobip.add_key(
        world.accounts["main"], "somebody's", scopes=("sms:manage",), valid_from=world.clock.now() - 300 * DAY
    )
    world.ours.add(elder.id)
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": leaks.register(str(elder.value))}))
    world.sweep()
    assert world.current_key(NAME).id == elder.id
    done = back(world)
    assert (done.key_id, done.already) == (new.id, False)
    again = back(world)
    assert (again.key_id, again.retired_key_id, again.already) == (new.id, elder.id, True)


def test_keys_tell_dates_without_right() -> None:
    world, _, new, _ = rotated_twice()
    refuse("version_dates", StoreDenied("no", action="secretsmanager:ListSecretVersionIds"))(world)
    assert back(world).key_id == new.id
    assert back(world).already
    assert world.current_key(NAME).id == new.id


def test_one_of_several_is_chosen_by_its_id() -> None:
    world, first, second, third = rotated_twice()
    with refused(Reason.GRACE_OVER, third.id):
        back(world, third.id)
    with refused(Reason.GRACE_OVER, first.id, second.id):
        back(world, "\x1b[2Jnone")
    assert back(world, first.id).key_id == first.id
    assert {item.key_id for item in read_lifecycle(world.store.peek(NAME)).retiring} >= {second.id}
    world.calm()


def test_reverted_fields_are_named() -> None:
    world, old, new = rotated(extra={"sender": "Old", "limits": {"a": 1}})
    fields = world.value(NAME)
    text = json.dumps({**fields, "sender": "New", "added": True})
    world.store.put_value_by_hand(NAME, text)
    world.sweep()  # adopts what was stored by hand: the same key
    assert read_lifecycle(world.store.peek(NAME)).current_key == new.id
    done = back(world)
    assert (done.key_id, done.changed_fields) == (old.id, ("added", "sender"))
    assert world.value(NAME)["sender"] == "Old"


def test_no_probe_where_tag_says_so() -> None:
    world, old, _ = rotated(verify="skip")
    world.infobip.change_key(old.id, allowed_ips=("10.0.0.0/8",))
    assert back(world).key_id == old.id


def test_full_grace_after_emergency(world: EmergencyWorld) -> None:
    world.secret(NAME)
    world.revoke(Strategy.REPLACE_FIRST, incident="INC-1", secret=NAME)
    made = world.current_key(NAME)
    world.pass_time(HOUR)
    rotate_now(world.services(), NAME, "test")
    newer = world.current_key(NAME)
    back_killed(world, "promote")
    assert world.current_key(NAME).id == made.id
    world.sweep()
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    assert (item.key_id, item.revoke_at) == (newer.id, world.clock.now() + 72 * HOUR)
    world.calm()


def test_other_promotion_at_last_moment() -> None:
    world, _, _ = rotated()
    hand = world.infobip.add_key(world.accounts["main"], "by hand")

    def before(operation: str, _name: str) -> None:
        if operation == "promote":
            world.store.before = None
            world.store.put_value_by_hand(NAME, str(hand.value))

    world.store.before = before
    with pytest.raises(LostRace):
        back(world)
    assert world.current_key(NAME).id == hand.id


def test_missing_retire_label_left_to_sweep() -> None:
    world, old, new = rotated()
    refuse("add_label", SecretNotFound("gone"))(world)
    done = back(world)
    assert (done.key_id, done.retired_until) == (old.id, None)
    world.store.before = None
    world.sweep()
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    assert (item.key_id, item.revoke_at) == (new.id, world.clock.now() + 72 * HOUR)


def test_current_has_no_retire_label() -> None:
    world, old, new = rotated()
    seen: list[str | None] = []

    def after(_operation: str, _name: str) -> None:
        life = read_lifecycle(world.store.peek(NAME))
        labels = world.labels(NAME)[life.current_version or ""]
        named = {parsed[0] for label in labels if (parsed := parse_retire_label(label))}
        assert named == set()
        seen.append(life.current_key)

    world.store.after = after
    back(world)
    assert list(dict.fromkeys(seen)) == [new.id, old.id]


@pytest.mark.parametrize("offset", [0, 500], ids=["same clock", "half a second behind"])
def test_newer_key_grace_by_infobip_clock(offset: int) -> None:
    """Infobip shows whole seconds, so a different clock costs one second more; the audit line has the label's time."""
    world, _, _ = rotated()
    behind = timedelta(minutes=-4 if offset else 0, milliseconds=-offset)
    world.infobip.clock = world.infobip.state.clock = OffsetClock(world.clock, behind)
    done = back(world)
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    assert done.retired_until == item.revoke_at
    assert item.revoke_at >= world.infobip.clock.now() + 72 * HOUR
    (line,) = [line for line in world.events_named("key.retiring") if line["key_id"] == item.key_id]
    assert line["revoke_at"] == f"{item.revoke_at:%Y-%m-%dT%H:%M:%SZ}"


# ---- refused, and nothing is changed --------------------------------------------------------------------------------


def _grace_over(world: EmergencyWorld) -> None:
    world.pass_time(72 * HOUR)
    world.sweep()


def _retiring(world: EmergencyWorld) -> SimKey:
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    return world.infobip.key(item.key_id)


def _changed(ends_in: timedelta | None = None, **changes: Any) -> Callable[[EmergencyWorld], object]:
    """The key in grace is changed at Infobip."""

    def arrange(world: EmergencyWorld) -> None:
        ends = {} if ends_in is None else {"valid_to": world.clock.now() + ends_in}
        world.infobip.change_key(_retiring(world).id, **changes, **ends)

    return arrange


def _without(*kinds: str) -> Callable[[EmergencyWorld], None]:
    """Labels of the key in grace are taken off."""

    def arrange(world: EmergencyWorld) -> None:
        key = _retiring(world)
        version = world.version_of(NAME, key)
        for label in world.labels(NAME)[version]:
            if label.startswith(tuple(f"rotator:{kind}:" for kind in kinds)):
                world.store.label_by_hand(NAME, label, None, version)

    return arrange


def _pending_of_ours(world: EmergencyWorld) -> None:
    """A rotation that was killed before it could promote: its probe could not be answered."""
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path="balance", status=500, count=None))
    rotate_now(world.services(), NAME, "test")
    world.infobip.faults.clear()
    assert read_lifecycle(world.store.peek(NAME)).pending_version is not None


ROTATE = f"rotator rotate {NAME}"
REFUSED: dict[str, tuple[Callable[[EmergencyWorld], object], Reason, str]] = {
    "nothing in grace": (_grace_over, Reason.GRACE_OVER, ROTATE),
    "its label is missing": (_without("retire"), Reason.SUPERSEDED, f"rotator run --secret {NAME}"),
    "its key's label is missing": (_without("key"), Reason.UNADOPTED, ROTATE),
    "its grace is over": (lambda world: world.pass_time(71 * HOUR), Reason.GRACE_OVER, ROTATE),
    "disabled": (_changed(enabled=False), Reason.KEY_DISABLED, ROTATE),
    "disabled, its label is missing": (
        lambda world: [arrange(world) for arrange in (_changed(enabled=False), _without("retire"))],
        Reason.KEY_DISABLED,
        ROTATE,
    ),
    "gone": (lambda world: world.infobip.delete_key(_retiring(world).id), Reason.KEY_NOT_FOUND, ROTATE),
    "expired": (_changed(-MINUTE), Reason.EXPIRED, ROTATE),
    "ends soon": (_changed(59 * MINUTE), Reason.EXPIRING, ROTATE),
    "does not authenticate": (
        _changed(allowed_ips=("10.0.0.0/8",)),
        Reason.KEY_NOT_ACTIVE,
        "rotator:verify=skip",
    ),
    "held": (lambda world: world.store.tag(NAME, world.tags(hold="audit freeze")), Reason.HOLD, "rotator:hold"),
    "misconfigured": (
        lambda world: world.store.tag(NAME, world.tags(grace="soon")),
        Reason.MISCONFIGURED,
        "rotator:grace",
    ),
    "another rotation": (lambda world: world.store.start_rotation(NAME, "f" * 32), Reason.FOREIGN_ROTATION, NAME),
    "a rotation of ours": (_pending_of_ours, Reason.PENDING, f"rotator run --secret {NAME}"),
    "put by hand": (
        lambda world: world.store.put_value_by_hand(NAME, "x" * 32),
        Reason.UNADOPTED,
        f"rotator adopt {NAME}",
    ),
    "being deleted": (lambda world: world.store.delete(NAME), Reason.DELETED, NAME),
}


@pytest.mark.parametrize(("arrange", "reason", "fact"), REFUSED.values(), ids=REFUSED)
def test_refused_with_advice(arrange: Callable[[EmergencyWorld], object], reason: Reason, fact: str) -> None:
    world, _, _ = rotated()
    arrange(world)
    before, keys = world.labels(NAME), world.infobip.keys()
    with refused(reason, fact):
        back(world)
    assert (world.labels(NAME), world.infobip.keys()) == (before, keys)
    assert not world.events_named("secret.rolled_back", "attempt")


def test_named_key_gets_retire_label() -> None:
    """As a rollback leaves it that is killed before it moves ``AWSCURRENT``."""
    world, old, _ = rotated()
    _without("retire")(world)
    with refused(Reason.SUPERSEDED, old.id, f"rotator run --secret {NAME}"):
        rollback(world.services(), NAME, "test", old.id)
    assert world.sweep().ok
    rollback(world.services(), NAME, "test", old.id)
    assert world.current_key(NAME).id == old.id


def test_without_value_or_tags(world: EmergencyWorld) -> None:
    world.account()
    world.create(NAME, scopes="sms:manage")
    world.store.create_secret("prod/other", {})
    with refused(Reason.EMPTY, NAME):
        back(world)
    with pytest.raises(Refused, match="prod/other"):
        rollback(world.services(), "prod/other", "test")
    with pytest.raises(SecretNotFound):
        rollback(world.services(), "prod/none", "test")


def test_probe_without_verdict() -> None:
    world, _, new = rotated()
    before = world.labels(NAME)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path="balance", status=500, count=None))
    with pytest.raises(ProviderUnavailable, match="HTTP 500"):
        back(world)
    assert world.labels(NAME) == before
    assert world.current_key(NAME).id == new.id


def test_version_with_another_key_than_label() -> None:
    world, old, _ = rotated()
    stranger = world.infobip.add_key(world.accounts["main"], "somebody's")
    version = world.version_of(NAME, old)
    (retire,) = [label for label in world.labels(NAME)[version] if parse_retire_label(label)]
    _without("key", "retire")(world)
    world.store.label_by_hand(NAME, f"rotator:key:{stranger.id}", version)
    world.store.label_by_hand(NAME, retire.replace(old.id, stranger.id), version)
    with refused(Reason.MISLABELLED, stranger.id, old.id, version):
        back(world, stranger.id)


def test_never_back_to_emergencys_key() -> None:
    """Threat: an operator who rolls back to a leaked key. It is rejected."""
    world, old, leaked = rotated()
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", path="api-keys/.", status=500, count=None))
    report = world.revoke(Strategy.REPLACE_FIRST, incident="INC-1", secret=NAME)
    assert not report.ok  # neither old key could be ended: they wait for the next sweep
    world.infobip.faults.clear()
    rotate_now(world.services(), NAME, "after the incident")
    for key in (old, leaked):
        with refused(Reason.EMERGENCY, key.id, ROTATE):
            back(world, key.id)


def test_first_key_after_emergency(world: EmergencyWorld) -> None:
    """No sweep adds the retire label that such a key lacks."""
    old = world.secret(NAME)
    assert world.revoke(Strategy.REPLACE_FIRST, incident="INC-1", secret=NAME).ok
    with refused(Reason.EMERGENCY, old.id, ROTATE):
        back(world)


@pytest.mark.parametrize("back", [False, True])
def test_it_never_goes_to_another_account(world: EmergencyWorld, back: bool) -> None:
    """Threat: a rollback to a key of another account. It is rejected and nothing is changed. After a move the previous
    key is the old account's; if the tag is set back, the current one is the new one's.
    """
    old = world.secret(NAME)
    world.account("other")
    world.store.tag(NAME, {"rotator:account": "other", "rotator:scopes": "sms:manage"})
    rotate_now(world.services(), NAME, "moved")
    new = world.current_key(NAME)
    if back:
        world.store.tag(NAME, {"rotator:account": "main"})
    before = world.labels(NAME)
    with refused(Reason.KEY_NOT_FOUND, ROTATE):
        rollback(world.services(), NAME, "test")
    assert (world.current_key(NAME).id, world.labels(NAME)) == (new.id, before)
    assert {key.id for account in ("main", "other") for key in world.live(account)} == {old.id, new.id}
