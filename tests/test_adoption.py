"""``adopt --all``: every secret whose key Infobip knows by its value, and a reason for each other one."""

from __future__ import annotations

import json

import pytest

from rotator.engine.adopt_all import Adopted, Adoptions, adopt_all
from rotator.errors import ConfigurationError, StoreDenied
from rotator.sandbox.exchange import Request
from rotator.sandbox.state import Options
from tests import leaks
from tests.world import DAY, World


def outcomes(done: Adoptions) -> dict[str, str]:
    return {each.secret: str(each.outcome) for each in done.adoptions}


def fleet() -> World:
    """Two to adopt, one adopted, and one of each that can't be or shall not be."""
    world = World()
    world.managed("prod/done")
    world.managed("prod/json", adopted=False)
    world.managed("prod/plain", adopted=False, plain=True)
    world.managed("prod/held", adopted=False, hold="freeze")
    world.managed("prod/wrong-tag", adopted=False, grace="soon")
    world.store.create_secret("prod/rubbish", world.tags(), "changeme-changeme")
    world.store.create_secret("prod/no-field", world.tags(), json.dumps({"user": "x"}))
    world.store.create_secret("prod/empty", world.tags(scopes="sms:manage"))
    return world


def test_each_secret_is_adopted_or_has_a_reason() -> None:
    world = fleet()
    done = adopt_all(world.reconciler())
    assert outcomes(done) == {
        "prod/held": "skipped",
        "prod/json": "adopted",
        "prod/no-field": "failed",
        "prod/plain": "adopted",
        "prod/rubbish": "failed",
        "prod/wrong-tag": "failed",
    }
    assert (done.managed, done.ok) == (1, False)
    details = {each.secret: each.detail for each in done.adoptions}
    assert "rotator:value-field" in details["prod/no-field"]
    assert "rotator adopt --key-id" in details["prod/rubbish"]
    assert "rotator:grace" in details["prod/wrong-tag"]
    assert "freeze" in details["prod/held"]
    for name in ("prod/json", "prod/plain"):
        assert any(f"rotator:key:{world.first_keys[name].id}" in labels for labels in world.labels(name).values())
    assert len(world.events_named("key.adopted")) == 2
    leaks.check(world.stream.getvalue(), "the audit")
    again = adopt_all(world.reconciler())
    assert (again.managed, "prod/json" in outcomes(again)) == (3, False)


def test_keys_are_listed_once_an_account() -> None:
    world = fleet()
    world.managed("prod/other", account="second", adopted=False)
    asked: list[Request] = []
    world.infobip.observers.append(lambda request, _answer: asked.append(request))
    adopt_all(world.reconciler())
    lists = [request for request in asked if request.path == "/settings/2/api-keys"]
    assert len([request for request in lists if "apiKeySecret" not in request.query]) == 2


def test_dry_run_changes_nothing() -> None:
    world = fleet()
    before = {name: world.labels(name) for name in world.names()}
    done = adopt_all(world.reconciler(), dry_run=True)
    assert outcomes(done)["prod/json"] == Adopted.WOULD_ADOPT
    assert {name: world.labels(name) for name in world.names()} == before
    assert world.lines() == []


def test_one_account_and_an_unknown_one() -> None:
    world = fleet()
    world.managed("prod/other", account="second", adopted=False)
    done = adopt_all(world.reconciler(), account="second")
    assert (outcomes(done), done.ok) == ({"prod/other": "adopted"}, True)
    with pytest.raises(ConfigurationError, match="known are: main, second"):
        adopt_all(world.reconciler(), account="\x1b[2Jthird")


def test_failed_account_does_not_stop_another() -> None:
    world = World()
    world.managed("prod/a", account="first", adopted=False)
    world.managed("prod/b", account="second", adopted=False)
    broken = {"base_url": "https://sandbox.api.infobip.com", "username": "user-first", "password": "not-the-password"}
    world.store.put_value_by_hand("infobip/first", json.dumps(broken))
    done = adopt_all(world.reconciler())
    assert [account for account, _ in done.errors] == ["first"]
    assert (outcomes(done), done.ok) == ({"prod/b": "adopted"}, False)


def test_failed_label_fails_its_secret_only() -> None:
    world = fleet()

    def before(operation: str, name: str) -> None:
        if (operation, name) == ("add_label", "prod/json"):
            raise StoreDenied("denied", action="secretsmanager:UpdateSecretVersionStage")

    world.store.before = before
    done = adopt_all(world.reconciler())
    assert (outcomes(done)["prod/json"], outcomes(done)["prod/plain"]) == ("failed", "adopted")


def test_secret_without_an_account_is_reported() -> None:
    world = World()
    world.managed("prod/a")
    world.store.create_secret("prod/stray", {"rotator:role": "key"}, "x")
    (stray,) = adopt_all(world.reconciler()).adoptions
    assert (stray.secret, stray.outcome) == ("prod/stray", Adopted.FAILED)
    assert "rotator:account" in stray.detail


def test_masked_keys_are_adopted_by_their_value() -> None:
    world = World(options=Options(reveal=False))
    world.managed("prod/a", left=20 * DAY, adopted=False)
    assert outcomes(adopt_all(world.reconciler())) == {"prod/a": "adopted"}
