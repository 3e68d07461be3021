"""One rotation over the strict store and the real client, scheduled or ordered: what is made, compared and refused."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.engine.manual import rotate_now
from rotator.errors import Refused
from rotator.model import Outcome, Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import Options, SimAccount
from rotator.secret import Secret
from tests import leaks
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World


@pytest.mark.parametrize("reveal", [True, False])
def test_lost_answer_to_a_create_is_not_blindly_repeated(reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    world.managed("prod/sms", left=5 * DAY)
    fault = world.infobip.faults.add(Fault(FaultKind.DROP_AFTER, method="POST"))
    assert world.sweep().ok
    assert fault.hits == 1
    assert world.consumer_works("prod/sms")
    made = [key for key in world.infobip.keys() if "rotator:default" in key.name]
    assert [key.enabled for key in made] == ([True] if reveal else [False, True])
    assert len({key.name for key in made}) == len(made)


def test_failed_create_waits_for_the_next_sweep() -> None:
    world = World()
    world.managed("prod/sms", left=5 * DAY)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=500))
    sweep = world.sweep()
    assert [r.outcome for r in sweep.results] == [Outcome.FAILED]
    assert len([call for call in world.infobip.calls if call.method == "POST"]) == 1
    assert world.sweep().ok


def test_first_key_in_the_wrong_account_is_rejected() -> None:
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


def test_unprobed_key_gets_time_before_it_is_promoted() -> None:
    world = World(options=Options(propagation=timedelta(seconds=20)))
    world.managed("prod/sms", left=20 * DAY, age=70 * DAY, verify="skip")
    broken: list[str] = []

    def check(operation: str, _secret: str) -> None:
        if not world.consumer_works("prod/sms"):
            broken.append(operation)

    world.store.after = check
    assert world.sweep().ok
    assert len(world.infobip.keys()) == 2
    assert not broken


@pytest.mark.parametrize(("status", "waited"), [(404, False), (500, True)])
def test_wrong_verify_path_is_not_waited_for(status: int, waited: bool) -> None:
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


def _other_credentials(world: World) -> SimAccount:
    other = world.infobip.add_account("other")
    user = world.infobip.add_user(other, "other-user", leaks.register("pass-word-654321"))
    value = {"base_url": "https://sandbox.api.infobip.com", "username": user.username, "password": user.password}
    (before,) = world.store.peek("infobip/main").versions
    after = world.new_id()
    world.store.stage("infobip/main", after, Secret(json.dumps(value)), ("AWSPENDING",))
    world.store.promote("infobip/main", after, before)
    return other


def test_working_key_is_not_taken_for_missing() -> None:
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
    """From one key on: nothing is moved there by a sweep. An operator can order it."""
    world = World()
    old = world.managed("a/one", extra={"base_url": "https://elsewhere.api.infobip.com"} if elsewhere else None)
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    world.infobip.change_key(old.id, enabled=False)
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


def test_incomplete_list_shows_no_key_to_be_missing() -> None:
    world = World()
    world.managed("a/one", scopes=["sms:manage"])
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    _other_credentials(world)

    def miscount(_request: Request, answer: Response | None) -> None:
        assert answer is not None
        body = json.loads(answer.body)
        body["paging"]["totalCount"] += 1
        object.__setattr__(answer, "body", json.dumps(body).encode())

    world.infobip.faults.add(
        Fault(FaultKind.HOOK_AFTER, method="GET", path="/settings/2/api-keys$", hook=miscount, count=None)
    )
    with pytest.raises(Refused, match="listing-incomplete"):
        rotate_now(world.reconciler(), "a/one", "moved")
    assert not [key for key in world.infobip.keys() if "rotator:" in key.name]


def test_key_that_is_not_found_and_does_not_work_is_replaced() -> None:
    world = World()
    old = world.managed("a/one")
    world.managed("b/other")  # whose key is found: it is this account
    world.store.tag("a/one", {"rotator:scopes": "sms:manage"})
    world.infobip.delete_key(old.id)
    assert world.sweep().ok
    assert world.consumer_works("a/one")


NAME = "prod/sms"


def test_an_unrevocable_retiring_key_does_not_stop_it() -> None:
    world = World()
    old = world.managed(NAME)
    rotate_now(world.reconciler(), NAME, "first")
    world.store.create_secret("prod/copy", world.tags(), json.dumps({"api_key": old.value}))
    world.pass_time(73 * HOUR)
    (plan,) = world.reconciler().plan(secret=NAME).accounts
    assert [str(skip.reason) for skip in plan.skipped] == ["shared-key"]
    held = world.current_key(NAME).id
    (result,) = rotate_now(world.reconciler(), NAME, "second")
    assert (result.outcome, result.new_key_id) == (Outcome.DONE, world.current_key(NAME).id)
    assert held != result.new_key_id
    assert world.infobip.authenticates(old.value)  # still held by the copy


@pytest.mark.parametrize(
    ("tags", "said"),
    [({"hold": "freeze"}, "hold: .*freeze"), ({"grace": "soon"}, "misconfigured: rotator:grace")],
    ids=["hold", "misconfigured"],
)
def test_what_leaves_the_secret_alone_does(tags: dict[str, str], said: str) -> None:
    world = World()
    key = world.managed(NAME, **tags)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=said):
        rotate_now(world.reconciler(), NAME, "test")
    assert world.current_key(NAME).id == key.id


def test_unknown_scopes_do_so_even_where_nothing_is_due() -> None:
    world = World()
    world.managed(NAME, scopes=())
    keys = world.infobip.keys()
    with pytest.raises(Refused, match=r"no-scopes: .*tag rotator:scopes"):
        rotate_now(world.reconciler(), NAME, "test")
    assert world.infobip.keys() == keys
