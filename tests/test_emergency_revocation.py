"""Emergency revocation: which keys are revoked and which secrets replaced, by each strategy and each kind of target."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy, Target
from rotator.engine.emergency.planning import UnknownValue
from rotator.errors import ConfigurationError, Refused, RotatorError, SecretNotFound
from rotator.policy.labels import key_name
from rotator.reasons import Reason
from rotator.sandbox.state import Options, SimKey
from rotator.secret import Secret
from tests import leaks
from tests.emergencies import REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY, EmergencyWorld, Tape, leaked, named
from tests.world import DAY, HOUR, KEY, NAME, PLAIN

EVERY = list(Strategy)
REPLACING = [REPLACE_FIRST, REVOKE_FIRST]
BY = ["key", "value"]


def watch_the_consumer(world: EmergencyWorld) -> list[bool]:
    """Whether it had a working key, after each call of Infobip from now on."""
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    return seen


# ---- by secret ------------------------------------------------------------------------------------------------------


def test_replace_first_consumers_work(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    seen = watch_the_consumer(world)
    report = world.revoke()
    assert seen
    assert all(seen)
    new = world.current_key(NAME)
    assert new.scopes == current.scopes
    assert [(step.what, step.key_id, step.note) for step in report.steps] == [
        ("created", new.id, ""),
        ("promoted", new.id, ""),
        ("revoked", current.id, "verified: 401"),
        ("revoked", old.id, "verified: 401"),
    ]
    assert report.replaced == (NAME,)
    world.settled(report, dead=[old, current], kept=[new])


def test_revoke_first_revokes_before_create(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    with Tape(world) as tape:
        report = world.revoke(REVOKE_FIRST)
    assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
    world.settled(report, dead=[old, current])


@pytest.mark.parametrize("held", [False, True])
def test_revoke_only_is_replaced_by_sweep(world: EmergencyWorld, held: bool) -> None:
    old, current = world.in_grace()
    if held:
        world.store.tag(NAME, {"rotator:hold": "frozen"})
    report = world.revoke(REVOKE_ONLY)
    assert (report.replaced, [step.note for step in report.steps]) == ((), ["verified: 401"] * 2)
    assert current.id in world.names_of()  # so that the next sweep knows what it replaces
    if not held:
        world.settled(report, dead=[old, current], works=False)
        return
    assert report.ok
    assert world.sweep().results == ()
    assert not world.consumer_works(NAME)
    world.store.untag(NAME, "rotator:hold")
    assert Reason.KEY_DISABLED in [result.action.reason for result in world.sweep().results]


@pytest.mark.parametrize("strategy", REPLACING)
def test_hold_window_rotation_do_not_stop_it(world: EmergencyWorld, strategy: Strategy) -> None:
    key = world.secret(NAME, hold="audit freeze", window="Sun 01:00-02:00 UTC")
    world.store.start_rotation(NAME)
    assert world.revoke(strategy).ok
    assert not world.works(key)
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", ["secret", *BY])
@pytest.mark.parametrize("plain", [False, True])
def test_unadopted_secret_is_read(world: EmergencyWorld, strategy: Strategy, plain: bool, by: str) -> None:
    key = world.secret(NAME, adopted=False, value=PLAIN if plain else KEY, extra={} if plain else {"sender": "Example"})
    other = world.secret("prod/other", adopted=False)
    report = world.revoke(strategy, **named(by, key))
    assert report.revoked == (key.id,)
    text = world.store.consumer_read(NAME)
    world.settled(report, dead=[key], kept=[other], works=strategy is not REVOKE_ONLY)
    assert not text.startswith("{") if plain else json.loads(text)["sender"] == "Example"


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("adopted", [False, True])
def test_secret_sharing_key_is_replaced(world: EmergencyWorld, strategy: Strategy, adopted: bool) -> None:
    key = world.secret(NAME)
    world.store.copy_secret_with_tags(NAME, "prod/copy")
    if adopted:
        world.sweep()
    report = world.revoke(strategy)
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert any("prod/copy" in note for note in report.notes)
    assert report.revoked == (key.id,)
    assert world.current_key(NAME).id != world.current_key("prod/copy").id
    assert world.consumer_works("prod/copy")
    world.settled(report, dead=[key])
    world.calm("prod/copy")


@pytest.mark.parametrize("adopted", [False, True])
def test_unreplaced_copy_is_error_not_note(world: EmergencyWorld, adopted: bool) -> None:
    key = world.secret(NAME)
    world.store.copy_secret_with_tags(NAME, "prod/copy")
    if adopted:
        world.sweep()
    world.tag("prod/copy", grace="soon")
    for report in (world.dry_run(), world.revoke()):
        assert (report.replaced, report.revoked) == ((NAME,), (key.id,))
        assert ["prod/copy" in error and "rotator:grace" in error for error in report.errors] == [True]
        assert not any("prod/copy" in note for note in report.notes)


def test_other_holder_of_retiring_key(world: EmergencyWorld) -> None:
    older = world.secret("prod/copy", hold="frozen")
    retiring = next(iter(world.labels("prod/copy")))
    world.store.label_by_hand("prod/copy", f"rotator:retire:{older.id}:20260310T000000Z", retiring)
    shared = world.secret(NAME, left=5 * DAY)
    world.put("prod/copy", {"api_key": shared.value}, ["AWSCURRENT", f"rotator:key:{shared.id}"])
    assert world.sweep(secret=NAME).ok
    assert world.current_key("prod/copy").id == shared.id != world.current_key(NAME).id
    report = world.revoke()
    assert report.ok, report.errors
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert not world.works(shared)
    assert world.consumer_works("prod/copy")
    assert world.names_of("prod/copy") >= {older.id}
    assert older.id not in report.revoked
    assert world.works(older)


def test_another_accounts_copy_is_error(world: EmergencyWorld) -> None:
    """It can't get a key of this account: only ``rotator rotate`` moves a secret."""
    key = world.secret(NAME)
    world.account("other")
    world.store.create_secret("other/copy", world.tags("other"), json.dumps({"api_key": key.value}))
    version = next(iter(world.labels("other/copy")))
    world.store.label_by_hand("other/copy", f"rotator:key:{key.id}", version)
    report = world.revoke()
    assert (report.replaced, report.revoked) == ((NAME,), (key.id,))
    (error,) = report.errors
    assert "rotator rotate other/copy" in error
    assert [step.reason for step in report.steps if step.error == error] == [Reason.KEY_NOT_FOUND]


