"""One rotation over the strict store and the real client, scheduled or ordered: what is made, compared and refused."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.engine.rotate_now import rotate_now
from rotator.engine.sweep import Sweep
from rotator.plan import Outcome
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import Options, SimAccount
from rotator.secret import Secret
from tests import leaks
from tests.emergencies import EmergencyWorld, refused
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR


@pytest.mark.parametrize("reveal", [True, False])
def test_lost_create_is_not_repeated(reveal: bool) -> None:
    world = EmergencyWorld(options=Options(reveal=reveal))
    world.secret("prod/sms", left=5 * DAY)
    fault = world.infobip.faults.add(Fault(FaultKind.DROP_AFTER, method="POST"))
    assert world.sweep().ok
    assert fault.hits == 1
    assert world.consumer_works("prod/sms")
    made = [key for key in world.infobip.keys() if "rotator:default" in key.name]
    assert [key.enabled for key in made] == ([True] if reveal else [False, True])
    assert len({key.name for key in made}) == len(made)


def test_lost_create_in_its_own_account(world: EmergencyWorld) -> None:
    """The list shows the main account's keys alone; the key to be replaced is a sub-account's, proven by its name."""
    world.secret("prod/sms", left=5 * DAY)
    assert world.sweep().ok
    old = world.current_key("prod/sms")
    sub = world.infobip.add_account("sub", parent=old.account_id)
    world.infobip.change_key(old.id, account_id=sub.id)
    world.pass_time(85 * DAY)
    world.infobip.faults.add(Fault(FaultKind.DROP_AFTER, method="POST"))
    world.sweep()
    assert [key.account_id for key in world.infobip.keys(sub)] == [sub.id] * 2
    assert world.current_key("prod/sms").account_id == sub.id
    assert world.current_key("prod/sms").id != old.id
    assert world.consumer_works("prod/sms")


def test_failed_create_waits_for_next_sweep(world: EmergencyWorld) -> None:
    world.secret("prod/sms", left=5 * DAY)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=500))
    sweep = world.sweep()
    assert [r.outcome for r in sweep.results] == [Outcome.FAILED]
    assert len([call for call in world.infobip.calls if call.method == "POST"]) == 1
    assert world.sweep().ok


def test_first_key_in_wrong_account(world: EmergencyWorld) -> None:
    parent = world.infobip.add_account("parent")
    sub = world.infobip.add_account("sub", parent=parent.id)
    user = world.infobip.add_user(parent, "boss", leaks.register("pass-word-123456"))
    world.accounts["main"] = sub.id
    world.management(user, account_id=sub.id)
    world.create("s/new", scopes="sms:manage")

    def into_the_parent(request: Request, _answer: Response | None) -> None:
        body = json.loads(request.body)
        body.pop("accountId")
        object.__setattr__(request, "body", json.dumps(body).encode())

    world.infobip.faults.add(Fault(FaultKind.HOOK_BEFORE, method="POST", path="api-keys", hook=into_the_parent))
    (result,) = world.sweep().results
    assert result.outcome is Outcome.FAILED
    assert result.error is not None
    assert "accountId" in result.error
    assert world.try_read("s/new") is None
    assert world.sweep().ok
    assert world.current_key("s/new").account_id == sub.id


def test_unprobed_key_waits_for_promotion() -> None:
    world = EmergencyWorld(options=Options(propagation=timedelta(seconds=20)))
    world.secret("prod/sms", left=20 * DAY, verify="skip")
    broken: list[str] = []

    def check(operation: str, _secret: str) -> None:
        if not world.consumer_works("prod/sms"):
            broken.append(operation)

    world.store.after = check
    assert world.sweep().ok
    assert len(world.infobip.keys()) == 2
    assert not broken


@pytest.mark.parametrize(("status", "waited"), [(404, False), (500, True)])
def test_wrong_verify_path_is_not_waited_for(world: EmergencyWorld, status: int, waited: bool) -> None:
    old = world.secret("a/one", left=2 * DAY)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, when=lambda request: "balance" in request.path, status=status, count=None)
    )
    before = world.clock.now()
    (result,) = world.sweep().results
    assert result.outcome is Outcome.FAILED
    assert "rotator:verify-path" in str(result.error)
    assert (world.clock.now() - before > timedelta(seconds=30)) == waited
    assert world.works(old)
    world.infobip.faults.clear()
    assert [again.outcome for again in world.sweep().results] == [Outcome.DONE]


def _other_credentials(world: EmergencyWorld) -> SimAccount:
    other = world.infobip.add_account("other")
    user = world.infobip.add_user(other, "other-user", leaks.register("pass-word-654321"))
    value = {"base_url": "https://sandbox.api.infobip.com", "username": user.username, "password": user.password}
    (before,) = world.store.peek("rotator/main").versions
    after = world.new_id()
    world.store.stage("rotator/main", after, Secret(json.dumps(value)), ("AWSPENDING",))
    world.store.promote("rotator/main", after, before)
    return other


def _alerts(sweep: Sweep) -> list[tuple[str | None, str, str | None]]:
    return [(each.secret, str(each.kind), each.key_id) for plan in sweep.plan.accounts for each in plan.alerts]


@pytest.mark.parametrize("gone", ["the account", "the key"])
def test_missing_key_needs_person(world: EmergencyWorld, gone: str) -> None:
    olds = [world.secret(name) for name in ("a/one", "b/two")]
    if gone == "the account":
        other = _other_credentials(world)
        found = world.infobip.add_key(other.id, "by hand", scopes=["sms:manage"])
        world.create("c/moved", value=json.dumps({"api_key": leaks.register(str(found.value))}))
    else:
        for old in olds:
            world.infobip.delete_key(old.id)
    for _ in range(3):
        world.pass_time(HOUR)
        sweep = world.sweep()
        assert [found for found in _alerts(sweep) if found[1] == "key-not-found"] == [
            (name, "key-not-found", old.id) for name, old in zip(("a/one", "b/two"), olds, strict=True)
        ]
    assert not [key for key in world.infobip.keys() if "rotator:" in key.name]
    assert world.current_value("a/one") == olds[0].value
    for name in ("a/one", "b/two"):  # one by one
        with refused(Reason.SCOPES_UNKNOWN, name):
            rotate_now(world.services(), name, "moved")
        world.store.tag(name, {"rotator:scopes": "sms:manage"})
        assert [result.outcome for result in rotate_now(world.services(), name, "moved")] == [Outcome.DONE]
        assert world.consumer_works(name)
    if gone == "the account":
        assert {world.current_key(name).account_id for name in ("a/one", "b/two")} != {olds[0].account_id}
    assert world.sweep().ok


def test_known_value_is_adopted_not_moved(world: EmergencyWorld) -> None:
    """Somebody changed the tag and pasted a key of that account; the label was copied with the rest."""
    world.account("other")
    old = world.secret("a/one")
    pasted = world.infobip.add_key(world.accounts["other"], "by hand", scopes=["sms:manage"])
    leaks.register(pasted.value)
    version = world.put("a/one", {"api_key": pasted.value}, ["AWSCURRENT", f"rotator:key:{old.id}"])
    world.store.tag("a/one", {"rotator:account": "other"})
    assert world.sweep().ok
    assert world.version_of("a/one", pasted) == version
    assert world.current_value("a/one") == pasted.value


def test_key_gone_since_listing(world: EmergencyWorld) -> None:
    """Asked again right before a key is created."""
    old = world.secret("a/one", left=5 * DAY)
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})

    def remove(_request: Request, _answer: Response | None) -> None:
        world.infobip.delete_key(old.id)

    hook = Fault(FaultKind.HOOK_BEFORE, method="GET", path=f"/settings/2/api-keys/{old.id}", hook=remove)
    world.infobip.faults.add(hook)
    (result,) = world.sweep().results
    assert (result.outcome, Reason.KEY_NOT_FOUND in str(result.error)) == (Outcome.FAILED, True)
    assert world.infobip.keys() == ()
    assert world.current_value("a/one") == old.value


def test_few_keys_are_looked_for_elsewhere(world: EmergencyWorld) -> None:
    for name in ("second", "third", "fourth"):
        world.account(name)
    for name in ("a/one", "b/two"):
        world.secret(name)
        for number in range(17):  # forged labels
            label = f"rotator:key:{name[0].upper()}{number:031}"
            world.store.stage(name, world.new_id(), Secret('{"api_key": "x"}'), (label,))
    asked: list[str] = []
    world.infobip.observers.append(
        lambda request, _: asked.append(request.path) if "api-keys/" in request.path else None
    )
    alerts = [alert for plan in world.sweep(account="main").plan.accounts for alert in plan.alerts]
    assert len([path for path in asked if "/api-keys/" in path]) <= 34 + 100
    lost = [alert.detail for alert in alerts if str(alert.kind) == "key-not-found"]
    assert len(lost) == 34
    assert all("third" in detail for detail in lost)


def test_sub_accounts_are_two_accounts(world: EmergencyWorld) -> None:
    """The main account's user can read every sub-account's keys; the management secret says which one is meant."""
    parent = world.infobip.add_account("parent")
    user = world.infobip.add_user(parent, "boss", leaks.register("pass-word-123456"))
    for name in ("main", "second"):
        world.accounts[name] = world.infobip.add_account(name, parent=parent.id).id
        world.management(user, name, account_id=world.accounts[name])
    old = world.secret("a/one", left=5 * DAY)
    world.store.tag("a/one", {"rotator:account": "second", "rotator:scopes": "sms:manage"})
    assert ("a/one", "key-not-found", old.id) in _alerts(world.sweep())
    assert [key.id for key in world.infobip.keys()] == [old.id]
    rotate_now(world.services(), "a/one", "moved")
    assert world.current_key("a/one").account_id == world.accounts["second"]
    (alert,) = (each for plan in world.sweep().plan.accounts for each in plan.alerts if each.key_id == old.id)
    assert f"`rotator revoke --key-id {old.id} --account main" in alert.detail


def test_parent_without_keys_shares_no_limit() -> None:
    """Its list shows its sub-account's keys, which another management secret manages."""
    world = EmergencyWorld(options=Options(list_sub_accounts=True))
    parent = world.account("parent")
    world.accounts["sub"] = world.infobip.add_account("sub", parent=parent.id).id
    world.management(world.infobip.add_user(world.accounts["sub"], "user-of-sub"), "sub")
    world.secret("a/one", account="sub")
    assert [alert for alert in _alerts(world.sweep()) if alert[1] == "shared-account"] == []


