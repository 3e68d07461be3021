"""What proves whose key a version holds, and who else holds it: read when a plan needs it; over the world in memory."""

from __future__ import annotations

import json
from collections import Counter
from typing import cast

import pytest

from rotator.engine.answers import MAX_ROUNDS, Answers
from rotator.engine.context import AccountContext, Budget
from rotator.engine.copies import CurrentValues
from rotator.engine.observe import Fleet, management_of, observe_account, observe_fleet
from rotator.engine.proofs import ownership_proof, unproven
from rotator.engine.rotate_now import rotate_now
from rotator.model import AccountSnapshot
from rotator.plan import AccountPlan, Outcome
from rotator.policy.ownership import OwnershipProof
from rotator.ports import KeyProvider
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import Options, SimKey
from rotator.telemetry.audit import Trigger
from tests import leaks
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World


class Observed:
    """One account, observed and planned, as a sweep does it."""

    def __init__(self, world: World, account: str = "main") -> None:
        self.world = world
        self.fleet: Fleet = observe_fleet(world.store)
        entry = management_of(self.fleet, account)
        self.provider: KeyProvider = world.connect(entry, world.store.read_current(entry.arn).text)
        self.observed: AccountSnapshot = observe_account(world.store, self.provider, self.fleet, account)
        self.values = CurrentValues(world.store, self.fleet)
        world.store.calls.clear()
        answers = Answers(world.services(), self.provider, self.values)
        self.snapshot: AccountSnapshot
        self.plan: AccountPlan
        self.snapshot, self.plan = answers.plan(self.observed, world.policy, world.clock.now())

    @property
    def reads(self) -> Counter[str]:
        """The calls to Secrets Manager that the evidence took."""
        return Counter(method for method, _ in self.world.store.calls)

    @property
    def planned(self) -> list[tuple[str, str, str]]:
        return [(str(each.kind), str(each.reason), each.secret) for each in self.plan.actions]


REVOKED = ("revoke", "grace-over", "prod/sms")


def grace_over(world: World) -> World:
    """``prod/sms`` was rotated, and the grace period of the old key is over."""
    world.secret("prod/sms")
    rotate_now(world.services(), "prod/sms", "test")
    world.pass_time(73 * HOUR)
    return world


def old_key(world: World) -> SimKey:
    return world.first_keys["prod/sms"]


def refuse_value_search(world: World, status: int) -> None:
    """Infobip, or a filter in front of it, does not answer which key a value is."""
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", status=status, count=None))


def test_idle_plan_reads_no_value() -> None:
    world = World()
    world.secret("a")
    world.secret("b")
    observed = Observed(world)
    assert observed.plan.actions == ()
    assert observed.reads == {}
    assert not observed.snapshot.disabled_keys


def test_rotation_reads_value_for_scopes() -> None:
    world = World()
    world.secret("prod/sms", left=DAY)
    world.secret("other")
    observed = Observed(world)
    assert observed.planned == [("rotate", "expiring", "prod/sms")]
    assert observed.reads == {"read_current": 1}
    assert observed.snapshot.disabled_keys


def test_proven_by_name_reads_no_value() -> None:
    world = World()
    world.secret("prod/sms")
    rotate_now(world.services(), "prod/sms", "test")
    world.pass_time(80 * DAY)
    world.sweep()  # revokes the old key, and rotates
    world.pass_time(62 * DAY)
    observed = Observed(world)
    assert ("rotate", "expiring", "prod/sms") in observed.planned
    assert observed.reads["read_current"] == 0


def test_revocation_reads_every_value_once() -> None:
    world = World()
    for number in range(30):
        world.secret(f"s{number:02}")
    observed = Observed(grace_over(world))
    assert observed.planned == [REVOKED]
    assert observed.reads["read_many"] == 2  # 20 a call
    assert observed.snapshot.copies == {old_key(world).id: ()}
    observed.values.read()
    assert observed.reads["read_many"] == 2


def test_forged_label_does_not_protect_key() -> None:
    """Else a principal that may write labels could keep a leaked key enabled."""
    world = grace_over(World())
    world.secret("copy")
    version = next(iter(world.labels("copy")))
    world.store.label_by_hand("copy", f"rotator:retire:{old_key(world).id}:20991231T000000Z", version)
    observed = Observed(world)
    assert REVOKED in observed.planned


def test_secret_pending_deletion_is_not_read() -> None:
    world = grace_over(World())
    world.secret("deleted")
    world.store.delete("deleted")
    observed = Observed(world)
    assert REVOKED in observed.planned
    assert observed.snapshot.unreadable == ()


@pytest.mark.parametrize("status", [400, 403, 404, 414])
def test_refused_search_stops_no_other(status: int) -> None:
    """A key that the rotator made is proven by its name; one made by hand has to wait until it can be searched for."""
    world = World()
    world.secret("a/expiring", left=2 * DAY)
    assert world.sweep().ok
    world.pass_time(5 * DAY)
    assert world.sweep().ok
    world.pass_time(65 * DAY)
    world.secret("b/odd", adopted=False)
    refuse_value_search(world, status)
    sweep = world.sweep()
    (plan,) = sweep.plan.accounts
    assert plan.error is None
    assert [(result.action.secret, result.outcome) for result in sweep.results] == [("a/expiring", Outcome.DONE)]
    assert [(skip.secret, skip.reason) for skip in plan.skipped] == [("b/odd", Reason.UNADOPTED)]
    assert not sweep.ok


