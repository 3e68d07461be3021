"""Every sweep adopts the secrets whose key Infobip knows by its value; ``adopt`` takes one, also by its key's id."""

from __future__ import annotations

import json

import pytest

from rotator.engine.adopt import adopt
from rotator.errors import Refused, StoreDenied
from rotator.plan import Outcome
from rotator.reasons import Reason
from rotator.sandbox.state import Options
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import PLAIN, World

TO_ADOPT = ("prod/json", "prod/plain")


def fleet(options: Options | None = None) -> World:
    """Two to adopt, one adopted, and one of each that can't be or shall not be."""
    world = World(options=options or Options())
    world.secret("prod/done")
    world.secret("prod/json", adopted=False)
    world.secret("prod/plain", adopted=False, value=PLAIN)
    world.secret("prod/held", adopted=False, hold="freeze")
    world.secret("prod/wrong-tag", adopted=False, grace="soon")
    world.store.create_secret("prod/rubbish", world.tags(), "changeme-changeme")
    world.create("prod/no-field", value=json.dumps({"user": "x"}))
    return world


@pytest.mark.parametrize("reveal", [True, False], ids=["shown", "masked"])
def test_sweep_adopts_or_gives_reason(reveal: bool) -> None:
    world = fleet(Options(reveal=reveal))
    sweep = world.sweep()
    assert {(r.action.secret, r.outcome) for r in sweep.results} == {(name, Outcome.DONE) for name in TO_ADOPT}
    (plan,) = sweep.plan.accounts
    skipped = {skip.secret: (skip.reason, skip.detail) for skip in plan.skipped}
    assert {name: reason for name, (reason, _) in skipped.items()} == {
        "prod/held": Reason.HOLD,
        "prod/no-field": Reason.UNADOPTED,
        "prod/rubbish": Reason.UNADOPTED,
        "prod/wrong-tag": Reason.MISCONFIGURED,
    }
    assert "rotator:value-field" in skipped["prod/no-field"][1]
    assert "rotator:account" in skipped["prod/rubbish"][1]
    assert "rotator:grace" in skipped["prod/wrong-tag"][1]
    assert "freeze" in skipped["prod/held"][1]
    for name in TO_ADOPT:
        assert any(f"rotator:key:{world.first_keys[name].id}" in labels for labels in world.labels(name).values())
    assert len(world.events_named("key.adopted")) == 2
    assert world.sweep().results == ()


def test_failed_label_fails_its_secret_only() -> None:
    world = fleet()

    def deny(operation: str, name: str) -> None:
        if (operation, name) == ("add_label", "prod/json"):
            raise StoreDenied("denied", action="secretsmanager:UpdateSecretVersionStage")

    world.store.before = deny
    outcomes = {result.action.secret: result.outcome for result in world.sweep().results}
    assert outcomes == {"prod/json": Outcome.FAILED, "prod/plain": Outcome.DONE}


# ---- `adopt`, with the key's id -------------------------------------------------------------------------------------

NAME = "prod/api"


def adopted(world: World) -> list[str]:
    return [label for labels in world.labels(NAME).values() for label in labels if label.startswith("rotator:key:")]


@pytest.mark.parametrize("reveal", [True, False], ids=["shown", "masked"])
@pytest.mark.parametrize("labelled", [False, True])
def test_key_id_of_another_value_is_refused(reveal: bool, labelled: bool) -> None:
    """Threat: adopt --key-id with a key that is not in the value. It is rejected and nothing is changed."""
    world = World(options=Options(reveal=reveal))
    key = world.secret(NAME, adopted=labelled)
    other = world.secret("prod/other")
    with pytest.raises(Refused):
        adopt(world.services(), NAME, other.id)
    assert adopt(world.services(), NAME, key.id).outcome is Outcome.DONE
    for label in adopted(world):
        world.store.label_by_hand(NAME, label, None, next(iter(world.labels(NAME))))
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": "a" * 69}))
    with pytest.raises(Refused):
        adopt(world.services(), NAME, key.id)
    assert adopted(world) == []


@pytest.mark.parametrize("with_id", [False, True])
def test_label_is_no_proof(world: World, with_id: bool) -> None:
    """The current version has the key's label, and its value is another key or none."""
    key, other = world.secret(NAME), world.secret("prod/other")
    for value in (other.value, "a" * 69):
        world.put(NAME, {"api_key": value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
        with pytest.raises(Refused):
            adopt(world.services(), NAME, key.id if with_id else None)


@pytest.mark.parametrize("labelled", [False, True])
def test_key_of_another_account_is_refused(world: World, labelled: bool) -> None:
    """Threat: adopt with a key of another account. It is rejected and nothing is changed."""
    key = world.secret(NAME, adopted=labelled)
    world.account("other")
    world.store.tag(NAME, {"rotator:account": "other"})
    for key_id in (None, key.id):
        with pytest.raises(Refused):
            adopt(world.services(), NAME, key_id)


@pytest.mark.parametrize("reveal", [True, False], ids=["shown", "masked"])
def test_failing_search_needs_operator(reveal: bool) -> None:
    """The search shows neither another key nor none. The key's own value decides, or else that it is in use."""
    world = World(options=Options(reveal=reveal))
    key, other = world.secret(NAME, adopted=False), world.secret("prod/other")
    search = Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", count=None, status=500)
    world.infobip.faults.add(search)
    with pytest.raises(Refused):
        adopt(world.services(), NAME)
    if reveal:
        with pytest.raises(Refused):
            adopt(world.services(), NAME, other.id)
    assert adopt(world.services(), NAME, key.id).outcome is Outcome.DONE
    assert adopted(world) == [f"rotator:key:{key.id}"]
