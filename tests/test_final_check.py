"""Right before a change the rotator looks once more, and stops if the plan's view is old or was never complete.

Each test is a world, a moment at which something happens, and what must not follow. The moments are calls of Secrets
Manager: ``LISTED`` is the list, whose tags and labels the plan believes; ``SEARCHED`` is the search of the managed
values for a key; ``LOOKED`` is the last ``DescribeSecret`` before the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, Limit
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.errors import Refused, StateChanged
from rotator.model import Policy
from rotator.plan import Action, ActionKind, Outcome, Result
from rotator.policy.draft import Draft
from rotator.policy.final_check import require_planned
from rotator.policy.labels import CURRENT, key_label, key_name, retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.reasons import Reason
from rotator.sandbox.state import Options, SimKey
from rotator.secret import Secret
from tests.chaos.interleave import Actor, Interleaver
from tests.doubles.memory_store import MemoryStore
from tests.emergencies import EmergencyWorld, named
from tests.policy.build import snap
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, START

NAME, OTHER = "prod/sms", "prod/voice"
LISTED, SEARCHED, LOOKED = "list_secrets", "read_many", "describe"
GRACE = timedelta(hours=72)
MINUTE = timedelta(minutes=1)
ADMIN = ("account-management:manage", "sms:manage")

Act = Callable[[EmergencyWorld], object]


def due() -> EmergencyWorld:
    """A key that the rotator created, and that a sweep rotates."""
    world = EmergencyWorld()
    world.secret(NAME, left=20 * DAY, rotated=True)
    return world


def graced(options: Options | None = None) -> EmergencyWorld:
    """A key in its grace period: the rotator created it, and replaced it because a person asked for that."""
    world = EmergencyWorld(options=options)
    world.secret(NAME, rotated=True)
    rotate_now(world.services(), NAME, "test")
    return world


def over(options: Options | None = None) -> EmergencyWorld:
    """A key whose grace period is over: a sweep revokes it."""
    world = graced(options)
    world.pass_time(GRACE + MINUTE)
    return world


def meanwhile(world: EmergencyWorld, call: str, act: Act) -> None:
    """Let something happen once, right after the next such call of Secrets Manager."""

    def after(called: str, _secret: str) -> None:
        if called == call:
            world.store.after = None
            act(world)

    world.store.after = after


ORPHAN_VERSION = "0" * 36


def orphaned(options: Options | None = None) -> EmergencyWorld:
    """A key that was created for the secret and never stored."""
    world = EmergencyWorld(options=options)
    world.store = MemoryStore(world.clock, keep_unlabelled=DAY, learn=world.redactor.learn)
    world.secret(NAME)
    world.first_keys["orphan"] = world.key(world.key_name(NAME, ORPHAN_VERSION), left=90 * DAY - HOUR)
    return world


def old(world: EmergencyWorld) -> SimKey:
    """The orphan, else the secret's first key, as it is now."""
    return world.infobip.key(world.first_keys.get("orphan", world.first_keys[NAME]).id)


def current(world: EmergencyWorld, name: str = NAME) -> str:
    version = read_lifecycle(world.store.peek(name)).current_version
    assert version is not None
    return version


def retiring(world: EmergencyWorld) -> tuple[str, str]:
    """The retire label of the old key, and the version that has it."""
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    return retire_label(item.key_id, item.revoke_at), item.version_id


def label(world: EmergencyWorld, label: str, version: str | None, before: str | None = None, name: str = NAME) -> None:
    world.store.label_by_hand(name, label, version, before)


def rename(world: EmergencyWorld, deployment: str = "default", secret: str = NAME) -> None:
    """The name says that the key was created by another deployment, or for another secret."""
    arn = world.store.peek(NAME).arn.replace(NAME, secret)
    world.infobip.change_key(old(world).id, name=key_name(secret, arn, deployment, ORPHAN_VERSION))


def is_labelled(world: EmergencyWorld) -> None:
    """Another version gets the current value and its label, and the one before gets the orphan's label."""
    before, first = current(world), key_label(world.first_keys[NAME].id)
    label(world, first, world.put(NAME, world.text(NAME)), before)
    label(world, key_label(old(world).id), before)


