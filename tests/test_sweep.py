"""The main job over the strict store and the real client: adoption, rotation, grace, revocation."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.errors import ConfigurationError
from rotator.model import ActionKind, Outcome, Reason
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from tests.world import DAY, HOUR, World


def test_a_key_lives_through_adoption_rotation_grace_and_revocation() -> None:
    world = World()
    old = world.managed("prod/sms", adopted=False, left=20 * DAY, age=70 * DAY, extra={"note": "a", "n": 1.5})
    sweep = world.sweep()
    assert [(r.action.kind, r.outcome, r.error) for r in sweep.results] == [
        (ActionKind.LABEL, Outcome.DONE, None),
        (ActionKind.ROTATE, Outcome.DONE, None),
    ]
    assert sweep.ok
    new = world.current_key("prod/sms")
    assert new.id != old.id
    assert new.scopes == old.scopes
    assert json.loads(world.store.consumer_read("prod/sms")) == {
        "note": "a",
        "n": 1.5,
        "api_key": new.value,
        "key_id": new.id,
        "expires_at": new.valid_to.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "base_url": "https://sandbox.api.infobip.com",
    }
    assert new.name.startswith("prod/sms/rotator:default:")
    version = new.name.rpartition(":")[2]
    labels = world.labels("prod/sms")
    assert {"AWSCURRENT", f"rotator:key:{new.id}"} <= labels[version]
    (retired,) = [v for v in labels if v != version]
    assert {f"rotator:key:{old.id}", f"rotator:retire:{old.id}:20260305T090000Z"} <= labels[retired]
    # not a second before its grace is over
    world.pass_time(72 * HOUR - timedelta(seconds=1))
    assert world.sweep().results == ()
    assert world.infobip.authenticates(old.value)
    world.pass_time(timedelta(seconds=1))
    sweep = world.sweep()
    assert [(r.action.kind, r.action.reason, r.outcome) for r in sweep.results] == [
        (ActionKind.REVOKE, Reason.GRACE_OVER, Outcome.DONE)
    ]
    assert not world.infobip.authenticates(old.value)
    assert world.labels("prod/sms") == {
        version: {"AWSCURRENT", "AWSPENDING", f"rotator:key:{new.id}"},
        retired: {"AWSPREVIOUS"},
    }
    assert world.consumer_works("prod/sms")
    assert world.sweep().results == ()


def test_a_plain_value_stays_plain_and_a_first_key_is_made_as_json() -> None:
    world = World()
    world.managed("plain", plain=True, left=5 * DAY)
    world.store.create_secret("empty", world.tags(scopes="sms:manage voice:manage"))
    assert world.sweep().ok
    assert not world.store.consumer_read("plain").startswith("{")
    assert world.consumer_works("plain")
    assert world.consumer_works("empty")
    assert world.current_key("empty").scopes == {"sms:manage", "voice:manage"}
    assert world.sweep().results == ()


def test_what_needs_nothing_costs_one_page_a_hundred_and_reads_no_value() -> None:
    world = World()
    for number in range(250):
        world.managed(f"s{number:04}", age=10 * DAY)
    world.store.calls.clear()
    world.infobip.calls.clear()
    assert world.sweep().results == ()
    assert world.store.calls == [("list_secrets", ""), ("read_current", world.store.calls[1][1])]
    assert "infobip/main" in world.store.calls[1][1]
    assert len(world.infobip.calls) == 3


@pytest.mark.parametrize("reveal", [True, False])
def test_a_creation_without_an_answer_is_never_blindly_repeated(reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    world.managed("prod/sms", left=5 * DAY)
    fault = world.infobip.faults.add(Fault(FaultKind.DROP_AFTER, method="POST"))
    assert world.sweep().ok
    assert fault.hits == 1
    assert world.consumer_works("prod/sms")
    made = [key for key in world.infobip.keys() if "rotator:default" in key.name]
    assert [key.enabled for key in made] == ([True] if reveal else [False, True])
    assert len({key.name for key in made}) == len(made)


def test_a_creation_that_certainly_failed_is_not_repeated_in_the_same_sweep() -> None:
    world = World()
    world.managed("prod/sms", left=5 * DAY)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=500))
    sweep = world.sweep()
    assert [r.outcome for r in sweep.results] == [Outcome.FAILED]
    assert len([call for call in world.infobip.calls if call.method == "POST"]) == 1
    assert world.sweep().ok


def test_a_replacement_with_more_scopes_is_revoked_and_never_promoted() -> None:
    world = World()
    old = world.managed("prod/sms", left=5 * DAY)

    def lie(_request: object, answer: object) -> None:
        body = json.loads(answer.body)  # type: ignore[attr-defined]
        body["scopeGuids"].append("voice:manage")
        object.__setattr__(answer, "body", json.dumps(body).encode())

    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method="POST", hook=lie))
    sweep = world.sweep()
    assert [r.outcome for r in sweep.results] == [Outcome.FAILED]
    assert "scopeGuids" in (sweep.results[0].error or "")
    assert world.current_key("prod/sms").id == old.id
    assert [key.enabled for key in world.infobip.keys() if "rotator" in key.name] == [False]


def test_one_broken_secret_does_not_stop_the_others() -> None:
    world = World()
    world.managed("a/bad", left=5 * DAY, grace="soon")
    world.managed("b/good", left=5 * DAY)
    world.store.create_secret("c/garbage", world.tags(), '{"other": "x"}')
    sweep = world.sweep()
    assert not sweep.ok
    assert [(r.action.secret, r.outcome) for r in sweep.results] == [("b/good", Outcome.DONE)]
    plan = sweep.plan.accounts[0]
    assert {(skip.secret, skip.reason) for skip in plan.skipped} == {
        ("a/bad", Reason.MISCONFIGURED),
        ("c/garbage", Reason.UNADOPTED),
    }


def test_an_unknown_secret_or_account_is_refused() -> None:
    world = World()
    world.managed("a")
    for options in ({"secret": "nope"}, {"account": "nope"}):
        with pytest.raises(ConfigurationError):
            world.sweep(**options)


def test_a_copy_in_another_account_keeps_its_key_alive_and_its_value_is_sent_nowhere() -> None:
    world = World()
    old = world.managed("prod/sms", left=5 * DAY, rotated=True)
    world.sweep()
    world.account("other")
    world.store.create_secret("copy", world.tags("other"), json.dumps({"api_key": old.value}))
    world.pass_time(73 * HOUR)
    world.infobip.calls.clear()
    sweep = world.sweep(account="main")
    assert sweep.results == ()
    (skip,) = sweep.plan.accounts[0].skipped
    assert (skip.secret, skip.reason) == ("prod/sms", Reason.SHARED_KEY)
    assert "copy still holds it" in skip.detail
    assert world.infobip.authenticates(old.value)
    assert all("apiKeySecret" not in str(call) for call in world.infobip.calls)


def test_a_bug_at_one_secret_stops_neither_the_others_nor_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.managed("a", left=5 * DAY)
    world.managed("b", left=6 * DAY)

    def stumble(op: str, secret: str) -> None:
        if op == "stage" and (secret == "a" or ":secret:a-" in secret):
            raise ZeroDivisionError("what nobody thought of")

    monkeypatch.setattr(world.store, "before", stumble)
    sweep = world.sweep()
    assert [(r.action.secret, r.outcome) for r in sweep.results] == [("a", Outcome.FAILED), ("b", Outcome.DONE)]
    assert "ZeroDivisionError" in (sweep.results[0].error or "")
    assert world.consumer_works("a")
