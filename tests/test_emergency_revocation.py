"""Emergency revocation: which keys are revoked and which secrets replaced, by each strategy and each kind of target."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy, Target
from rotator.errors import ConfigurationError, KeyNotFound, Refused, RotatorError, SecretNotFound
from rotator.model import Reason
from rotator.policy.labels import key_name
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options, SimKey
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
)
from tests.world import DAY, HOUR, World

# ---- by secret, and in how many calls -------------------------------------------------------------------------------


def test_replace_first_keeps_consumers_working_at_every_moment() -> None:
    world = World()
    old, current = in_grace(world)
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    report = revoke(world)
    assert (report.ok, report.errors) == (True, [])
    assert seen
    assert all(seen)
    assert not alive(world, old)
    assert not alive(world, current)
    assert set(report.revoked) == {old.id, current.id}
    assert report.replaced == (NAME,)
    new = world.current_key(NAME)
    assert new.scopes == current.scopes
    assert [(step.what, step.key_id, step.note) for step in report.steps] == [
        ("created", new.id, ""),
        ("promoted", new.id, ""),
        ("revoked", current.id, "verified: 401"),
        ("revoked", old.id, "verified: 401"),
    ]
    assert names_of(world) == {new.id}
    assert world.sweep().results == ()
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_plan_only_reads_and_names_the_keys(strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    before = world.labels(NAME)
    plan = plan_for(world, strategy, secret=NAME)
    assert [(revocation.key_id, revocation.role) for revocation in plan.revocations] == [
        (current.id, "current"),
        (old.id, "retiring"),
    ]
    assert plan.revocations[1].revoke_at is not None
    assert [entry.name for entry in plan.replaced] == ([] if strategy is REVOKE_ONLY else [NAME])
    assert world.labels(NAME) == before
    assert not [
        call for call in world.infobip.calls if call.method in ("PUT", "POST") and call.time == world.clock.now()
    ]


def test_revoke_first_revokes_before_it_creates() -> None:
    world = World()
    old, current = in_grace(world)
    with Tape(world) as tape:
        report = revoke(world, REVOKE_FIRST)
    assert report.ok
    assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME)
    calm(world)


def test_revoke_only_leaves_a_key_that_the_next_sweep_replaces() -> None:
    world = World()
    old, current = in_grace(world)
    report = revoke(world, REVOKE_ONLY)
    assert report.ok
    assert not report.replaced
    assert [step.note for step in report.steps] == ["verified: 401"] * 2
    assert not alive(world, old)
    assert not world.consumer_works(NAME)
    assert names_of(world) == {current.id}  # so that the next sweep knows what it replaces
    sweep = world.sweep()
    assert [result.action.reason for result in sweep.results] == [Reason.KEY_DISABLED]
    assert world.consumer_works(NAME)
    calm(world)


def test_revoke_only_with_a_hold_stays_as_it_is() -> None:
    world = World()
    _, current = in_grace(world)
    world.store.tag(NAME, {"rotator:hold": "frozen"})
    assert revoke(world, REVOKE_ONLY).ok
    assert world.sweep().results == ()
    assert world.current_key(NAME).id == current.id
    assert not world.consumer_works(NAME)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_holds_windows_and_foreign_rotations_do_not_stop_it(strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME, hold="audit freeze", window="Sun 01:00-02:00 UTC")
    world.store.start_rotation(NAME)
    assert revoke(world, strategy).ok
    assert not alive(world, key)
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("plain", [False, True])
def test_an_unadopted_secret_is_read_to_know_its_key(strategy: Strategy, plain: bool) -> None:
    world = World()
    key = world.managed(NAME, adopted=False, plain=plain)
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert report.revoked == (key.id,)
    assert not alive(world, key)
    if strategy is not REVOKE_ONLY:
        assert world.consumer_works(NAME)
        assert world.store.consumer_read(NAME).startswith("{") is not plain
    calm(world)


def test_a_json_value_keeps_its_other_fields() -> None:
    world = World()
    world.managed(NAME, extra={"sender": "Example"})
    assert revoke(world).ok
    assert json.loads(world.store.consumer_read(NAME))["sender"] == "Example"


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("adopted", [False, True])
def test_a_secret_that_shares_the_key_is_replaced_as_well(strategy: Strategy, adopted: bool) -> None:
    world = World()
    key = world.managed(NAME)
    world.store.copy_secret_with_tags(NAME, "prod/copy")
    if adopted:
        world.sweep()
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert report.revoked == (key.id,)
    assert world.consumer_works(NAME)
    assert world.consumer_works("prod/copy")
    assert world.current_key(NAME).id != world.current_key("prod/copy").id
    calm(world)
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
    assert report.ok
    assert report.steps == []
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
    assert report.ok, report.errors
    assert not any(alive(world, key) for key in [*retired, last, world.first_keys[NAME]])
    assert world.consumer_works(NAME)
    assert names_of(world) == {world.current_key(NAME).id}


# ---- calls ----------------------------------------------------------------------------------------------------------


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


BY = ["key", "value"]


def target(by: str, key: SimKey, account: str | None = "main") -> dict[str, Any]:
    if by == "key":
        return {"key_id": key.id, "account": account}
    return {"leaked": leaked(key), "account": None}


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("by", BY)
def test_naming_the_current_key_revokes_all_of_its_secret(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    report = revoke(world, strategy, **target(by, current))
    assert report.ok, report.errors
    assert set(report.revoked) == {old.id, current.id}
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    calm(world)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("by", BY)
def test_naming_a_key_in_grace_revokes_it_before_replacing(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    with Tape(world) as tape:
        report = revoke(world, strategy, **target(by, old))
    assert report.ok, report.errors
    assert report.revoked == (old.id, current.id)
    assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
    assert all(seen)  # nobody said that the current one leaked: no consumer pays for it, in any strategy
    calm(world)


@pytest.mark.parametrize("by", BY)
def test_revoke_only_of_a_key_in_grace_leaves_the_current_one(by: str) -> None:
    world = World()
    old, current = in_grace(world)
    plan = plan_for(world, REVOKE_ONLY, **target(by, old))
    assert [revocation.key_id for revocation in plan.revocations] == [old.id]
    assert any("stays" in note for note in plan.notes)
    report = revoke(world, REVOKE_ONLY, **target(by, old))
    assert (report.ok, report.revoked) == (True, (old.id,))
    assert world.current_key(NAME).id == current.id
    assert world.consumer_works(NAME)
    calm(world)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("by", BY)
def test_an_unnamed_current_key_stays_where_replacing_fails(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=403))
    report = revoke(world, strategy, **target(by, old))
    assert not report.ok
    assert any(current.id in error and "stays" in error for error in report.errors)
    assert not alive(world, old)
    assert world.consumer_works(NAME)
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("by", BY)
def test_the_key_of_an_unadopted_secret_is_found(by: str, strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME, adopted=False)
    world.managed("prod/other", adopted=False)
    report = revoke(world, strategy, **target(by, key))
    assert report.ok, report.errors
    assert report.revoked == (key.id,)
    assert world.consumer_works("prod/other")
    calm(world)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("reveal", [True, False])
def test_an_orphan_of_this_deployment_is_revoked(by: str, reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, "default", world.new_id())
    orphan = world.infobip.add_key(world.accounts["main"], name)
    report = revoke(world, **target(by, orphan))
    assert report.ok
    assert report.revoked == (orphan.id,)
    proven = by == "value" or reveal
    assert report.steps[0].note.startswith("verified" if proven else "not verified")
    assert not alive(world, orphan)
    assert world.consumer_works(NAME)
    assert world.current_key(NAME).id == world.first_keys[NAME].id


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("whose", ["somebody's own", "staging"])
def test_a_key_that_is_provably_not_ours_is_refused(by: str, whose: str) -> None:
    world = World()
    world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, whose, "0" * 32) if whose == "staging" else whose
    foreign = world.infobip.add_key(world.accounts["main"], name)
    with pytest.raises(Refused, match="not managed here"):
        revoke(world, **target(by, foreign))
    assert alive(world, foreign)
    said = [(line["event"], line["outcome"]) for line in world.lines()]
    assert said == [("emergency.requested", "attempt"), ("emergency.completed", "denied")]


@pytest.mark.parametrize("by", BY)
def test_a_disabled_key_is_harmless(by: str) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.change_key(old.id, enabled=False)
    report = revoke(world, **target(by, old))
    assert (report.ok, report.steps) == (True, [])
    assert world.current_key(NAME).id == current.id
    lost = world.infobip.add_key(world.accounts["main"], "not ours", enabled=False)
    assert revoke(world, **target(by, lost)).ok


def test_a_key_that_infobip_does_not_know_is_refused() -> None:
    world = World()
    world.managed(NAME)
    with pytest.raises(Refused, match="has no key") as caught:
        revoke(world, key_id="0" * 32, account="main")
    assert not isinstance(caught.value, KeyNotFound)


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


# ---- several accounts -----------------------------------------------------------------------------------------------


BY = ["key", "value"]


def _two_accounts() -> tuple[World, SimKey]:
    world = World()
    world.managed("first/sms", account="alpha")
    key = world.managed(NAME, account="main")
    return world, key


@pytest.mark.parametrize("account", [None, "main"])
def test_a_leaked_value_is_searched_for_in_every_account(account: str | None) -> None:
    world, key = _two_accounts()
    report = revoke(world, leaked=leaked(key), account=account)
    assert (report.ok, report.account, report.revoked) == (True, "main", (key.id,))
    assert world.consumer_works(NAME)
    assert world.consumer_works("first/sms")


def test_one_unreachable_account_does_not_stop_the_search() -> None:
    world, key = _two_accounts()
    world.store.deny_kms("infobip/alpha")
    assert revoke(world, leaked=leaked(key)).ok
    assert not alive(world, key)


def test_a_value_is_unknown_only_if_every_account_was_asked() -> None:
    world, _ = _two_accounts()
    world.store.deny_kms("infobip/alpha")
    value = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef")
    with pytest.raises(Refused, match=r"not every account could be asked.*alpha") as caught:
        emergency(world).plan(Target(leaked=Secret(value)), REPLACE_FIRST)
    assert not leaks.find(str(caught.value))


def test_an_unknown_value_is_refused_and_never_shown() -> None:
    world, _ = _two_accounts()
    value = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdee")
    with pytest.raises(Refused, match="no key of these accounts: alpha, main") as caught:
        revoke(world, leaked=Secret(value))
    assert not leaks.find(str(caught.value) + repr(caught.value) + world.stream.getvalue())


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"secret": "prod/nope"}, SecretNotFound),
        ({"secret": "infobip/main"}, ConfigurationError),
        ({"key_id": "1" * 32, "account": "nope"}, ConfigurationError),
        ({"leaked": Secret("x" * 40), "account": "nope"}, RotatorError),
        ({"key_id": "1" * 32}, ConfigurationError),
    ],
)
def test_what_is_not_found_or_not_managed_is_refused(named: dict[str, Any], error: type[RotatorError]) -> None:
    world = World()
    world.managed(NAME)
    with pytest.raises(error):
        revoke(world, **named)


def test_a_secret_whose_key_can_not_be_named_is_refused() -> None:
    world = World()
    world.account()
    world.store.create_secret(NAME, world.tags(), json.dumps({"api_key": "not-a-key-of-this-account"}))
    with pytest.raises(Refused, match="is not known"):
        revoke(world)
    assert world.current_value(NAME)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_a_plan_holds_values_and_never_shows_them(strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME)
    plan = plan_for(world, strategy, leaked=leaked(key))
    assert plan.values
    assert not leaks.find(repr(plan))


def test_looking_shows_each_key_as_it_is() -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.delete_key(old.id)
    command = emergency(world)
    plan = command.plan(Target(secret=NAME), REPLACE_FIRST)
    report = command.dry_run(plan)
    assert set(report.keys) == {current.id}
    assert report.keys[current.id].valid_from == current.valid_from