def _miscount(_request: Request, answer: Response | None) -> None:
    assert answer is not None
    body = json.loads(answer.body)
    body["paging"]["totalCount"] += 1
    object.__setattr__(answer, "body", json.dumps(body).encode())


@pytest.mark.parametrize(("status", "reason"), [(404, "key-not-found"), (400, "listing-incomplete")])
def test_incomplete_list_reads_key(world: EmergencyWorld, status: int, reason: str) -> None:
    old = world.secret("a/one")
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    _other_credentials(world)
    page = "/settings/2/api-keys$"
    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method="GET", path=page, hook=_miscount, count=None))
    path = f"api-keys/{old.id}"
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="GET", path=path, status=status, count=None))
    assert ("a/one", reason, old.id) in _alerts(world.sweep())
    assert world.current_value("a/one") == old.value
    if status == 404:
        rotate_now(world.services(), "a/one", "moved")
        assert world.current_value("a/one") != old.value
        return
    with refused(Reason(reason), "a/one"):
        rotate_now(world.services(), "a/one", "moved")
    assert not [key for key in world.infobip.keys() if "rotator:" in key.name]


NAME = "prod/sms"


def test_unrevocable_key_does_not_stop_it(world: EmergencyWorld) -> None:
    old = world.secret(NAME)
    rotate_now(world.services(), NAME, "first")
    world.create("prod/copy", value=json.dumps({"api_key": old.value}))
    world.pass_time(73 * HOUR)
    (plan,) = world.reconciler().plan(secret=NAME).accounts
    assert [str(skip.reason) for skip in plan.skipped] == ["shared-key"]
    held = world.current_key(NAME).id
    (result,) = rotate_now(world.services(), NAME, "second")
    assert result.promoted is not None
    assert (result.outcome, result.promoted.key_id) == (Outcome.DONE, world.current_key(NAME).id)
    assert held != result.promoted.key_id
    assert world.works(old)  # still held by the copy


@pytest.mark.parametrize(
    ("tags", "reason", "fact"),
    [({"hold": "freeze"}, Reason.HOLD, "freeze"), ({"grace": "soon"}, Reason.MISCONFIGURED, "rotator:grace")],
    ids=["hold", "misconfigured"],
)
def test_hold_and_wrong_tag_stop_it(world: EmergencyWorld, tags: dict[str, str], reason: Reason, fact: str) -> None:
    key = world.secret(NAME, **tags)
    with refused(reason, fact):
        rotate_now(world.services(), NAME, "test")
    assert world.current_key(NAME).id == key.id
