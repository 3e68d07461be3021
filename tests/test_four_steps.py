"""The four steps on a store as strict as AWS documents it: twice, interrupted at every call, two tokens, refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.rotation.four_steps import ALREADY_CURRENT, Step, run_step
from rotator.errors import ConfigurationError, Refused, ReplacementRejected, RotatorError, StateChanged
from rotator.model import Policy
from rotator.policy.labels import key_name
from rotator.reasons import Reason
from rotator.sandbox.state import SimKey
from rotator.telemetry.audit import Trigger
from tests import leaks
from tests.emergencies import EmergencyWorld, Killed, Tape, refused
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, NAME

KEYS = "/settings/2/api-keys"
EVERY = tuple(Step)


def all_steps(world: EmergencyWorld, token: str) -> list[str]:
    return [step(world, token, which) for which in EVERY]


def step(world: EmergencyWorld, token: str, which: Step, name: str = NAME) -> str:
    return run_step(world.services(Trigger.SECRETSMANAGER), name, token, which)


def begun(world: EmergencyWorld, **settings: Any) -> tuple[SimKey, str]:
    """A secret whose rotation Secrets Manager has begun: the old key, and the token."""
    old = world.secret(NAME, **settings)
    return old, world.store.start_rotation(NAME, world.new_id())


def assert_finished(world: EmergencyWorld, old: SimKey, token: str) -> None:
    """What must be true at the end, once sweeps and the grace period are over."""
    for _ in range(2):
        world.pass_time(HOUR)
        assert world.sweep().ok
    assert world.consumer_works(NAME)
    world.pass_time(timedelta(hours=73))
    for _ in range(2):
        assert world.sweep().ok
    assert [key.id for key in world.live()] == [world.current_key(NAME).id]
    assert world.current_key(NAME).id != old.id
    assert "AWSCURRENT" in world.labels(NAME)[token]
    assert not any("rotator:retire" in label for labels in world.labels(NAME).values() for label in labels)


def test_four_steps_rotate_and_sweep_revokes(world: EmergencyWorld) -> None:
    old, token = begun(world, left=60 * DAY, extra={"sender": "Example"})
    answers = all_steps(world, token)
    new = world.current_key(NAME)
    assert [new.id in answer for answer in answers] == [True, False, True, True]
    assert new.name == key_name(NAME, world.store.peek(NAME).arn, "default", token)
    assert world.value(NAME)["sender"] == "Example"
    # As AWS asks for it: AWSPENDING is never taken off by a call of its own.
    assert world.labels(NAME)[token] == {"AWSCURRENT", "AWSPENDING", f"rotator:key:{new.id}"}
    (retire,) = (label for labels in world.labels(NAME).values() for label in labels if "retire" in label)
    assert retire.startswith(f"rotator:retire:{old.id}:20260305T09")
    assert {line["trigger"] for line in world.lines()} == {"secretsmanager"}
    assert world.works(old)
    assert ("API Key Rotated", new.id) in [(kind, detail.get("key_id")) for kind, detail in world.events.sent]
    assert_finished(world, old, token)
    assert world.infobip.creates_used(world.accounts["main"]) <= 1


def test_every_step_may_come_twice(world: EmergencyWorld) -> None:
    old, token = begun(world)
    for which in EVERY:
        assert world.current_key(NAME).id == old.id  # until the last step
        step(world, token, which)
        step(world, token, which)
    assert step(world, token, Step.CREATE) == ALREADY_CURRENT
    assert world.infobip.creates_used(world.accounts["main"]) == 1
    assert_finished(world, old, token)


def test_finish_tests_again(world: EmergencyWorld) -> None:
    old, token = begun(world)
    step(world, token, Step.CREATE)
    (made,) = (key for key in world.live() if key.id != old.id)
    world.infobip.change_key(made.id, scopes=frozenset({"sms:manage", "account-management:manage"}))
    with pytest.raises(ReplacementRejected, match="scopeGuids"):
        step(world, token, Step.FINISH)
    assert world.current_key(NAME).id == old.id
    assert not world.infobip.key(made.id).enabled
    assert "AWSPENDING" not in world.labels(NAME).get(token, set())  # the next rotate-secret is not refused


@pytest.mark.parametrize("revocable", [True, False])
def test_rejection_says_if_key_is_revoked(world: EmergencyWorld, revocable: bool) -> None:
    _, token = begun(world)
    step(world, token, Step.CREATE)
    made = max(world.live(), key=lambda key: key.valid_from)
    world.infobip.change_key(made.id, scopes=frozenset({"sms:manage", "account-management:manage"}))
    if not revocable:
        world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", status=403, count=None))
    with pytest.raises(ReplacementRejected) as raised:
        step(world, token, Step.FINISH)
    assert world.infobip.key(made.id).enabled is not revocable
    assert (f"rotator revoke --key-id {made.id} --account main" in raised.value.advice) is not revocable


def killed(world: EmergencyWorld, token: str, which: Step, at: Callable[[str, int, str], bool]) -> bool:
    """One step, ended at a call (when, number, name); gives whether there was such a call."""

    def stop(*call: Any) -> None:
        if at(*call):
            raise Killed

    with Tape(world) as tape:
        tape.stop = stop
        try:
            step(world, token, which)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("reveal", [True, False], ids=["readable", "masked"])
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.chaos), "after"])
@pytest.mark.parametrize("which", [Step.CREATE, Step.TEST, Step.FINISH])
@pytest.mark.parametrize("by_sweep", [False, True], ids=["repeated", "swept"])
def test_killed_at_every_call(which: Step, when: str, reveal: bool, by_sweep: bool) -> None:
    for at in itertools.count(1):
        world = EmergencyWorld(seed=at)
        world.infobip.options.reveal = reveal
        old, token = begun(world)
        for before in EVERY[: EVERY.index(which)]:
            step(world, token, before)
        if not killed(world, token, which, lambda *call, at=at: call[:2] == (when, at)):
            assert at > 3
            return
        assert world.consumer_works(NAME)
        stored = any("rotator:key" in label for label in world.labels(NAME).get(token, ()))
        if by_sweep and stored:
            world.pass_time(HOUR)
            assert world.sweep().ok, (at, world.lines()[-1])
        else:
            for again in EVERY:
                step(world, token, again)
        assert_finished(world, old, token)


def test_rotation_not_yet_shown_as_enabled(world: EmergencyWorld) -> None:
    old, token = begun(world)
    world.store._records[NAME].rotation_enabled = None
    for which in (Step.TEST, *EVERY):
        step(world, token, which)
    assert_finished(world, old, token)
    unknown = world.new_id()
    with refused(None, unknown):
        step(world, unknown, Step.CREATE)


def test_key_of_earlier_attempt_is_adopted(world: EmergencyWorld) -> None:
    old, token = begun(world)
    assert killed(world, token, Step.CREATE, lambda when, _, call: (when, call) == ("before", "stage"))
    (made,) = (key for key in world.live() if key.id != old.id)
    assert made.id in step(world, token, Step.CREATE)
    assert world.infobip.creates_used(world.accounts["main"]) == 1


def test_lost_answer_makes_one_key() -> None:
    for reveal in (True, False):
        world = EmergencyWorld()
        world.infobip.options.reveal = reveal
        old, token = begun(world)
        world.infobip.faults.add(Fault(FaultKind.DROP_AFTER, "POST", KEYS))
        all_steps(world, token)
        assert world.current_key(NAME).name == key_name(NAME, world.store.peek(NAME).arn, "default", token)
        assert len(world.live()) == 2
        assert_finished(world, old, token)


def test_second_token_replaces_first_one(world: EmergencyWorld) -> None:
    old, first = begun(world)
    step(world, first, Step.CREATE)
    (abandoned,) = (key for key in world.live() if key.id != old.id)
    second = world.store.start_rotation(NAME, world.new_id())
    for which in (Step.TEST, Step.FINISH, Step.CREATE):
        with refused(None, first, "AWSPENDING"):
            step(world, first, which)
    for which in EVERY:
        step(world, second, which)
    assert world.current_key(NAME).name.endswith(second)
    with pytest.raises(Refused):
        step(world, first, Step.FINISH)
    assert_finished(world, old, second)
    assert not world.infobip.key(abandoned.id).enabled


def test_value_stored_by_hand_is_kept(world: EmergencyWorld) -> None:
    _old, token = begun(world)
    step(world, token, Step.CREATE)
    world.pass_time(timedelta(minutes=1))
    by_hand = world.infobip.add_key(world.accounts["main"], "by hand, later")
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": by_hand.value}))
    with pytest.raises(RotatorError):
        step(world, token, Step.FINISH)
    assert world.current_key(NAME).id == by_hand.id


def test_first_key_of_secret_without_value(world: EmergencyWorld) -> None:
    world.account()
    world.create(NAME, scopes="sms:manage")
    token = world.store.start_rotation(NAME, world.new_id())
    all_steps(world, token)
    assert world.consumer_works(NAME)
    assert len(world.live()) == 1


def test_unadopted_secret_is_adopted_first(world: EmergencyWorld) -> None:
    old, token = begun(world, adopted=False)
    all_steps(world, token)
    assert world.events_named("key.adopted")
    assert_finished(world, old, token)


def test_enabling_only_tests_configuration(world: EmergencyWorld) -> None:
    old, token = begun(world)
    assert step(world, token, Step.TEST)
    assert [key.id for key in world.live()] == [old.id]
    world.store.tag(NAME, {"rotator:grace": "soon"})
    with refused(Reason.MISCONFIGURED, "rotator:grace"):
        step(world, token, Step.TEST)


def tagged(tag: str, text: str) -> Callable[[EmergencyWorld, str], None]:
    return lambda world, token: world.store.tag(NAME, {tag: text})


REFUSALS: dict[str, tuple[Callable[[EmergencyWorld, str], Any], Reason | None, str]] = {
    "hold": (tagged("rotator:hold", "audit freeze"), Reason.HOLD, "audit freeze"),
    "wrong tag": (tagged("rotator:grace", "soon"), Reason.MISCONFIGURED, "rotator:grace"),
    "unmanaged": (lambda world, _: world.store.untag(NAME, "rotator:role"), None, "rotator:role"),
    "unknown account": (tagged("rotator:account", "other"), Reason.UNKNOWN_ACCOUNT, "other"),
    "no scopes": (
        lambda world, _: world.infobip.change_key(world.first_keys[NAME].id, scopes=frozenset()),
        Reason.SCOPES_UNKNOWN,
        "rotator:scopes",
    ),
    "foreign value": (
        lambda world, token: world.store.start_rotation(NAME, token, "the value of another program"),
        None,
        "AWSPENDING",
    ),
    "rotation off": (
        lambda world, _: setattr(world.store._records[NAME], "rotation_enabled", False),
        None,
        "--rotation-lambda-arn",
    ),
    "unstaged": (
        lambda world, token: world.store.label_by_hand(NAME, "AWSPENDING", None, token),
        None,
        "rotate-secret",
    ),
}


@pytest.mark.parametrize(("change", "reason", "fact"), REFUSALS.values(), ids=REFUSALS)
def test_refused_rotation_changes_nothing(
    world: EmergencyWorld, change: Callable[[EmergencyWorld, str], Any], reason: Reason | None, fact: str
) -> None:
    _old, token = begun(world)
    change(world, token)
    before = (world.labels(NAME), world.live())
    kind = ConfigurationError if fact == "other" else Refused
    with refused(reason, fact, kind=kind):
        step(world, token, Step.CREATE)
    assert (world.labels(NAME), world.live()) == before
    (line,) = world.events_named("rotation.failed", "denied" if kind is Refused else "failure")
    assert (line["secret"], line["version_id"], line["step"]) == (NAME, token, "createSecret")
    assert "Rotation Failed" in [kind for kind, _ in world.events.sent]


def test_finish_refuses_unstored_version(world: EmergencyWorld) -> None:
    old, token = begun(world)
    with refused(None, "createSecret"):
        step(world, token, Step.FINISH)
    assert world.current_key(NAME).id == old.id


def test_hold_between_steps_stops_promotion(world: EmergencyWorld) -> None:
    old, token = begun(world)
    step(world, token, Step.CREATE)
    world.store.tag(NAME, {"rotator:hold": "audit freeze"})
    with refused(Reason.HOLD, "audit freeze"):
        step(world, token, Step.FINISH)
    assert world.current_key(NAME).id == old.id
    world.store.untag(NAME, "rotator:hold")
    step(world, token, Step.FINISH)
    assert_finished(world, old, token)


def test_refused_key_is_given_up(world: EmergencyWorld) -> None:
    old, token = begun(world)
    step(world, token, Step.CREATE)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path="/account/1/balance", status=401, count=None))
    with pytest.raises(ReplacementRejected):
        step(world, token, Step.TEST)
    world.infobip.faults.clear()
    assert [key.id for key in world.live()] == [old.id]
    with pytest.raises(Refused):  # Secrets Manager sees that this rotation is over
        step(world, token, Step.FINISH)


def test_steps_leave_reserve_for_emergencies() -> None:
    world = EmergencyWorld(policy=Policy(daily_limit=3, reserve=2))
    old, token = begun(world)
    world.infobip.add_key(world.accounts["main"], "made today")
    with refused(Reason.DAILY_LIMIT, NAME, kind=StateChanged):
        step(world, token, Step.CREATE)
    assert world.current_key(NAME).id == old.id
    world.pass_time(timedelta(hours=25))
    step(world, token, Step.CREATE)


@pytest.mark.parametrize("at", [Step.CREATE, Step.TEST, Step.FINISH])
def test_no_step_moves_secret(world: EmergencyWorld, at: Step) -> None:
    old, token = begun(world)
    world.secret("prod/other", account="second")
    if at is not Step.CREATE:
        step(world, token, Step.CREATE)
    world.store.tag(NAME, {"rotator:scopes": "sms:manage", "rotator:account": "second"})
    with refused(Reason.KEY_NOT_FOUND, NAME):
        step(world, token, at)
    assert world.current_key(NAME).id == old.id
    assert len(world.live("second")) == 1


def test_sweep_finishes_only_stored_version(world: EmergencyWorld) -> None:
    old, token = begun(world, left=5 * DAY)
    world.sweep()
    assert world.current_key(NAME).id == old.id
    step(world, token, Step.CREATE)
    assert world.sweep().ok
    assert world.current_key(NAME).name.endswith(token)
    assert step(world, token, Step.TEST) == ALREADY_CURRENT
    assert step(world, token, Step.FINISH) == ALREADY_CURRENT
    assert_finished(world, old, token)


# ---- a rotation that Secrets Manager does not go on with ------------------------------------------------------------

OURS = "arn:aws:lambda:eu-central-1:123456789012:function:rotator-rotation"


def failed_create(function: str | None = OURS, value: str | None = None) -> tuple[EmergencyWorld, SimKey, str]:
    """``createSecret`` was refused, and Secrets Manager leaves its empty version pending. The key is due."""
    world = EmergencyWorld(policy=Policy(rotation_function=OURS))
    old = world.secret(NAME, left=5 * DAY)
    token = world.store.start_rotation(NAME, world.new_id(), value, function=function)
    return world, old, token


def test_our_empty_version_is_released() -> None:
    """Threat: a failed rotation by Secrets Manager leaves an empty AWSPENDING, so that sweeps stop. It is removed after
    30 minutes.
    """
    world, old, token = failed_create()
    world.pass_time(timedelta(minutes=30) - timedelta(seconds=1))
    assert world.sweep().results == ()
    assert world.labels(NAME)[token] == {"AWSPENDING"}
    world.pass_time(timedelta(seconds=1))
    sweep = world.sweep()
    (alert,) = (each for each in sweep.plan.accounts[0].alerts if str(each.kind) == "rotation-in-progress")
    assert (alert.secret, token in alert.detail) == (NAME, True)
    assert token not in world.labels(NAME)
    assert [line["label"] for line in world.events_named("secret.unlabelled")] == ["AWSPENDING"]
    world.pass_time(HOUR)
    assert world.sweep().ok
    assert world.current_key(NAME).id != old.id
    with pytest.raises(Refused):
        step(world, token, Step.CREATE)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (OURS.replace("rotator-", "other-"), None),
        (f"{OURS}-2", None),
        (None, None),
        (OURS, "the value of another program"),
    ],
)
def test_other_pending_version_stays(function: str | None, value: str | None) -> None:
    """Threat: another function's AWSPENDING. It is kept."""
    world, old, token = failed_create(function, value)
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
    assert world.labels(NAME)[token] == {"AWSPENDING"}
    assert world.current_key(NAME).id == old.id


