"""Every sweep adopts the secrets whose key Infobip knows by its value, and gives a reason for each other one."""

from __future__ import annotations

import json

import pytest

from rotator.errors import StoreDenied
from rotator.model import Outcome, Reason
from rotator.sandbox.state import Options
from tests.world import World

TO_ADOPT = ("prod/json", "prod/plain")


def fleet(options: Options | None = None) -> World:
    """Two to adopt, one adopted, and one of each that can't be or shall not be."""
    world = World(options=options or Options())
    world.managed("prod/done")
    world.managed("prod/json", adopted=False)
    world.managed("prod/plain", adopted=False, plain=True)
    world.managed("prod/held", adopted=False, hold="freeze")
    world.managed("prod/wrong-tag", adopted=False, grace="soon")
    world.store.create_secret("prod/rubbish", world.tags(), "changeme-changeme")
    world.store.create_secret("prod/no-field", world.tags(), json.dumps({"user": "x"}))
    return world


@pytest.mark.parametrize("reveal", [True, False], ids=["shown", "masked"])
def test_sweep_adopts_or_gives_a_reason(reveal: bool) -> None:
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