def test_empty_secret_gets_no_key(world: EmergencyWorld) -> None:
    world.account()
    world.store.create_secret(NAME, world.tags(scopes="sms:manage"))
    report = world.revoke()
    assert (report.ok, report.steps) == (True, [])
    assert not world.infobip.keys()


# ---- in how many calls ----------------------------------------------------------------------------------------------


def _fleet(*, rotated: bool) -> EmergencyWorld:
    """A hundred secrets; the one concerned holds a key that the rotator, or a person, created."""
    world = EmergencyWorld()
    for number in range(98):
        world.secret(f"fleet/{number:03}", left=80 * DAY)
    if rotated:
        world.in_grace()
    else:
        world.secret(NAME)
    return world


SEARCH = "GET keys by apiKeySecret"
READ = {
    "secret": ["describe", "read_content", "read_current", SEARCH],
    "key": ["read_current", "GET key"],
    "value": ["read_current", SEARCH],
}
"""The calls that identify the key. A secret with a second version takes two more."""


def _before_the_kill(world: EmergencyWorld, strategy: Strategy, by: str, key: SimKey) -> list[str]:
    """The calls up to the one that revokes the first key, without the batches that read every current value."""
    with Tape(world) as tape:
        assert world.revoke(strategy, incident="INC-7", **named(by, key)).ok
    calls = tape.until_kill()
    assert calls.count("read_many") == 5  # a hundred secrets, 20 a call
    assert not world.works(key)
    return [call for call in calls if call != "read_many"]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("by", READ)