def was_stored(world: EmergencyWorld) -> None:
    """The orphan's version exists, as one before the current one."""
    before = current(world)
    world.put(NAME, {"api_key": old(world).value}, version=ORPHAN_VERSION)
    label(world, CURRENT, before, ORPHAN_VERSION)


def was_stored_once(world: EmergencyWorld) -> None:
    """Its version exists, and has no label any more."""
    was_stored(world)
    label(world, "AWSPREVIOUS", None, ORPHAN_VERSION)


CHANGES: dict[str, Act] = {
    "hold": lambda world: world.tag(NAME, hold="audit"),
    "delete": lambda world: world.store.delete(NAME),
    "unmanage": lambda world: world.untag(NAME, "rotator:role"),
    "give away": lambda world: world.tag(NAME, account="other"),
    "two labels on one version": lambda world: label(world, key_label("0" * 32), current(world)),
    "store the key again": lambda world: world.put(NAME, {"api_key": old(world).value}),
    "store it beside the other": lambda world: world.put(NAME, {**world.value(NAME), "fallback": old(world).value}),
    "make its version current": lambda world: label(world, CURRENT, retiring(world)[1], current(world)),
    "remove the retire label": lambda world: label(world, retiring(world)[0], None, retiring(world)[1]),
    "move the retire label": lambda world: label(world, retiring(world)[0], current(world), retiring(world)[1]),
    "becomes young": lambda world: world.infobip.change_key(old(world).id, valid_from=world.clock.now() - 20 * MINUTE),
    "another deployment's name": lambda world: rename(world, deployment="another"),
    "another secret's name": lambda world: rename(world, secret=OTHER),
    "is disabled": lambda world: world.infobip.change_key(old(world).id, enabled=False),
    "is labelled": is_labelled,
    "was stored": was_stored,
    "was stored once": was_stored_once,
}
"""What people, or another process, do to the secret or to the key."""
PERSON = ("hold", "delete", "unmanage", "give away")
LABELS = ("two labels on one version", "remove the retire label", "move the retire label")
USED = ("store the key again", "store it beside the other")


# ---- a person changes the secret ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "change"),
    [
        *((LISTED, change) for change in (*PERSON, *LABELS)),
        # Even where the value was stored after the labels were checked for the last time.
        *((moment, change) for moment in (SEARCHED, LOOKED) for change in (*USED, "make its version current")),
    ],
)
def test_key_is_not_revoked(moment: str, change: str) -> None:
    world = over()
    meanwhile(world, moment, CHANGES[change])
    (result,) = world.sweep().results
    assert result.outcome is not Outcome.DONE
    assert old(world).enabled


@pytest.mark.parametrize("change", ["hold", "delete"])
def test_no_key_is_created(change: str) -> None:
    world = due()
    meanwhile(world, LISTED, CHANGES[change])
    (result,) = world.sweep().results
    assert result.outcome is not Outcome.DONE
    assert [key.id for key in world.infobip.keys()] == [old(world).id]


@pytest.mark.parametrize("rotated", [True, False], ids=["by name", "by value"])
def test_unreadable_secret_keeps_by_value(world: EmergencyWorld, rotated: bool) -> None:
    """Its value can't be read after the labels were checked for the last time."""
    world.secret(NAME, rotated=rotated)
    rotate_now(world.services(), NAME, "test")
    world.pass_time(GRACE + MINUTE)
    meanwhile(world, LOOKED, lambda w: w.store.deny_kms(NAME))
    (result,) = world.sweep().results
    assert (result.outcome is Outcome.DONE) is rotated
    assert old(world).enabled is not rotated


def test_value_of_another_field_is_no_proof(world: EmergencyWorld) -> None:
    """The tag names another field since the value was read for the proof."""
    world.secret(NAME)
    rotate_now(world.services(), NAME, "test")
    world.pass_time(GRACE + MINUTE)
    meanwhile(world, SEARCHED, lambda w: w.store.tag(NAME, {"rotator:value-field": "token"}))
    (result,) = world.sweep().results
    assert result.outcome is Outcome.FAILED
    assert old(world).enabled