def test_function_is_ours_by_any_alias() -> None:
    world, _, token = failed_create(f"{OURS}:live")
    world.pass_time(HOUR)
    world.sweep()
    assert token not in world.labels(NAME)


def test_rotation_that_goes_on_is_left_alone() -> None:
    """A step is done between the sweep's listing and its look at the secret."""
    world, _, token = failed_create()
    world.pass_time(HOUR)

    def go_on(operation: str, _name: str) -> None:
        if operation == "describe":
            world.store.before = None
            step(world, token, Step.CREATE)

    world.store.before = go_on
    world.sweep()
    assert "AWSPENDING" in world.labels(NAME)[token]
    answer = step(world, token, Step.FINISH)
    assert world.current_key(NAME).id in answer


@pytest.mark.parametrize("hold", [False, True])
def test_dry_run_releases_nothing(hold: bool) -> None:
    world, _, token = failed_create()
    world.store.tag(NAME, {"rotator:hold": "audit freeze"} if hold else {"rotator:grace": "soon"})
    world.pass_time(HOUR)
    world.sweep()
    assert world.labels(NAME)[token] == {"AWSPENDING"}


def test_touched_rotation_is_left_alone() -> None:
    """AWS dates no empty version: while the secret is being changed, its rotation may go on."""
    world, _, token = failed_create()
    world.pass_time(HOUR)

    def touch(operation: str, _name: str) -> None:
        if operation == "describe":
            world.store.before = None
            world.store.label_by_hand(NAME, "of-a-person", next(iter(world.labels(NAME))))

    world.store.before = touch
    world.sweep()
    assert "AWSPENDING" in world.labels(NAME)[token]


def test_pasted_key_in_same_second_is_kept(world: EmergencyWorld) -> None:
    old, token = begun(world)
    step(world, token, Step.CREATE)
    account, now = world.accounts["main"], world.clock.now()
    pasted = world.infobip.add_key(account, "older", scopes=["sms:manage"], valid_from=now - DAY)
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": leaks.register(str(pasted.value))}))
    with refused(Reason.SUPERSEDED, token, kind=StateChanged):
        step(world, token, Step.FINISH)
    assert world.current_key(NAME).id == pasted.id
    assert {key.id for key in world.live()} == {old.id, pasted.id}


def test_step_with_unreadable_key_is_no_move(world: EmergencyWorld) -> None:
    old, token = begun(world)
    world.account("second")
    world.store.tag(NAME, {"rotator:account": "second"})
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path=f"api-keys/{old.id}", status=400, count=None))
    with refused(Reason.LISTING_INCOMPLETE):
        step(world, token, Step.CREATE)
