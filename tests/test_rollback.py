"""Rollback: what it does, what it refuses and advises, and what the next sweeps make of it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.engine.manual import rotate_now
from rotator.engine.rollback import RolledBack, rollback
from rotator.errors import Refused, RotatorError, SecretNotFound, StoreDenied
from rotator.model import Reason
from rotator.policy.labels import PENDING, parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.emergencies import calm, revoke
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
MINUTE = timedelta(minutes=1)


def rotated(**settings: object) -> tuple[World, SimKey, SimKey]:
    """A secret that was rotated by hand an hour ago, long before it was due: the previous key and the current one."""
    world = World()
    old = world.managed(NAME, left=200 * DAY, **settings)  # type: ignore[arg-type]
    rotate_now(world.reconciler(), NAME, "new contract")
    world.pass_time(HOUR)
    return world, old, world.current_key(NAME)


def back(world: World, key_id: str | None = None) -> RolledBack:
    return rollback(world.reconciler(), NAME, "the new key lacks a scope", key_id)


def unchanged(world: World, current: str, retired: str, until: datetime | None) -> RolledBack:
    """The command once more: it says how things stand, and changes and writes nothing."""
    labels, lines, sent = world.labels(NAME), world.lines(), len(world.events.sent)
    done = back(world)
    assert done.already
    assert (done.key_id, done.retired_key_id, done.retired_until) == (current, retired, until)
    assert (world.labels(NAME), world.lines(), len(world.events.sent)) == (labels, lines, sent)
    assert world.current_key(NAME).id == current
    assert back(world, current).already  # by the name of the key that is current, too
    return done


def test_the_previous_key_is_current_again_and_the_newer_one_gets_a_whole_grace() -> None:
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
    assert world.infobip.authenticates(new.value)
    assert not [call for call in world.infobip.calls[asked:] if call.method in ("POST", "PUT")]
    (attempt,) = world.events_named("secret.rolled_back", "attempt")
    (success,) = world.events_named("secret.rolled_back")
    assert attempt["seq"] < success["seq"]
    assert (success["key_id"], success["reason"]) == (old.id, "the new key lacks a scope")
    told = [(kind, detail["key_id"]) for kind, detail in world.events.sent[-2:]]
    assert told == [("API Key Rotated", old.id), ("API Key Retired", new.id)]
    leaks.check(world.stream.getvalue(), "the audit")


def test_sweeps_let_it_stand_and_revoke_the_newer_key_after_its_grace() -> None:
    world, old, new = rotated()
    done = back(world)
    assert (done.due, done.waits) == (None, None)
    assert world.sweep().results == ()  # neither resumed nor rotated back
    world.pass_time(72 * HOUR - MINUTE)
    assert world.sweep().results == ()
    assert world.infobip.authenticates(new.value)
    world.pass_time(MINUTE)
    assert [result.action.key_id for result in world.sweep().results] == [new.id]
    assert not world.infobip.authenticates(new.value)
    assert world.current_key(NAME).id == old.id
    calm(world)


def test_a_key_that_is_due_is_said_to_be_and_the_next_sweep_rotates_it() -> None:
    world = World()
    old = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    world.sweep()
    world.pass_time(HOUR)
    done = back(world)
    assert done.due is not None
    assert done.due.reason is Reason.EXPIRING
    world.sweep()
    assert world.current_key(NAME).id not in (old.id, done.retired_key_id)
    calm(world)


def test_a_hold_keeps_what_was_rolled_back_to() -> None:
    world = World()
    old = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    world.sweep()
    back(world)
    world.store.tag(NAME, world.tags(hold="rolled back"))
    world.sweep()
    assert world.current_key(NAME).id == old.id


def test_a_window_that_is_closed_is_said_to_keep_the_rotation_waiting() -> None:
    world = World()
    world.managed(NAME, left=20 * DAY, age=70 * DAY, window="Sat 09:00-10:00 UTC")
    rotate_now(world.reconciler(), NAME, "test")
    done = back(world)
    assert done.waits is not None
    assert "Sat" in done.waits.detail


def test_given_twice_it_does_not_go_forward_again_unless_the_key_is_named() -> None:
    world, old, new = rotated()
    done = back(world)
    unchanged(world, old.id, new.id, done.retired_until)
    world.pass_time(HOUR)
    assert back(world, new.id).retired_key_id == old.id
    assert world.current_key(NAME).id == new.id
    assert world.sweep().results == ()
    calm(world)


def test_of_several_keys_in_grace_the_newest_superseded_one_goes_first() -> None:
    world, first, second = rotated()
    rotate_now(world.reconciler(), NAME, "once more")
    third = world.current_key(NAME)
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
    calm(world)


@pytest.mark.parametrize("moment", ["promote", "add_label"])
def test_a_command_that_was_killed_is_repeated_and_goes_no_key_further(moment: str) -> None:
    world, first, second = rotated()
    rotate_now(world.reconciler(), NAME, "once more")
    third = world.current_key(NAME)

    def killed(operation: str, _name: str) -> None:
        if operation == moment:
            raise KeyboardInterrupt

    world.store.after = killed
    with pytest.raises(KeyboardInterrupt):
        back(world)
    world.store.after = None
    until = None if moment == "promote" else world.clock.now() + 72 * HOUR
    unchanged(world, second.id, third.id, until)
    world.sweep()
    unchanged(world, second.id, third.id, world.clock.now() + 72 * HOUR)
    assert world.infobip.authenticates(first.value)
    calm(world)


def test_after_a_new_rotation_it_is_a_rollback_of_its_own() -> None:
    world, old, _ = rotated()
    back(world)
    rotate_now(world.reconciler(), NAME, "fixed")
    done = back(world)
    assert (done.key_id, done.already) == (old.id, False)


def test_a_key_that_was_stored_by_hand_and_is_older_than_the_previous_one_is_no_rollback() -> None:
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


def test_without_the_right_to_read_dates_the_keys_tell() -> None:
    world, _, new = rotated()
    rotate_now(world.reconciler(), NAME, "once more")

    def before(operation: str, _name: str) -> None:
        if operation == "version_dates":
            raise StoreDenied("no", action="secretsmanager:ListSecretVersionIds")

    world.store.before = before
    assert back(world).key_id == new.id
    assert back(world).already
    assert world.current_key(NAME).id == new.id


def test_one_of_several_is_chosen_by_its_id() -> None:
    world, first, second = rotated()
    rotate_now(world.reconciler(), NAME, "once more")
    with pytest.raises(Refused, match="is the current key"):
        back(world, world.current_key(NAME).id)
    with pytest.raises(Refused, match="is not in grace"):
        back(world, "\x1b[2Jnone")
    assert back(world, first.id).key_id == first.id
    assert {item.key_id for item in read_lifecycle(world.store.peek(NAME)).retiring} >= {second.id}
    calm(world)


def test_other_fields_that_go_back_with_the_key_are_named() -> None:
    world, old, new = rotated(extra={"sender": "Old", "limits": {"a": 1}})
    fields = json.loads(world.store.consumer_read(NAME))
    text = json.dumps({**fields, "sender": "New", "added": True})
    world.store.put_value_by_hand(NAME, text)
    world.sweep()  # adopts what was stored by hand: the same key
    assert read_lifecycle(world.store.peek(NAME)).current_key == new.id
    done = back(world)
    assert (done.key_id, done.changed_fields) == (old.id, ("added", "sender"))
    assert json.loads(world.store.consumer_read(NAME))["sender"] == "Old"


def test_no_probe_where_the_tag_says_so() -> None:
    world, old, _ = rotated(verify="skip")
    world.infobip.portal_restrict(old.id, ("10.0.0.0/8",))
    assert back(world).key_id == old.id


def test_back_to_a_key_that_an_emergency_made_leaves_the_newer_one_a_whole_grace_even_after_a_kill() -> None:
    world = World()
    world.managed(NAME, left=200 * DAY)
    revoke(world, Strategy.REPLACE_FIRST, incident="INC-1", secret=NAME)
    made = world.current_key(NAME)
    world.pass_time(HOUR)
    rotate_now(world.reconciler(), NAME, "test")
    newer = world.current_key(NAME)

    def killed(operation: str, _name: str) -> None:
        if operation == "promote":
            raise KeyboardInterrupt

    world.store.after = killed
    with pytest.raises(KeyboardInterrupt):
        back(world)
    world.store.after = None
    assert world.current_key(NAME).id == made.id
    world.sweep()
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    assert (item.key_id, item.revoke_at) == (newer.id, world.clock.now() + 72 * HOUR)
    calm(world)


def test_somebody_else_promotes_at_the_last_moment() -> None:
    world, _, _ = rotated()
    hand = world.infobip.add_key(world.accounts["main"], "by hand")

    def before(operation: str, _name: str) -> None:
        if operation == "promote":
            world.store.before = None
            world.store.put_value_by_hand(NAME, str(hand.value))

    world.store.before = before
    with pytest.raises(RotatorError, match="another current version meanwhile"):
        back(world)
    assert world.current_key(NAME).id == hand.id


def test_a_retire_label_that_cannot_be_written_is_left_to_the_next_sweep() -> None:
    world, old, new = rotated()

    def before(operation: str, _name: str) -> None:
        if operation == "add_label":
            raise SecretNotFound("gone")

    world.store.before = before
    done = back(world)
    assert (done.key_id, done.retired_until) == (old.id, None)
    world.store.before = None
    world.sweep()
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    assert (item.key_id, item.revoke_at) == (new.id, world.clock.now() + 72 * HOUR)


def test_no_version_is_left_pending() -> None:
    world, _, _ = rotated()
    back(world)
    assert all(PENDING not in labels for labels in world.labels(NAME).values())


def test_at_no_call_does_the_current_version_say_when_its_key_is_to_be_revoked() -> None:
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