def test_clock_that_jumped_revokes_nothing() -> None:
    """The answers since the list say that this machine's clock is ten minutes off."""
    world = over()
    world.pass_time(HOUR)

    wrong = Fault(FaultKind.DATE, method="GET", path="api-keys/", seconds=-600, count=None)
    world.infobip.faults.add(wrong)
    (result,) = world.sweep().results
    assert (result.action.key_id, result.outcome) == (old(world).id, Outcome.DEFERRED)
    assert old(world).enabled


def test_restarted_grace_is_not_revoked() -> None:
    """Rolled back and forward at the end of the grace period; the sweep's list is five minutes old."""
    world = graced()
    newer = world.current_key(NAME)
    world.pass_time(GRACE - 4 * MINUTE)
    rollback(world.services(), NAME, "test")
    rollback(world.services(), NAME, "test", newer.id)
    world.pass_time(3 * MINUTE)
    world.store.staleness = 5 * MINUTE
    (result,) = world.sweep().results
    assert (result.action.key_id, result.outcome) == (old(world).id, Outcome.DEFERRED)
    assert old(world).enabled


ACTION = Action(ActionKind.REVOKE, "main", NAME, Reason.GRACE_OVER, START, key_id="K1", version_id="v1", arn="arn:1")


@pytest.mark.parametrize(
    "other",
    [
        {"kind": ActionKind.RETIRE},
        {"reason": Reason.KEY_NOT_ACTIVE},
        {"key_id": "K2"},
        {"version_id": "v2"},
        {"arn": "arn:2"},
    ],
)
def test_only_same_action_counts(other: dict[str, Any]) -> None:
    draft = Draft(snap(), Policy(), START, planned=[ACTION])
    require_planned(draft, ACTION)
    draft.planned = [replace(ACTION, **other)]
    with pytest.raises(StateChanged):
        require_planned(draft, ACTION)


# ---- somebody changes the key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reveal", [True, False], ids=["shown", "masked"])
@pytest.mark.parametrize(
    "change",
    [
        *(*PERSON, "becomes young", "another deployment's name", "another secret's name", "is disabled"),
        *(*USED, "is labelled", "was stored", "was stored once"),
    ],
)
def test_orphan_is_not_revoked(change: str, reveal: bool) -> None:
    """It, or its secret, was changed after the managed values were searched for it."""
    world = orphaned(Options(reveal=reveal))
    meanwhile(world, SEARCHED, CHANGES[change])
    (result,) = world.sweep().results
    assert (result.action.key_id, result.action.reason) == (old(world).id, Reason.ORPHAN)
    assert result.outcome is not Outcome.DONE
    assert old(world).enabled is (change != "is disabled")


@pytest.mark.parametrize("account", ["main", "second"])
@pytest.mark.parametrize(
    "labels", [("AWSPENDING",), ("rotator:key:OLD", "rotator:retire:OLD:20990101T000000Z")], ids=["pending", "retiring"]
)
@pytest.mark.parametrize("field", ["api_key", "fallback"])
def test_orphan_in_pending_or_retiring(account: str, labels: tuple[str, ...], field: str) -> None:
    """Threat: a person stores an orphan's value for later, or a secret goes back to it. It is reported, not revoked."""
    world = orphaned()
    world.account("second")
    world.secret(OTHER, account=account)
    world.put(OTHER, {"api_key": "other", field: old(world).value}, labels)
    (plan,) = [each for each in world.sweep().plan.accounts if each.account == "main"]
    assert old(world).enabled
    assert [alert.key_id for alert in plan.alerts if alert.kind is Reason.KEY_REENABLED] == [old(world).id]


def test_key_in_use_again_no_retire_label() -> None:
    """The version's retire label was lost, and a person makes the version current after the list."""
    world = graced()
    retire, version = retiring(world)
    label(world, retire, None, version)
    newer = current(world)
    meanwhile(world, LISTED, lambda w: label(w, CURRENT, version, newer))
    (result,) = world.sweep().results
    assert (result.action.kind, result.outcome) == (ActionKind.RETIRE, Outcome.DEFERRED)
    assert not [each for each in world.labels(NAME)[version] if each.startswith("rotator:retire:")]


