"""A pending version that another process stored is promoted only if it still fits the current one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.adopt import adopt
from rotator.engine.rotate_now import rotate_now
from rotator.engine.rotation.four_steps import Step, run_step
from rotator.errors import StateChanged
from rotator.plan import Outcome
from rotator.reasons import Reason
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests import leaks
from tests.emergencies import EmergencyWorld, Killed, refused
from tests.world import DAY, HOUR, KEY, NAME, PLAIN

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def killed_at(world: EmergencyWorld, operation: str, *, then: Callable[[], None] | None = None) -> None:
    """A sweep that ends right before that call."""

    def kill(called: str, _secret: str) -> None:
        if called == operation:
            world.store.before = None
            if then is not None:
                then()
            raise Killed

    world.store.before = kill
    with pytest.raises(Killed):
        world.sweep()


def pending(**settings: Any) -> tuple[EmergencyWorld, SimKey, SimKey]:
    """A rotation that ended before the promotion: the old key and the new one."""
    world = EmergencyWorld()
    old = world.secret(NAME, left=5 * DAY, **settings)
    world.pass_time(MINUTE)
    killed_at(world, "promote")
    (new,) = (key for key in world.live() if key.id != old.id)
    return world, old, new


def edit(world: EmergencyWorld, **fields: Any) -> str:
    """A person changes other fields of the value."""
    text = json.dumps({**world.value(NAME), **fields})
    return world.store.put_value_by_hand(NAME, text)


@pytest.mark.parametrize("after", [timedelta(0), SECOND / 2, MINUTE, HOUR])
def test_edit_is_not_undone(after: timedelta) -> None:
    """Threat: a value that is edited while a rotation is interrupted. What was stored before is not promoted over the
    edit; its key is revoked.
    """
    world, old, new = pending(extra={"sender": "Before"})
    world.pass_time(after)
    edit(world, sender="After")
    world.pass_time(MINUTE)
    world.sweep()
    assert world.value(NAME)["sender"] == "After"
    assert not world.works(new)
    assert f"rotator:key:{new.id}" not in world.every_label(NAME)
    world.pass_time(HOUR)
    assert world.sweep().ok
    assert world.current_key(NAME).id not in (old.id, new.id)
    assert world.value(NAME)["sender"] == "After"


def test_edit_before_staging_is_not_undone(world: EmergencyWorld) -> None:
    """The pending version is the newer one, and is made of the value before."""
    old = world.secret(NAME, left=5 * DAY, extra={"sender": "Before"})
    world.pass_time(MINUTE)

    def stage(called: str, _secret: str) -> None:
        if called == "stage":
            world.store.before = None
            edit(world, sender="After")
            world.pass_time(2 * SECOND)
            killed_on_promote()

    def killed_on_promote() -> None:
        def kill(called: str, _secret: str) -> None:
            if called == "promote":
                world.store.before = None
                raise Killed

        world.store.before = kill

    world.store.before = stage
    with pytest.raises(Killed):
        world.sweep()
    (new,) = (key for key in world.live() if key.id != old.id)
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
        assert world.value(NAME)["sender"] == "After"
    assert not world.works(new)
    assert world.current_key(NAME).id not in (old.id, new.id)


@pytest.mark.parametrize("extra", [None, {"sender": "Same", "number": 1.50}])
@pytest.mark.parametrize("plain", [False, True])
def test_unchanged_value_is_finished(extra: dict[str, Any] | None, plain: bool) -> None:
    world, _, new = pending(extra=extra, value=PLAIN if plain else KEY)
    world.pass_time(MINUTE)
    assert world.sweep().ok
    assert world.current_key(NAME).id == new.id


@pytest.mark.parametrize("to_json", [False, True])
def test_another_form_of_value_is_not_undone(to_json: bool) -> None:
    world, old, new = pending(value=PLAIN if to_json else KEY)
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": old.value}) if to_json else str(old.value))
    world.pass_time(MINUTE)
    for _ in range(2):
        world.sweep()
        assert world.text(NAME).startswith("{") is to_json
        world.pass_time(HOUR)
    assert not world.works(new)
    assert world.current_key(NAME).id not in (old.id, new.id)


def test_possibly_used_key_gets_its_grace(world: EmergencyWorld) -> None:
    """A version that was promoted keeps AWSPENDING, and loses AWSPREVIOUS when two more values are stored."""
    world.secret(NAME, left=5 * DAY)
    assert world.sweep().ok
    new = world.current_key(NAME)
    world.pass_time(MINUTE)
    edit(world, sender="Once")
    by_hand = world.infobip.add_key(world.accounts["main"], "by hand", scopes=["sms:manage"])
    world.pass_time(MINUTE)
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": leaks.register(str(by_hand.value))}))
    world.pass_time(HOUR)
    world.sweep()
    world.sweep()
    assert world.works(new)
    world.pass_time(73 * HOUR)
    world.sweep()
    assert not world.works(new)


@pytest.mark.parametrize("has_field", [False, True])
def test_changed_value_field_recovers(has_field: bool) -> None:
    """Threat: rotator:value-field is changed while a version is pending. The version is given up, and the rotation
    begins again.
    """
    world, old, new = pending(extra={"token": "none yet"} if has_field else None)
    world.store.tag(NAME, {"rotator:value-field": "token"})
    world.pass_time(MINUTE)
    world.sweep()  # the process that stored it may be about to promote it
    assert world.works(new)
    world.pass_time(HOUR)
    world.sweep()
    assert not world.works(new)
    assert world.current_value(NAME) == old.value
    world.store.untag(NAME, "rotator:value-field")
    world.pass_time(HOUR)
    assert world.sweep().ok
    assert world.current_key(NAME).id not in (old.id, new.id)


@pytest.mark.parametrize("which", [Step.TEST, Step.FINISH])
def test_step_fails_and_removes_labels(world: EmergencyWorld, which: Step) -> None:
    old = world.secret(NAME, extra={"sender": "Before"})
    token = world.store.start_rotation(NAME, world.new_id())

    def step(each: Step) -> str:
        return run_step(world.services(), NAME, token, each)

    step(Step.CREATE)
    (new,) = (key for key in world.live() if key.id != old.id)
    edit(world, sender="After")
    with refused(Reason.SUPERSEDED, token, kind=StateChanged):
        step(which)
    assert not world.works(new)
    assert not world.every_label(NAME) & {"AWSPENDING", f"rotator:key:{new.id}"}
    assert world.value(NAME) == {"sender": "After", "api_key": old.value}


def test_edit_after_comparison_is_seen() -> None:
    world, old, new = pending(extra={"sender": "Before"})
    world.pass_time(MINUTE)

    def change(called: str, _secret: str) -> None:
        if called == "promote":
            world.store.before = None
            edit(world, sender="After")

    world.store.before = change
    world.sweep()
    assert world.value(NAME) == {"sender": "After", "api_key": old.value}
    world.pass_time(HOUR)
    world.sweep()
    assert not world.works(new)
    assert world.value(NAME)["sender"] == "After"


@pytest.mark.parametrize("call", range(1, 9))
def test_giving_up_can_be_interrupted(call: int) -> None:
    """Each call that changes something, or that reads for it, is the last one of its process."""
    world, old, new = pending(extra={"sender": "Before"})
    edit(world, sender="After")
    world.pass_time(MINUTE)
    left = call

    def kill(_called: str, _secret: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Killed

    world.store.after = kill
    with contextlib.suppress(Killed):
        world.sweep()
    world.store.after = None
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
    assert world.value(NAME)["sender"] == "After"
    assert world.current_key(NAME).id not in (old.id, new.id)
    assert world.consumer_works(NAME)
    world.pass_time(80 * HOUR)
    world.sweep()
    assert [key.id for key in world.live()] == [world.current_key(NAME).id]


def test_missing_pending_key_keeps_its_label() -> None:
    """It may be another account's, so it is not forgotten; the rotation begins again."""
    world, old, new = pending()
    world.infobip.delete_key(new.id)
    world.pass_time(MINUTE)
    world.sweep()
    assert f"rotator:key:{new.id}" in world.every_label(NAME)
    assert "AWSPENDING" not in world.every_label(NAME)
    world.pass_time(HOUR)
    (plan,) = world.sweep().plan.accounts
    assert world.current_key(NAME).id not in (old.id, new.id)
    assert (NAME, "key-not-found", new.id) in [(each.secret, str(each.kind), each.key_id) for each in plan.alerts]


