"""What reviews of the whole found, each as its shortest story."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import cast

import pytest

from rotator.engine.manual import rotate_now
from rotator.engine.sweep import NO_ACCOUNT
from rotator.errors import Refused
from rotator.model import Outcome, Policy, Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options, SimAccount
from rotator.secret import Secret
from tests import leaks
from tests.world import DAY, HOUR, World

# ---- one secret never stops another ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 414])
def test_a_value_that_infobip_will_not_be_asked_about_stops_no_other_secret(status: int) -> None:
    """A key that the rotator made is proven by its name; one made by hand has to wait until it can be searched for."""
    world = World()
    world.managed("a/expiring", left=2 * DAY, age=88 * DAY)
    assert world.sweep().ok
    world.pass_time(5 * DAY)
    assert world.sweep().ok
    world.pass_time(65 * DAY)
    world.managed("b/odd", adopted=False)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, when=lambda request: "apiKeySecret" in request.query, status=status, count=None)
    )
    sweep = world.sweep()
    (plan,) = sweep.plan.accounts
    assert plan.error is None
    assert [(result.action.secret, result.outcome) for result in sweep.results] == [("a/expiring", Outcome.DONE)]
    assert [(skip.secret, skip.reason) for skip in plan.skipped] == [("b/odd", Reason.UNADOPTED)]
    assert not sweep.ok


def test_while_it_is_not_known_what_a_secret_holds_no_key_is_ended() -> None:
    world = World()
    old = world.managed("a/one", left=20 * DAY, age=70 * DAY)
    world.sweep()
    world.managed("b/odd", adopted=False)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, when=lambda request: "apiKeySecret" in request.query, status=400, count=None)
    )
    world.pass_time(73 * HOUR)
    world.sweep()
    assert world.infobip.authenticates(str(old.value))
    world.infobip.faults.clear()
    assert world.sweep().ok
    assert not world.infobip.authenticates(str(old.value))


def test_a_text_that_is_too_long_for_a_key_is_not_sent_to_infobip() -> None:
    world = World()
    world.managed("a/expiring", left=2 * DAY, age=88 * DAY, rotated=True)
    world.store.create_secret("b/keystore", world.tags(), leaks.register("A" * 5000))
    sweep = world.sweep()
    assert [(result.action.secret, result.outcome) for result in sweep.results] == [("a/expiring", Outcome.DONE)]
    assert not [call for call in world.infobip.calls if "apiKeySecret" in call.params]
    (skip,) = sweep.plan.accounts[0].skipped
    assert "more than the 512 characters" in skip.detail


# ---- what another secret holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "tags"),
    [
        ("API_KEY={}", {}),
        ('{{"token": "app-123", "api_key": "{}"}}', {"value_field": "token"}),
        ('{{"other": "{}"}}', {}),
    ],
)
def test_a_key_that_stands_somewhere_in_another_secret_is_not_revoked(form: str, tags: dict[str, str]) -> None:
    world = World()
    old = world.managed("a/one", left=20 * DAY, age=70 * DAY)
    world.sweep()
    world.store.create_secret("b/copy", world.tags("main", **tags), form.format(old.value))
    world.pass_time(73 * HOUR)
    sweep = world.sweep()
    assert world.infobip.authenticates(str(old.value))
    assert ("a/one", Reason.SHARED_KEY) in {(skip.secret, skip.reason) for skip in sweep.plan.accounts[0].skipped}


@pytest.mark.parametrize("copied", [True, False])
def test_a_value_full_of_keys_is_searched_for_the_key(copied: bool) -> None:
    world = World()
    old = world.managed("a/one", left=20 * DAY, age=70 * DAY)
    world.sweep()
    many = [leaks.register(f"{number:032x}-00000000-0000-0000-0000-000000000000") for number in range(20)]
    world.store.create_secret("b/list", world.tags(), " ".join([*many, *([str(old.value)] if copied else [])]))
    world.pass_time(73 * HOUR)
    world.sweep()
    assert world.infobip.authenticates(str(old.value)) is copied


# ---- the management secret names another account --------------------------------------------------------------------


def _other_credentials(world: World, base_url: str = "https://sandbox.api.infobip.com") -> SimAccount:
    other = world.infobip.add_account("other")
    user = world.infobip.add_user(other, "other-user", leaks.register("pass-word-654321"))
    value = {"base_url": base_url, "username": user.username, "password": user.password}
    (before,) = world.store.peek("infobip/main").versions
    after = world.new_id()
    world.store.stage("infobip/main", after, Secret(json.dumps(value)), ("AWSPENDING",))
    world.store.promote("infobip/main", after, before)
    return other


def test_a_key_that_works_is_not_missing_whatever_the_listing_says() -> None:
    world = World()
    old = world.managed("a/one")
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    other = _other_credentials(world)
    found = world.infobip.add_key(other.id, "by hand", scopes=["sms:manage"])  # so that not all are missing
    world.store.create_secret("b/moved", world.tags(), json.dumps({"api_key": leaks.register(str(found.value))}))
    (result,) = (result for result in world.sweep().results if result.action.secret == "a/one")
    assert (result.action.reason, result.outcome) == (Reason.KEY_MISSING, Outcome.FAILED)
    assert result.error is not None
    assert "another account's" in result.error
    assert "management secret" in result.error
    assert world.current_value("a/one") == old.value
    assert not [key for key in world.infobip.keys() if "rotator:" in key.name]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_none_of_the_keys_found_is_another_account(elsewhere: bool) -> None:
    """From one key on: nothing is moved there by a sweep. An operator who means it says so."""
    world = World()
    old = world.managed("a/one", extra={"base_url": "https://elsewhere.api.infobip.com"} if elsewhere else None)
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    world.infobip.portal_disable(old.id)
    _other_credentials(world)
    sweep = world.sweep()
    assert sweep.results == ()
    (plan,) = sweep.plan.accounts
    assert [(skip.secret, skip.reason) for skip in plan.skipped] == [("a/one", Reason.MASS_MISSING)]
    assert any("`rotator rotate SECRET`" in alert.detail for alert in plan.alerts)
    assert world.current_value("a/one") == old.value
    assert [result.outcome for result in rotate_now(world.reconciler(), "a/one", "moved")] == [Outcome.DONE]
    assert world.consumer_works("a/one")
    assert world.sweep().ok


def test_a_list_that_is_not_complete_proves_no_key_missing() -> None:
    world = World()
    world.managed("a/one", scopes=["sms:manage"])
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    _other_credentials(world)

    def mangle(_request: Request, answer: Response | None) -> None:
        assert answer is not None
        body = json.loads(answer.body)
        body["paging"]["totalCount"] += 1
        object.__setattr__(answer, "body", json.dumps(body).encode())

    world.infobip.faults.add(
        Fault(FaultKind.HOOK_AFTER, method="GET", path="/settings/2/api-keys$", hook=mangle, count=None)
    )
    with pytest.raises(Refused, match="listing-incomplete"):
        rotate_now(world.reconciler(), "a/one", "moved")
    assert not [key for key in world.infobip.keys() if "rotator:" in key.name]


def test_a_key_that_is_gone_and_does_not_work_is_replaced() -> None:
    world = World()
    old = world.managed("a/one")
    world.managed("b/other")  # whose key is found: it is this account
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    world.infobip.portal_delete(old.id)
    assert world.sweep().ok
    assert world.consumer_works("a/one")


# ---- the daily limit counts every call ------------------------------------------------------------------------------


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize(("left", "updates"), [(20 * DAY, 32), (HOUR, 0)])
def test_every_revocation_counts_against_the_day(refuse: bool, left: timedelta, updates: int) -> None:
    """An expiry that Infobip does not take does not hide a revocation. Keys that expired by themselves need none."""
    world = World(options=Options(refuse_past_end=refuse, daily_creates=None), policy=Policy(daily_limit=200))
    for number in range(60):
        world.managed(f"s/{number:02}", left=left, age=70 * DAY)
    world.sweep()
    world.policy = Policy()
    world.pass_time(4 * DAY)
    for _ in range(3):
        world.sweep(force=True)
        world.pass_time(HOUR)
    assert world.infobip.updates_used(world.accounts["main"]) == updates
    assert len(world.live_keys()) == 60 + (28 if updates else 0)


# ---- sub-accounts ---------------------------------------------------------------------------------------------------


def test_a_first_key_in_the_wrong_account_is_rejected() -> None:
    world = World()
    parent = world.infobip.add_account("parent")
    sub = world.infobip.add_account("sub", parent=parent.id)
    user = world.infobip.add_user(parent, "boss", leaks.register("pass-word-123456"))
    world.accounts["main"] = sub.id
    value = {"base_url": "https://sandbox.api.infobip.com", "username": user.username, "password": user.password}
    tags = {"rotator:role": "management", "rotator:account": "main"}
    world.store.create_secret("infobip/main", tags, json.dumps({**value, "account_id": sub.id}))
    world.store.create_secret("s/new", world.tags("main", scopes="sms:manage"), None)

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


# ---- what is skipped is named ------------------------------------------------------------------------------------


def test_secrets_of_an_account_that_is_not_known_are_named() -> None:
    world = World()
    world.managed("a/right")
    for name in ("b/typo", "c/typo"):
        world.store.create_secret(name, world.tags() | {"rotator:account": "mian"}, "{}")
    for name in ("d/nowhere", "e/odd"):
        tags = world.tags() | {"rotator:account" if name == "d/nowhere" else "rotator:role": ""}
        world.store.create_secret(name, tags, "{}")
    plans = {plan.account: plan for plan in world.sweep().plan.accounts}
    unknown, nowhere = plans["mian"], plans[NO_ACCOUNT]
    assert [(skip.secret, skip.reason) for skip in unknown.skipped] == [
        ("b/typo", Reason.UNKNOWN_ACCOUNT),
        ("c/typo", Reason.UNKNOWN_ACCOUNT),
    ]
    assert [(alert.secret, alert.kind) for alert in unknown.alerts] == [
        ("b/typo", Reason.UNKNOWN_ACCOUNT),
        ("c/typo", Reason.UNKNOWN_ACCOUNT),
    ]
    for said in (nowhere.skipped, nowhere.alerts):
        assert [item.secret for item in said] == ["d/nowhere", "e/odd"]
    for number in range(20):
        world.store.create_secret(f"f/{number}", world.tags() | {"rotator:account": "mian"}, "{}")
    crowd = next(plan for plan in world.sweep().plan.accounts if plan.account == "mian")
    assert (len(crowd.skipped), [alert.secret for alert in crowd.alerts]) == (22, [None])


# ---- a minute is not waited for what no waiting fixes ---------------------------------------------------------------


@pytest.mark.parametrize(("status", "waited"), [(404, False), (500, True)])
def test_a_verify_path_that_is_wrong_is_not_waited_for(status: int, waited: bool) -> None:
    world = World()
    old = world.managed("a/one", left=2 * DAY, age=88 * DAY)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, when=lambda request: "balance" in request.path, status=status, count=None)
    )
    before = world.clock.now()
    (result,) = world.sweep().results
    assert result.outcome is Outcome.FAILED
    assert "rotator:verify-path" in str(result.error)
    assert (world.clock.now() - before > timedelta(seconds=30)) == waited
    assert world.infobip.authenticates(str(old.value))
    world.infobip.faults.clear()
    assert [again.outcome for again in world.sweep().results] == [Outcome.DONE]


# ---- a copy is no outage --------------------------------------------------------------------------------------------


def test_a_copy_that_infobip_does_not_find_by_its_value_keeps_the_key_alive() -> None:
    """Masked values, and a filter that finds nothing: the two secrets' own values are compared."""
    world = World(options=Options(reveal=False))
    old = world.managed("a/one", left=20 * DAY, age=70 * DAY, rotated=True)
    assert world.sweep().ok
    world.store.create_secret("b/copy", world.tags(), json.dumps({"api_key": old.value}))

    def finds_nothing(request: Request, _answer: Response | None) -> None:
        cast(dict[str, str], request.query)["apiKeySecret"] = "another"

    world.infobip.faults.add(
        Fault(FaultKind.HOOK_BEFORE, when=lambda each: "apiKeySecret" in each.query, hook=finds_nothing, count=None)
    )
    world.pass_time(80 * HOUR)
    skipped = world.sweep().plan.accounts[0].skipped
    (detail,) = (skip.detail for skip in skipped if (skip.secret, skip.reason) == ("a/one", Reason.SHARED_KEY))
    assert "b/copy still holds it" in detail
    assert world.infobip.authenticates(str(old.value))