def test_text_too_long_for_key_is_not_sent() -> None:
    world = World()
    world.secret("a/expiring", left=2 * DAY, rotated=True)
    world.store.create_secret("b/keystore", world.tags(), leaks.register("A" * 5000))
    sweep = world.sweep()
    assert [(result.action.secret, result.outcome) for result in sweep.results] == [("a/expiring", Outcome.DONE)]
    assert not [call for call in world.infobip.calls if "apiKeySecret" in call.params]
    (skip,) = sweep.plan.accounts[0].skipped
    assert (skip.secret, skip.reason) == ("b/keystore", Reason.UNADOPTED)


def test_copy_elsewhere_protects_its_key() -> None:
    world = World()
    old = world.secret("prod/sms", left=5 * DAY, rotated=True)
    world.sweep()
    world.account("other")
    world.store.create_secret("copy", world.tags("other"), json.dumps({"api_key": old.value}))
    world.pass_time(73 * HOUR)
    world.infobip.calls.clear()
    sweep = world.sweep(account="main")
    assert sweep.results == ()
    (skip,) = sweep.plan.accounts[0].skipped
    assert (skip.secret, skip.reason) == ("prod/sms", Reason.SHARED_KEY)
    assert skip.message.values["names"] == "copy"
    assert world.works(old)
    assert all("apiKeySecret" not in str(call) for call in world.infobip.calls)


MANY_KEYS = " ".join(f"{number:032x}-00000000-0000-0000-0000-000000000000" for number in range(20))


@pytest.mark.parametrize(
    ("form", "tags", "holds"),
    [
        ("{}", {}, True),
        ("API_KEY={}", {}, True),
        ('{{"token": "app-123", "api_key": "{}"}}', {"value_field": "token"}, True),
        ('{{"other": "{}"}}', {}, True),
        (MANY_KEYS + " {}", {}, True),
        (MANY_KEYS, {}, False),
    ],
    ids=["plain", "setting", "another field", "no key field", "many keys", "many other keys"],
)
def test_key_in_another_text_is_not_revoked(form: str, tags: dict[str, str], holds: bool) -> None:
    world = grace_over(World())
    value = str(old_key(world).value)
    world.store.create_secret("b/copy", world.tags("main", **tags), leaks.register(form.format(value)))
    skipped = {(skip.secret, skip.reason) for skip in world.sweep().plan.accounts[0].skipped}
    assert world.infobip.authenticates(value) is holds
    assert (("prod/sms", Reason.SHARED_KEY) in skipped) is holds


def test_unfindable_copy_protects_its_key() -> None:
    """Masked values, and a filter that finds nothing: the two secrets' own values are compared."""
    world = World(options=Options(reveal=False))
    old = world.secret("a/one", left=20 * DAY, rotated=True)
    assert world.sweep().ok
    world.create("b/copy", value=json.dumps({"api_key": old.value}))

    def finds_nothing(request: Request, _answer: Response | None) -> None:
        cast(dict[str, str], request.query)["apiKeySecret"] = "another"

    world.infobip.faults.add(Fault(FaultKind.HOOK_BEFORE, param="apiKeySecret", hook=finds_nothing, count=None))
    world.pass_time(80 * HOUR)
    skipped = world.sweep().plan.accounts[0].skipped
    (message,) = (skip.message for skip in skipped if (skip.secret, skip.reason) == ("a/one", Reason.SHARED_KEY))
    assert message.values["names"] == "b/copy"
    assert world.works(old)


def test_plan_is_repeated_few_times() -> None:
    """Each round answers what the last plan asked; what is still asked then is refused where it is done."""
    world = World(seed=3)
    for number in range(12):
        world.secret(f"s{number:02}", left=DAY + number * HOUR, lifetime=DAY + number * HOUR + 89 * DAY)
    observed = Observed(world)
    assert MAX_ROUNDS == 4
    assert not observed.plan.questions
    assert observed.reads["read_current"] == 12


# ---- one proof ------------------------------------------------------------------------------------------------------


def context(world: World) -> AccountContext:
    observed = Observed(world)
    return AccountContext(world.services(Trigger.MANUAL), observed.provider, observed.observed, Budget())


def test_value_is_read_once_for_proof() -> None:
    world = World()
    one = world.secret("prod/sms")
    found = context(world)
    entry = world.store.describe("prod/sms")
    (version,) = entry.versions
    world.store.calls.clear()
    assert ownership_proof(found, entry, version, one.id) is OwnershipProof.BY_VALUE
    assert ownership_proof(found, entry, version, one.id) is OwnershipProof.BY_VALUE
    assert ownership_proof(found, entry, version, "0" * 32) is OwnershipProof.NONE
    assert [method for method, _ in world.store.calls] == ["read_current"]


@pytest.mark.parametrize(("denied", "expected"), [(True, OwnershipProof.UNREADABLE), (False, OwnershipProof.NONE)])
def test_missing_proof_says_why(denied: bool, expected: OwnershipProof) -> None:
    world = World()
    world.secret("prod/sms")
    other = world.secret("other")
    found = context(world)
    world.store.deny_kms("prod/sms", denied)
    entry = world.store.describe("prod/sms")
    (version,) = entry.versions
    proof = ownership_proof(found, entry, version, other.id)
    assert proof is expected
    words = unproven(entry, version, other.id, proof)
    assert "prod/sms" in words
    assert other.id in words