def test_interrupted_move_needs_person(world: EmergencyWorld) -> None:
    old = world.secret(NAME)
    world.account("other")
    world.store.tag(NAME, {"rotator:account": "other", "rotator:scopes": "sms:manage"})
    world.pass_time(MINUTE)

    def kill(called: str, _secret: str) -> None:
        if called == "promote":
            world.store.before = None
            raise Killed

    world.store.before = kill
    with pytest.raises(Killed):
        rotate_now(world.services(), NAME, "moved")
    (new,) = world.live("other")
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
        assert world.current_key(NAME).id == old.id
    rotate_now(world.services(), NAME, "moved")
    assert world.current_key(NAME).id == new.id


def test_audit_says_why_it_was_given_up() -> None:
    world, _, new = pending(extra={"sender": "Before"})
    version = world.version_of(NAME, new)
    edit(world, sender="After")
    world.pass_time(MINUTE)
    (result,) = (each for each in world.sweep().results if each.action.key_id == new.id)
    assert (result.outcome, version in str(result.error)) == (Outcome.DEFERRED, True)
    assert [line["key_id"] for line in world.events_named("key.revoked")] == [new.id]
    leaks.check(world.stream.getvalue(), "the audit")


def paste(world: EmergencyWorld, *, age: timedelta) -> SimKey:
    """A person pastes a key and changes nothing else."""
    now = world.clock.now()
    key = world.infobip.add_key(
        world.accounts["main"], "pasted", scopes=["sms:manage"], valid_from=now - age, valid_to=now + 90 * DAY
    )
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": leaks.register(str(key.value))}))
    return key