def mislabelled() -> EmergencyWorld:
    """A label on the current version, and the key's name, say that it is a key with more scopes than the value's."""
    world = EmergencyWorld()
    world.secret(NAME, left=20 * DAY)
    version = current(world)
    admin = world.first_keys["admin"] = world.key(world.key_name(NAME, version), left=20 * DAY, scopes=ADMIN)
    label(world, key_label(old(world).id), None, version)
    label(world, key_label(admin.id), version)
    return world


def lose_name(world: EmergencyWorld) -> None:
    world.infobip.change_key(world.first_keys["admin"].id, name="another team's")


def test_renamed_key_passes_on_no_scopes() -> None:
    """Its name was its only proof, and it is another one when the key is read again."""
    world = mislabelled()
    renamed = Fault(
        FaultKind.HOOK_AFTER, method="GET", path="api-keys$", hook=lambda _request, _answer: lose_name(world)
    )
    world.infobip.faults.add(renamed)
    (result,) = world.sweep().results
    assert (result.action.kind, result.outcome) == (ActionKind.ROTATE, Outcome.FAILED)
    assert len(world.infobip.keys()) == 2


@pytest.mark.parametrize("tags", [{}, {"rotator:scopes": "sms:manage"}], ids=["untagged", "tagged"])
def test_emergency_label_passes_on_no_scopes(tags: dict[str, str]) -> None:
    """Nor where Infobip can't say which key the value is."""
    world = mislabelled()
    world.store.tag(NAME, tags)
    lose_name(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", count=None))
    before = {key.id for key in world.infobip.keys()}
    world.revoke(**named("secret", old(world)))
    made = [key for key in world.infobip.keys() if key.id not in before]
    assert [key for key in made if key.scopes != {"sms:manage"}] == []


# ---- another sweep revokes the key that a rollback needs ------------------------------------------------------------


def test_rollback_waits_for_revocation() -> None:
    """The grace period ends during the rollback, and another process's sweep is about to revoke the key."""
    world = graced()
    newer = world.current_key(NAME)
    world.pass_time(GRACE - MINUTE / 2)

    def sweep() -> None:
        world.pass_time(MINUTE / 2)
        world.sweep()

    both = Interleaver(world, {"r": lambda: rollback(world.services(), NAME, "test"), "s": sweep})

    def order() -> Iterator[str]:
        """The rollback verifies the key, the sweep looks for the last time, the rollback removes the retire label."""
        yield from until(both.actors["r"], "remove_label")
        yield from until(both.actors["s"], "PUT")
        yield "r"
        yield "s"

    both.run(order())
    assert isinstance(both.actors["r"].error, Refused)
    assert not old(world).enabled
    assert world.current_key(NAME).id == newer.id
    assert world.consumer_works(NAME)


def until(actor: Actor, call: str) -> Iterator[str]:
    """The actor's letter until it stops before such a call."""
    while not actor.next_call.startswith(call):
        yield actor.letter


# ---- what a plan did not find out -----------------------------------------------------------------------------------


def revoke_old(
    world: EmergencyWorld, holder: str | None = None, searched: bool = True, budget: Budget | None = None
) -> Result:
    """Revoke the old key, or the orphan, by a plan that asked for no other evidence than who holds the key.

    :param holder: the secret that was found to hold it.
    :param searched: whether any value was searched for it.
    :param budget: what is left of the daily limits.
    """
    what, version, key = Reason.ORPHAN, ORPHAN_VERSION, old(world)
    if "orphan" not in world.first_keys:
        what, version = Reason.GRACE_OVER, retiring(world)[1]
    context = context_of(world, budget or Budget())
    context.snapshot = replace(context.snapshot, copies={key.id: (holder,) if holder else ()} if searched else {})
    result, _ = apply(context, context.action(ActionKind.REVOKE, what, world.store.peek(NAME), key.id, version))
    return result


def context_of(world: EmergencyWorld, budget: Budget) -> AccountContext:
    (snapshot,), _ = world.reconciler().snapshots()
    management = world.store.peek("rotator/main")
    provider = world.connect(management, Secret(world.text(management.name)))
    return AccountContext(world.services(), provider, snapshot, budget)


@pytest.mark.parametrize("reason", [Reason.STALE_LABEL, Reason.MISLABELLED, Reason.UNADOPTED])
def test_labels_of_superseded_version_stay(reason: Reason) -> None:
    """A label that is no longer stale, and a version that is no longer current."""
    world = graced()
    entry, context = world.store.peek(NAME), context_of(world, Budget())
    (item,) = read_lifecycle(entry).retiring
    key_id = None if reason is Reason.MISLABELLED else item.key_id
    action = context.action(ActionKind.LABEL, reason, entry, key_id, item.version_id)
    labels = {Reason.STALE_LABEL: retire_label(item.key_id, item.revoke_at), Reason.MISLABELLED: key_label(item.key_id)}
    result, error = apply(context, replace(action, label=labels.get(reason)))
    assert (result.outcome, type(error)) == (Outcome.DEFERRED, StateChanged)
    assert world.store.peek(NAME).versions == entry.versions


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ({}, Outcome.DONE),
        ({"searched": False}, Outcome.DEFERRED),
        ({"holder": OTHER}, Outcome.FAILED),
        ({"budget": Budget(updates=Limit([]))}, Outcome.DEFERRED),
    ],
    ids=["nothing holds it", "unsearched", "another secret's", "no update is left"],
)
@pytest.mark.parametrize("make", [over, orphaned])
def test_key_is_revoked_if_nothing_holds_it(
    make: Callable[[], EmergencyWorld], found: dict[str, Any], outcome: Outcome
) -> None:
    world = make()
    assert revoke_old(world, **found).outcome is outcome
    assert old(world).enabled is (outcome is not Outcome.DONE)