def test_replace_first_revokes_at_13th_call(by: str, rotated: bool) -> None:
    world = _fleet(rotated=rotated)
    second = ["read_content", SEARCH] if rotated and by == "secret" else []
    again = [] if by == "secret" else ["describe", "read_content"]
    replace = ["read_current", "POST keys", "stage", "probe", "promote"]
    calls = _before_the_kill(world, REPLACE_FIRST, by, world.current_key(NAME))
    assert calls == ["list_secrets", *READ[by], *second, *again, *replace, "PUT key"]
    assert len(calls) <= 13


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("by", READ)
@pytest.mark.parametrize("strategy", [REVOKE_FIRST, REVOKE_ONLY])
def test_revoke_first_revokes_at_4th_call(strategy: Strategy, by: str, rotated: bool) -> None:
    """By secret it takes two more calls, and two for each further version."""
    world = _fleet(rotated=rotated)
    second = ["read_content", SEARCH] if rotated and by == "secret" else []
    calls = _before_the_kill(world, strategy, by, world.current_key(NAME))
    assert calls == ["list_secrets", *READ[by], *second, "PUT key"]


# ---- by key id and by leaked value ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", BY)
def test_naming_current_key_revokes_it_alone(world: EmergencyWorld, by: str, strategy: Strategy) -> None:
    old, current = world.in_grace()
    report = world.revoke(strategy, **named(by, current))
    assert report.ok, report.errors
    assert report.revoked == (current.id,)
    assert report.replaced == (() if strategy is REVOKE_ONLY else (NAME,))
    assert [world.works(key) for key in (old, current)] == [True, False]
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    world.calm()


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", BY)
def test_naming_key_in_grace(world: EmergencyWorld, by: str, strategy: Strategy) -> None:
    """Nobody said that the current one leaked: no consumer pays for it, in any strategy."""
    old, current = world.in_grace()
    seen = watch_the_consumer(world)
    report = world.revoke(strategy, **named(by, old))
    assert all(seen)
    assert (report.revoked, report.replaced, world.current_key(NAME).id) == ((old.id,), (), current.id)
    world.settled(report, dead=[old], kept=[current])


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("reveal", [True, False])
def test_own_orphan_is_revoked(by: str, reveal: bool) -> None:
    world = EmergencyWorld(options=Options(reveal=reveal))
    current = world.secret(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, "default", world.new_id())
    orphan = world.infobip.add_key(world.accounts["main"], name)
    report = world.revoke(**named(by, orphan))
    assert report.revoked == (orphan.id,)
    known = by == "value" or reveal
    assert report.steps[0].note == ("verified: 401" if known else "verified: disabled at Infobip")
    assert world.current_key(NAME).id == current.id
    world.settled(report, dead=[orphan], kept=[current])


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("whose", ["made for CI", "staging"])
def test_named_key_of_anybody_is_revoked(world: EmergencyWorld, by: str, whose: str) -> None:
    """Threat: a leaked key that no secret here contains. It is revoked if it is named. Nothing here contains it; the
    preview says so, with its name at Infobip.
    """
    world.secret(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, whose, "0" * 32) if whose == "staging" else whose
    other = world.infobip.add_key(world.accounts["main"], name)
    plan = world.plan_for(**named(by, other))
    (note,) = plan.notes
    assert other.id in note
    assert whose in note
    world.settled(world.revoke(**named(by, other)), dead=[other])


@pytest.mark.parametrize("by", BY)
def test_disabled_key_is_verified_again(world: EmergencyWorld, by: str) -> None:
    old, current = world.in_grace()
    world.infobip.change_key(old.id, enabled=False)
    report = world.revoke(**named(by, old))
    assert (report.ok, [step.note for step in report.steps]) == (True, ["already disabled; verified: 401"])
    assert world.current_key(NAME).id == current.id
    lost = world.infobip.add_key(world.accounts["main"], "not ours", enabled=False)
    assert world.revoke(**named(by, lost)).ok


def test_just_stored_key_is_no_orphan() -> None:
    world = EmergencyWorld(staleness=timedelta(minutes=5))
    _, current = world.in_grace()
    world.pass_time(HOUR)
    assert world.revoke().ok
    new = world.current_key(NAME)
    world.pass_time(timedelta(minutes=2))  # the listing still shows `current`
    report = world.revoke(key_id=new.id, account="main")
    assert report.ok, report.errors
    assert new.id in report.revoked
    assert current.id not in report.revoked
    assert world.consumer_works(NAME)
    world.pass_time(HOUR)
    world.calm()


