"""Emergency revocation: which keys are revoked and which secrets replaced, by each strategy and each kind of target."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy, Target
from rotator.errors import ConfigurationError, Refused, RotatorError, SecretNotFound
from rotator.model import Reason
from rotator.policy.labels import key_name
from rotator.sandbox.state import Options
from rotator.secret import Secret
from tests import leaks
from tests.emergencies import (
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    Tape,
    alive,
    calm,
    emergency,
    in_grace,
    leaked,
    named,
    names_of,
    plan_for,
    revoke,
    settled,
)
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World

EVERY = list(Strategy)
REPLACING = [REPLACE_FIRST, REVOKE_FIRST]
BY = ["key", "value"]


def watch_the_consumer(world: World) -> list[bool]:
    """Whether it had a working key, after each call of Infobip from now on."""
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    return seen


# ---- by secret ------------------------------------------------------------------------------------------------------


def test_replace_first_keeps_consumers_working_at_every_moment() -> None:
    world = World()
    old, current = in_grace(world)
    seen = watch_the_consumer(world)
    report = revoke(world)
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
    assert (report.replaced, names_of(world)) == ((NAME,), {new.id})
    assert world.sweep().results == ()
    settled(world, report, dead=[old, current], kept=[new])


def test_revoke_first_revokes_before_it_creates() -> None:
    world = World()
    old, current = in_grace(world)
    with Tape(world) as tape:
        report = revoke(world, REVOKE_FIRST)
    assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
    settled(world, report, dead=[old, current])


@pytest.mark.parametrize("held", [False, True])
def test_revoke_only_leaves_a_key_that_the_next_sweep_replaces(held: bool) -> None:
    world = World()
    old, current = in_grace(world)
    if held:
        world.store.tag(NAME, {"rotator:hold": "frozen"})
    report = revoke(world, REVOKE_ONLY)
    assert (report.replaced, [step.note for step in report.steps]) == ((), ["verified: 401"] * 2)
    assert names_of(world) == {current.id}  # so that the next sweep knows what it replaces
    if not held:
        settled(world, report, dead=[old, current], works=False)
        return
    assert report.ok
    assert world.sweep().results == ()
    assert not world.consumer_works(NAME)
    world.store.untag(NAME, "rotator:hold")
    assert [result.action.reason for result in world.sweep().results] == [Reason.KEY_DISABLED]


@pytest.mark.parametrize("strategy", REPLACING)
def test_holds_windows_and_foreign_rotations_do_not_stop_it(strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME, hold="audit freeze", window="Sun 01:00-02:00 UTC")
    world.store.start_rotation(NAME)
    assert revoke(world, strategy).ok
    assert not alive(world, key)
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", ["secret", *BY])
@pytest.mark.parametrize("plain", [False, True])
def test_an_unadopted_secret_is_read_to_know_its_key(strategy: Strategy, plain: bool, by: str) -> None:
    world = World()
    key = world.managed(NAME, adopted=False, plain=plain, extra={} if plain else {"sender": "Example"})
    other = world.managed("prod/other", adopted=False)
    report = revoke(world, strategy, **named(by, key))
    assert report.revoked == (key.id,)
    text = world.store.consumer_read(NAME)
    settled(world, report, dead=[key], kept=[other], works=strategy is not REVOKE_ONLY)
    assert not text.startswith("{") if plain else json.loads(text)["sender"] == "Example"


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("adopted", [False, True])
def test_a_secret_that_shares_the_key_is_replaced_as_well(strategy: Strategy, adopted: bool) -> None:
    world = World()
    key = world.managed(NAME)
    world.store.copy_secret_with_tags(NAME, "prod/copy")
    if adopted:
        world.sweep()
    report = revoke(world, strategy)
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert any("prod/copy holds a key to be revoked, and gets a new one as well" in note for note in report.notes)
    assert report.revoked == (key.id,)
    assert world.current_key(NAME).id != world.current_key("prod/copy").id
    assert world.consumer_works("prod/copy")
    settled(world, report, dead=[key])
    calm(world, "prod/copy")


def test_another_holder_of_a_retiring_key_is_replaced() -> None:
    world = World()
    older = world.managed("prod/copy", hold="frozen")
    retiring = next(iter(world.labels("prod/copy")))
    world.store.label_by_hand("prod/copy", f"rotator:retire:{older.id}:20260310T000000Z", retiring)
    shared = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    version = world.store.put_value_by_hand("prod/copy", json.dumps({"api_key": shared.value}))
    world.store.label_by_hand("prod/copy", f"rotator:key:{shared.id}", version)
    assert world.sweep(secret=NAME).ok
    assert world.current_key("prod/copy").id == shared.id != world.current_key(NAME).id
    report = revoke(world)
    assert report.ok, report.errors
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert not alive(world, shared)
    assert world.consumer_works("prod/copy")
    assert names_of(world, "prod/copy") >= {older.id}
    assert older.id not in report.revoked
    assert alive(world, older)


def test_another_accounts_copy_is_noted_and_kept() -> None:
    world = World()
    key = world.managed(NAME)
    world.account("other")
    world.store.create_secret("other/copy", world.tags("other"), json.dumps({"api_key": key.value}))
    version = next(iter(world.labels("other/copy")))
    world.store.label_by_hand("other/copy", f"rotator:key:{key.id}", version)
    plan = plan_for(world, secret=NAME)
    assert [entry.name for entry in plan.replaced] == [NAME]
    assert any("other/copy" in note and "other" in note for note in plan.notes)


def test_an_empty_secret_has_no_key_and_gets_none() -> None:
    world = World()
    world.account()
    world.store.create_secret(NAME, world.tags(scopes="sms:manage"))
    report = revoke(world)
    assert (report.ok, report.steps) == (True, [])
    assert not world.infobip.keys()


def test_with_20_labels_the_old_keys_are_revoked_first() -> None:
    world = World()
    world.managed(NAME)
    retired = []
    for number in range(8):  # 8 keys in grace: 16 labels, and the current one's 3
        key = world.infobip.add_key(world.accounts["main"], f"old {number}")
        version = world.store.put_value_by_hand(NAME, json.dumps({"api_key": key.value}))
        world.store.label_by_hand(NAME, f"rotator:key:{key.id}", version)
        at = world.clock.now() + 48 * HOUR + timedelta(minutes=number)
        world.store.label_by_hand(NAME, f"rotator:retire:{key.id}:{at:%Y%m%dT%H%M%SZ}", version)
        retired.append(key)
    last = world.infobip.add_key(world.accounts["main"], "current")
    version = world.store.put_value_by_hand(NAME, json.dumps({"api_key": last.value}))
    world.store.label_by_hand(NAME, f"rotator:key:{last.id}", version)
    assert sum(len(labels) for labels in world.labels(NAME).values()) == 20
    report = revoke(world)
    assert names_of(world) == {world.current_key(NAME).id}
    settled(world, report, dead=[*retired, last, world.first_keys[NAME]])


# ---- in how many calls ----------------------------------------------------------------------------------------------


def _fleet(*, rotated: bool) -> World:
    """A hundred secrets; the one concerned holds a key that the rotator, or a person, created."""
    world = World()
    for number in range(98):
        world.managed(f"fleet/{number:03}", age=10 * DAY)
    if rotated:
        in_grace(world)
    else:
        world.managed(NAME)
    return world


BY_NAME = ["GET keys"]
BY_VALUE = ["GET keys", "read_version", "GET keys by apiKeySecret"]
NAMED = ["GET keys by apiKeySecret"]


@pytest.mark.parametrize(
    ("rotated", "by", "asked", "calls"),
    [
        (True, "secret", BY_NAME, 9),
        (True, "key", BY_NAME, 9),
        (True, "value", [*NAMED, *BY_NAME], 10),
        (False, "secret", [*BY_VALUE, "GET key"], 12),
        (False, "key", [*BY_VALUE, "GET key"], 12),
        (False, "value", [*NAMED, *BY_VALUE[1:]], 11),
    ],
)
def test_replace_first_revokes_with_its_ninth_call(rotated: bool, by: str, asked: list[str], calls: int) -> None:
    """Where the rotator created the key: it is proven by name. A key created by hand is proven by its value."""
    world = _fleet(rotated=rotated)
    key = world.current_key(NAME)
    with Tape(world) as tape:
        assert revoke(world, incident="INC-7", **named(by, key)).ok
    first, rest = ["list_secrets", "read_current"], ["read_current", "POST keys", "stage", "probe", "promote"]
    assert tape.until_kill() == [*first, *asked, *rest, "PUT key"]
    assert len(tape.until_kill()) == calls
    assert not alive(world, key)


@pytest.mark.parametrize(
    ("rotated", "by", "look"),
    [
        (True, "secret", ["describe", *BY_NAME]),
        (False, "secret", ["describe", *BY_VALUE]),
        (True, "key", []),
        (False, "key", []),
        (True, "value", NAMED),
        (False, "value", NAMED),
    ],
)
@pytest.mark.parametrize("strategy", [REVOKE_FIRST, REVOKE_ONLY])
def test_revoke_first_revokes_with_its_fifth_call(strategy: Strategy, rotated: bool, by: str, look: list[str]) -> None:
    """The seventh where a key of a named secret was created by hand; with no proof, the third or fourth."""
    world = _fleet(rotated=rotated)
    key = world.current_key(NAME)
    with Tape(world) as tape:
        assert revoke(world, strategy, **named(by, key)).ok
    assert tape.until_kill() == ["list_secrets", "read_current", *look, "PUT key"]
    assert not alive(world, key)


# ---- by key id and by leaked value ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", BY)
def test_naming_the_current_key_revokes_all_of_its_secret(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    report = revoke(world, strategy, **named(by, current))
    assert set(report.revoked) == {old.id, current.id}
    settled(world, report, dead=[old, current], works=strategy is not REVOKE_ONLY)


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", BY)
def test_naming_a_key_in_grace_revokes_it_before_replacing(by: str, strategy: Strategy) -> None:
    """Nobody said that the current one leaked: no consumer pays for it, in any strategy."""
    world = World()
    old, current = in_grace(world)
    seen = watch_the_consumer(world)
    with Tape(world) as tape:
        report = revoke(world, strategy, **named(by, old))
    assert all(seen)
    if strategy is REVOKE_ONLY:
        assert (report.revoked, world.current_key(NAME).id) == ((old.id,), current.id)
        assert any("was not named and stays" in note for note in report.notes)
        settled(world, report, dead=[old], kept=[current])
    else:
        assert report.revoked == (old.id, current.id)
        assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
        settled(world, report, dead=[old, current])


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("by", BY)
def test_an_unnamed_current_key_stays_where_replacing_fails(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=403))
    report = revoke(world, strategy, **named(by, old))
    assert any(current.id in error and "stays" in error for error in report.errors)
    assert not alive(world, old)
    calm(world)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("reveal", [True, False])
def test_an_orphan_of_this_deployment_is_revoked(by: str, reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    current = world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, "default", world.new_id())
    orphan = world.infobip.add_key(world.accounts["main"], name)
    report = revoke(world, **named(by, orphan))
    assert report.revoked == (orphan.id,)
    proven = by == "value" or reveal
    assert report.steps[0].note.startswith("verified" if proven else "not verified")
    assert world.current_key(NAME).id == current.id
    settled(world, report, dead=[orphan], kept=[current])


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("whose", ["somebody's own", "staging"])
def test_a_key_that_is_provably_not_ours_is_refused(by: str, whose: str) -> None:
    world = World()
    world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, whose, "0" * 32) if whose == "staging" else whose
    foreign = world.infobip.add_key(world.accounts["main"], name)
    with pytest.raises(Refused, match="not managed here"):
        revoke(world, **named(by, foreign))
    assert alive(world, foreign)
    said = [(line["event"], line["outcome"]) for line in world.lines()]
    assert said == [("emergency.requested", "attempt"), ("emergency.completed", "denied")]


@pytest.mark.parametrize("by", BY)
def test_a_disabled_key_is_harmless(by: str) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.change_key(old.id, enabled=False)
    report = revoke(world, **named(by, old))
    assert (report.ok, report.steps) == (True, [])
    assert world.current_key(NAME).id == current.id
    lost = world.infobip.add_key(world.accounts["main"], "not ours", enabled=False)
    assert revoke(world, **named(by, lost)).ok


def test_a_key_that_was_just_stored_is_not_taken_for_an_orphan() -> None:
    world = World(staleness=timedelta(minutes=5))
    _, current = in_grace(world)
    world.pass_time(HOUR)
    assert revoke(world).ok
    new = world.current_key(NAME)
    world.pass_time(timedelta(minutes=2))  # the listing still shows `current`
    report = revoke(world, key_id=new.id, account="main")
    assert report.ok, report.errors
    assert new.id in report.revoked
    assert current.id not in report.revoked
    assert world.consumer_works(NAME)
    world.pass_time(HOUR)
    calm(world)


def test_a_current_key_of_an_unreadable_secret_is_known_by_name() -> None:
    world = World()
    world.managed(NAME)
    assert revoke(world).ok
    current = world.current_key(NAME)
    version = next(v for v, labels in world.labels(NAME).items() if "AWSCURRENT" in labels)
    world.store.label_by_hand(NAME, f"rotator:key:{current.id}", None, version)
    world.store.deny_kms(NAME)
    plan = plan_for(world, key_id=current.id, account="main")
    assert [(revocation.key_id, revocation.role) for revocation in plan.revocations] == [(current.id, "current")]


# ---- several accounts, and what is not found ------------------------------------------------------------------------


UNKNOWN = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef")


@pytest.mark.parametrize(("account", "unreachable"), [(None, False), ("main", False), (None, True)])
def test_a_leaked_value_is_searched_for_in_every_account(account: str | None, unreachable: bool) -> None:
    world = World()
    other = world.managed("first/sms", account="alpha")
    key = world.managed(NAME, account="main")
    if unreachable:
        world.store.deny_kms("infobip/alpha")
    report = revoke(world, leaked=leaked(key), account=account)
    assert (report.ok, report.account, report.revoked) == (True, "main", (key.id,))
    assert world.consumer_works(NAME)
    assert alive(world, other)


@pytest.mark.parametrize("unreachable", [False, True])
def test_an_unknown_value_is_refused_and_never_shown(unreachable: bool) -> None:
    """Unknown only if every account was asked."""
    world = World()
    world.managed("first/sms", account="alpha")
    world.managed(NAME, account="main")
    if unreachable:
        world.store.deny_kms("infobip/alpha")
    said = r"not every account could be asked.*alpha" if unreachable else "no key of these accounts: alpha, main"
    with pytest.raises(Refused, match=said) as caught:
        revoke(world, leaked=Secret(UNKNOWN))
    assert not leaks.find(str(caught.value) + repr(caught.value) + world.stream.getvalue())


@pytest.mark.parametrize(
    ("target", "error", "said"),
    [
        ({"secret": "prod/nope"}, SecretNotFound, "prod/nope"),
        ({"secret": "infobip/main"}, ConfigurationError, "is not managed"),
        ({"secret": NAME, "account": "other"}, ConfigurationError, "belongs to account main, not to other"),
        ({"secret": "prod/odd"}, Refused, "is not known"),
        ({"key_id": "0" * 32, "account": "main"}, Refused, "has no key"),
        ({"key_id": "1" * 32, "account": "nope"}, ConfigurationError, "nope"),
        ({"leaked": Secret("x" * 40), "account": "nope"}, RotatorError, "nope"),
        ({"key_id": "1" * 32}, ConfigurationError, "nothing says which key"),
    ],
)
def test_what_is_not_found_or_not_managed_is_refused(
    target: dict[str, Any], error: type[RotatorError], said: str
) -> None:
    world = World()
    world.managed(NAME)
    world.store.create_secret("prod/odd", world.tags(), json.dumps({"api_key": "not-a-key-of-this-account"}))
    with pytest.raises(error, match=said):
        revoke(world, **target)
    assert world.consumer_works(NAME)


def test_a_dry_run_shows_each_key_as_it_is() -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.delete_key(old.id)
    command = emergency(world)
    report = command.dry_run(command.plan(Target(secret=NAME), REPLACE_FIRST))
    assert set(report.keys) == {current.id}
    assert report.keys[current.id].valid_from == current.valid_from
