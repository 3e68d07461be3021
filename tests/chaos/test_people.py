"""People edit values, tags, credentials and copies between any two calls: consumers, accounts and keys are unharmed.

Every act at every call is ``python -m tests.chaos.people_runs``; here it is a sample of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.sandbox.state import SimKey
from tests.chaos.account_rules import AccountRules
from tests.chaos.people import NOTHING, add_binary_copy, put
from tests.chaos.people_runs import SWEEPS, Case, every
from tests.chaos.two_accounts import (
    FLOWS,
    MAIL,
    MAIN,
    OTHER,
    Flow,
    TwoAccounts,
    due,
    rotated,
)
from tests.chaos.worlds import SMS, VOICE
from tests.emergencies import REVOKE_ONLY
from tests.world import HOUR

SAMPLE = 13
"""One of so many is run: a prime, so that the sample goes through all calls and acts."""


@pytest.mark.parametrize("parent", [False, True], ids=["two accounts", "parent"])
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
class TestPeople:
    def test_without_people_no_rule_is_broken(self, flow: Flow, parent: bool) -> None:
        assert Case(flow, NOTHING, 0, parent).broken() == []

    def test_people_at_any_call(self, flow: Flow, parent: bool) -> None:
        """Threat: a person changes values, tags, credentials or keys between any two calls. No consumer is moved and no
        edit is undone.
        """
        cases = [case for case in every(SAMPLE) if (case.flow, case.parent) == (flow, parent)]
        broken = [text for case in cases for text in case.broken()]
        assert len(cases) >= 10
        assert not broken, "\n".join(broken[:12])


# ---- the rules notice a rotator that is wrong -----------------------------------------------------------------------


def promote(world: TwoAccounts, key: SimKey, **changes: str) -> None:
    fields = {**json.loads(world.store.consumer_read(SMS)), "api_key": key.value, **changes}
    world.store.put_value_by_hand(SMS, json.dumps(fields))
    world.store.describe(SMS)


def disable(world: TwoAccounts, key_id: str, account: str = MAIN) -> None:
    """Through the key's own account."""
    name = f"rotator/{account}"
    provider = world.connect(world.store.peek(name), world.store.read_current(name).text)
    provider.revoke_key(provider.get_key(key_id).key, world.clock.now())


def disable_first(world: TwoAccounts) -> None:
    disable(world, world.first_keys[SMS].id)


Wrong = Callable[[TwoAccounts], object]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda w: disable(w, w.current_key(SMS).id), "rule 1: prod/sms has no working key"),
        (lambda w: promote(w, w.add_key(OTHER)), "prod/sms was moved to another account"),
        (lambda w: promote(w, w.add_key(), note="as it was"), "rule 5: other fields of prod/sms"),
        (lambda w: disable(w, w.add_key().id), "which is nobody's"),
        (disable_first, "after it was replaced"),
    ],
)
def test_rules_notice(wrong: Wrong, found: str) -> None:
    world = rotated(HOUR)
    rules = AccountRules(world)
    rules.start()
    with rules.run(SWEEPS):
        wrong(world)
    assert found in "\n".join(rules.broken)


def hold_in_a_field(world: TwoAccounts) -> None:
    put(world, VOICE, {"legacy": world.first_keys[SMS].value})


@pytest.mark.parametrize(("copy", "name"), [(add_binary_copy, "prod/binary"), (hold_in_a_field, VOICE)])
def test_rules_notice_revoked_copy(copy: Wrong, name: str) -> None:
    world = rotated(73 * HOUR)
    copy(world)
    rules = AccountRules(world)
    rules.start()
    with rules.run(SWEEPS):
        disable_first(world)
    assert f"was revoked while {name} holds it" in "\n".join(rules.broken)


def in_an_emergency(flow: Flow, act: Callable[[TwoAccounts], EmergencyReport]) -> str:
    """What is found when that is done in an emergency about ``SMS``, and when its report is judged."""
    world = due()
    rules = AccountRules(world)
    rules.start()
    with rules.run(flow):
        report = act(world)
    rules.emergency_over(report, reachable=True)
    return "\n".join(rules.broken)


def emergency_flow(target: str, strategy: Strategy = REVOKE_ONLY) -> Flow:
    return Flow("emergency", due, lambda _: None, target, strategy)


def test_rules_notice_that_key_is_left() -> None:
    """The emergency was about another secret's key, and says that all is well."""
    found = in_an_emergency(emergency_flow("key"), lambda world: world.revoke(REVOKE_ONLY, secret=VOICE))
    assert "is enabled after a success" in found
    assert "which nobody named" in found


def test_rules_notice_revoked_other_key() -> None:
    def act(world: TwoAccounts) -> EmergencyReport:
        report = world.revoke(REVOKE_ONLY, secret=SMS)
        disable(world, world.first_keys[MAIL].id, OTHER)
        return report

    assert "which nobody named" in in_an_emergency(emergency_flow("secret"), act)