@pytest.mark.parametrize(
    ("age", "adopted", "after"),
    [(DAY, False, 0 * SECOND), (-SECOND, True, 0 * SECOND), (DAY, True, MINUTE)],
    ids=["not labelled before the sweep", "created later", "stored later"],
)
def test_pasted_key_stays(age: timedelta, adopted: bool, after: timedelta) -> None:
    """The values differ in the key alone: something else shows which version is the newer one."""
    world, _, new = pending()
    world.pass_time(after)
    pasted = paste(world, age=age)
    if adopted:
        adopt(world.services(), NAME)
    world.sweep()
    assert world.current_key(NAME).id == pasted.id
    world.pass_time(HOUR)
    world.sweep()
    assert world.current_key(NAME).id == pasted.id
    assert not world.works(new)


def test_promoted_meanwhile_is_not_revoked() -> None:
    """Another process read the tag before it was changed, and promotes just before the labels are removed."""
    world, old, new = pending(extra={"token": "none"})
    world.store.tag(NAME, {"rotator:value-field": "token"})
    world.pass_time(HOUR)
    version, current = world.version_of(NAME, new), world.version_of(NAME, old)

    def promote(called: str, _secret: str) -> None:
        if called == "remove_label":
            world.store.before = None
            world.store.label_by_hand(NAME, "AWSCURRENT", version, current)

    world.store.before = promote
    world.sweep()
    assert world.current_key(NAME).id == new.id
    assert world.works(new)


def test_proven_by_value_is_retired(world: EmergencyWorld) -> None:
    """A person stored it as a pending version: it is not known to be used here only, so it gets a grace period."""
    world.secret(NAME, extra={"sender": "Before"})
    world.pass_time(MINUTE)
    key = world.infobip.add_key(world.accounts["main"], "by hand", scopes=["sms:manage"])
    value = Secret(json.dumps({"sender": "Before", "api_key": leaks.register(str(key.value))}))
    world.store.stage(NAME, world.new_id(), value, ("AWSPENDING", f"rotator:key:{key.id}"))
    world.pass_time(MINUTE)
    edit(world, sender="After")
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
    assert world.works(key)
    assert any(label.startswith(f"rotator:retire:{key.id}") for label in world.every_label(NAME))
    assert "AWSPENDING" not in world.every_label(NAME)