def test_unreadable_current_known_by_name(world: EmergencyWorld) -> None:
    world.secret(NAME)
    assert world.revoke().ok
    current = world.current_key(NAME)
    version = next(v for v, labels in world.labels(NAME).items() if "AWSCURRENT" in labels)
    world.store.label_by_hand(NAME, f"rotator:key:{current.id}", None, version)
    world.store.deny_kms(NAME)
    plan = world.plan_for(key_id=current.id, account="main")
    assert [(suspect.key.id, suspect.secret) for suspect in plan.suspects] == [(current.id, NAME)]


def test_other_rotations_key_is_pending(world: EmergencyWorld) -> None:
    world.secret(NAME)
    key = world.infobip.add_key(world.accounts["main"], "another function's")
    world.store.start_rotation(NAME, "f" * 32, key.value)
    roles = {suspect.key.id: suspect.role for suspect in world.plan_for(secret=NAME).suspects}
    assert roles == {world.current_key(NAME).id: "current", key.id: "pending"}


# ---- several accounts, and what is not found ------------------------------------------------------------------------


UNKNOWN = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef")


@pytest.mark.parametrize(("account", "unreachable"), [(None, False), ("main", False), (None, True)])
def test_leaked_value_in_every_account(world: EmergencyWorld, account: str | None, unreachable: bool) -> None:
    other = world.secret("first/sms", account="alpha")
    key = world.secret(NAME, account="main")
    if unreachable:
        world.store.deny_kms("rotator/alpha")
    report = world.revoke(leaked=leaked(key), account=account)
    assert (report.ok, report.account, report.revoked) == (True, "main", (key.id,))
    assert world.consumer_works(NAME)
    assert world.works(other)


@pytest.mark.parametrize("unreachable", [False, True])
def test_unknown_value_is_refused(world: EmergencyWorld, unreachable: bool) -> None:
    """Unknown only if every account was asked."""
    world.secret("first/sms", account="alpha")
    world.secret(NAME, account="main")
    if unreachable:
        world.store.deny_kms("rotator/alpha")
    with pytest.raises(Refused) as caught:
        world.revoke(leaked=Secret(UNKNOWN))
    assert isinstance(caught.value, UnknownValue) is not unreachable
    assert ("rotator/alpha" if unreachable else "alpha, main") in str(caught.value)
    assert not leaks.find(str(caught.value) + repr(caught.value) + world.stream.getvalue())


@pytest.mark.parametrize(
    ("target", "error", "fact"),
    [
        ({"secret": "prod/nope"}, SecretNotFound, "prod/nope"),
        ({"secret": "rotator/main"}, Refused, "rotator:role=key"),
        ({"secret": NAME, "account": "other"}, ConfigurationError, "other"),
        ({"key_id": "0" * 32, "account": "main"}, Refused, "0" * 32),
        ({"key_id": "1" * 32, "account": "nope"}, ConfigurationError, "nope"),
        ({"leaked": Secret("x" * 40), "account": "nope"}, RotatorError, "nope"),
        ({"key_id": "1" * 32}, ConfigurationError, None),
    ],
)
def test_unknown_or_unmanaged_is_refused(
    world: EmergencyWorld, target: dict[str, Any], error: type[RotatorError], fact: str | None
) -> None:
    world.secret(NAME)
    with pytest.raises(error, match=fact):
        world.revoke(**target)
    assert world.consumer_works(NAME)


def test_dry_run_shows_each_key_as_it_is(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    world.infobip.delete_key(old.id)
    command = world.emergency()
    report = command.dry_run(command.plan(Target(secret=NAME), REPLACE_FIRST))
    shown = {
        step.key_id: (step.ok, step.suspect and step.suspect.key.valid_from) for step in report.steps if step.suspect
    }
    assert shown == {current.id: (True, current.valid_from), old.id: (False, None)}


def test_value_of_no_account_is_error(world: EmergencyWorld) -> None:
    key = world.secret("prod/odd")
    world.store.put_value_by_hand("prod/odd", json.dumps({"api_key": "not-a-key-of-this-account"}))
    report = world.revoke(secret="prod/odd")
    assert report.revoked == (key.id,)
    assert ["prod/odd" in error for error in report.errors] == [True, True]