def not_its_versions(world: EmergencyWorld) -> None:
    """The label names another key than the version's value is."""
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    victim = world.secret(OTHER)
    for key_id, version, before in ((item.key_id, None, item.version_id), (victim.id, item.version_id, None)):
        label(world, key_label(key_id), version, before)
        label(world, retire_label(key_id, item.revoke_at), version, before)
    world.first_keys[NAME] = victim


def not_the_current_versions(world: EmergencyWorld) -> None:
    """The label on ``AWSCURRENT`` names another key, so nothing says that the current one is not this one."""
    life, victim = read_lifecycle(world.store.peek(NAME)), world.secret(OTHER)
    label(world, key_label(str(life.current_key)), None, life.current_version)
    label(world, key_label(victim.id), life.current_version)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        # The key that the retire label names is another deployment's, and so proven by its value at best.
        (CHANGES["another deployment's name"], Outcome.FAILED),
        (not_its_versions, Outcome.FAILED),
        (not_the_current_versions, Outcome.DEFERRED),  # the next sweep corrects the label first
    ],
)
def test_no_revocation_without_proof(change: Act, outcome: Outcome) -> None:
    world = over()
    change(world)
    assert revoke_old(world).outcome is outcome
    assert old(world).enabled


def test_label_counts_where_value_is_unknown() -> None:
    """Its version can't be read, and Infobip masks values: another secret's label is all that shows its use."""
    world = over(Options(reveal=False))
    world.secret(OTHER)
    before = current(world, OTHER)
    version = world.put(OTHER, {"api_key": old(world).value})
    label(world, CURRENT, before, version, OTHER)
    for each in (key_label(old(world).id), retire_label(old(world).id, world.clock.now() + DAY)):
        label(world, each, version, name=OTHER)
    world.store.deny_kms(NAME)
    sweep = world.sweep()
    assert sweep.results == ()
    assert (NAME, Reason.SHARED_KEY) in {(skip.secret, skip.reason) for skip in sweep.plan.accounts[0].skipped}
    assert old(world).enabled
