"""What proves whose key a version holds, and who else holds it: read when a plan asks; over the world in memory."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from rotator.engine.context import AccountContext, Budget
from rotator.engine.evidence import MAX_ROUNDS, CurrentValues, Evidence, ownership_proof, unproven
from rotator.engine.manual import rotate_now
from rotator.engine.observe import Fleet, management_of, observe_account, observe_fleet, value_field
from rotator.errors import StoreError
from rotator.model import AccountPlan, AccountSnapshot, Reason
from rotator.policy.ownership import OwnershipProof
from rotator.ports import KeyProvider
from rotator.sandbox.faults import Fault, FaultKind
from rotator.telemetry.audit import Trigger
from tests.world import DAY, HOUR, World


class Looked:
    """One account, observed and planned, as a sweep does it."""

    def __init__(self, world: World, account: str = "main") -> None:
        self.world = world
        self.fleet: Fleet = observe_fleet(world.store)
        entry = management_of(self.fleet, account)
        self.provider: KeyProvider = world.connect(entry, world.store.read_current(entry.arn).text)
        self.observed: AccountSnapshot = observe_account(world.store, self.provider, self.fleet, account)
        self.values = CurrentValues(world.store, self.fleet)
        world.store.calls.clear()
        evidence = Evidence(world.store, self.provider, self.fleet, self.values)
        self.snapshot: AccountSnapshot
        self.plan: AccountPlan
        self.snapshot, self.plan = evidence.plan(self.observed, world.policy, world.clock.now())

    @property
    def reads(self) -> Counter[str]:
        """The calls to Secrets Manager that the evidence took."""
        return Counter(method for method, _ in self.world.store.calls)

    @property
    def planned(self) -> list[tuple[str, str, str]]:
        return [(str(each.kind), str(each.reason), each.secret) for each in self.plan.actions]

    @property
    def skipped(self) -> set[tuple[str, Reason]]:
        return {(skip.secret, skip.reason) for skip in self.plan.skipped}

    def alerts(self) -> set[Reason]:
        return {alert.kind for alert in self.plan.alerts}


REVOKED = ("revoke", "grace-over", "prod/sms")


def over(world: World, **first: object) -> World:
    """``prod/sms`` was rotated, and the grace period of the old key is over."""
    world.managed("prod/sms", **first)  # type: ignore[arg-type]
    rotate_now(world.reconciler(), "prod/sms", "test")
    world.pass_time(73 * HOUR)
    return world


def old_value(world: World) -> str:
    return str(world.first_keys["prod/sms"].value)


def test_an_idle_sweep_reads_no_value() -> None:
    world = World()
    world.managed("a")
    world.managed("b")
    looked = Looked(world)
    assert looked.plan.actions == ()
    assert looked.reads == {}
    assert not looked.snapshot.history


def test_a_rotation_reads_the_value_whose_scopes_pass_on() -> None:
    world = World()
    world.managed("prod/sms", left=DAY, age=89 * DAY)
    world.managed("other")
    looked = Looked(world)
    assert looked.planned == [("rotate", "expiring", "prod/sms")]
    assert looked.reads == {"read_current": 1}
    assert looked.snapshot.history


def test_a_rotation_of_a_key_proven_by_name_reads_no_value() -> None:
    world = World()
    world.managed("prod/sms")
    rotate_now(world.reconciler(), "prod/sms", "test")
    world.pass_time(80 * DAY)
    world.sweep()  # revokes the old key, and rotates
    world.pass_time(62 * DAY)
    looked = Looked(world)
    assert ("rotate", "expiring", "prod/sms") in looked.planned
    assert looked.reads["read_current"] == 0


def test_a_revocation_reads_every_value_once() -> None:
    world = World()
    for number in range(30):
        world.managed(f"s{number:02}")
    looked = Looked(over(world))
    assert looked.planned == [REVOKED]
    assert looked.reads["read_many"] == 2  # 20 a call
    assert looked.snapshot.copies == {world.first_keys["prod/sms"].id: ()}
    looked.values.read()
    assert looked.reads["read_many"] == 2


def copied(world: World, how: str) -> None:
    """Somebody's hand puts the old key into another secret."""
    value = old_value(world)
    world.managed("copy", plain=how == "plain")
    contents: dict[str, str | bytes] = {
        "plain": value,
        "the tagged field": json.dumps({"api_key": value}),
        "another field": json.dumps({"api_key": world.current_value("copy"), "legacy": value}),
        "a field within a field": json.dumps({"api_key": world.current_value("copy"), "a": [{"b": f"App {value}"}]}),
        "binary": b"\x00\xff" + value.encode(),
        "UTF-16": b"\xff\xfe" + value.encode("utf-16-le"),
    }
    labels = world.labels("copy")
    version = world.store.put_value_by_hand("copy", contents[how])
    for old, on in labels.items():
        for label in on:
            if label.startswith("rotator:key:"):
                world.store.label_by_hand("copy", label, version, old)


@pytest.mark.parametrize(
    "how", ["plain", "the tagged field", "another field", "a field within a field", "binary", "UTF-16"]
)
def test_a_key_that_another_secret_holds_is_not_revoked(how: str) -> None:
    world = over(World())
    copied(world, how)
    looked = Looked(world)
    assert REVOKED not in looked.planned
    assert ("prod/sms", Reason.SHARED_KEY) in looked.skipped
    assert Reason.SHARED_KEY in looked.alerts()
    assert looked.snapshot.copies[world.first_keys["prod/sms"].id] == ("copy",)


def test_a_copy_in_a_secret_of_another_account_counts_too() -> None:
    world = over(World())
    world.account("other")
    world.store.create_secret("their/copy", world.tags("other"), json.dumps({"x": old_value(world)}))
    looked = Looked(world)
    assert ("prod/sms", Reason.SHARED_KEY) in looked.skipped


def test_a_second_field_of_the_same_secret_counts_too() -> None:
    world = over(World())
    value = json.loads(world.store.consumer_read("prod/sms"))
    labels = next(on for on in world.labels("prod/sms").values() if "AWSCURRENT" in on)
    current = next(version for version, on in world.labels("prod/sms").items() if "AWSCURRENT" in on)
    text = json.dumps({**value, "fallback": old_value(world)})
    version = world.store.put_value_by_hand("prod/sms", text)
    for label in labels:
        if label.startswith("rotator:key:"):
            world.store.label_by_hand("prod/sms", label, version, current)
    looked = Looked(world)
    assert REVOKED not in looked.planned
    assert looked.snapshot.copies[world.first_keys["prod/sms"].id] == ("prod/sms",)


def test_a_label_that_only_claims_a_key_does_not_protect_it() -> None:
    """Whoever may write labels could keep a leaked key alive with one."""
    world = over(World())
    world.managed("copy")
    version = next(iter(world.labels("copy")))
    world.store.label_by_hand("copy", f"rotator:retire:{world.first_keys['prod/sms'].id}:20991231T000000Z", version)
    looked = Looked(world)
    assert REVOKED in looked.planned


def test_a_secret_that_can_not_be_read_blocks_keys_proven_by_value() -> None:
    world = over(World())
    world.managed("locked")
    world.store.deny_kms("locked")
    looked = Looked(world)
    assert REVOKED not in looked.planned
    assert ("prod/sms", Reason.UNREADABLE) in looked.skipped
    assert looked.snapshot.unreadable == ("locked",)


def test_a_secret_that_can_not_be_read_blocks_no_key_proven_by_name() -> None:
    world = over(World())
    world.sweep()  # the key made by hand is revoked
    rotate_now(world.reconciler(), "prod/sms", "test")
    world.pass_time(73 * HOUR)
    world.managed("locked")
    world.store.deny_kms("locked")
    looked = Looked(world)
    assert REVOKED in looked.planned
    assert looked.snapshot.unreadable == ("locked",)


def test_a_secret_that_is_pending_deletion_is_not_read() -> None:
    world = over(World())
    world.managed("gone")
    world.store.delete("gone")
    looked = Looked(world)
    assert REVOKED in looked.planned
    assert looked.snapshot.unreadable == ()


def forged(world: World) -> str:
    """A label on a superseded version names the key of another secret, due since long ago."""
    world.managed("dev/sms")
    target = world.managed("prod/sms")
    old = next(iter(world.labels("dev/sms")))
    rotate_now(world.reconciler(), "dev/sms", "test")
    world.store.label_by_hand("dev/sms", f"rotator:key:{target.id}", old)
    world.store.label_by_hand("dev/sms", f"rotator:retire:{target.id}:20200101T000000Z", old)
    return target.id


def test_a_forged_label_revokes_nothing() -> None:
    world = World()
    target = forged(world)
    looked = Looked(world)
    assert target not in {action.key_id for action in looked.plan.actions}
    world.sweep()
    assert world.infobip.authenticates(world.current_value("prod/sms"))


def test_a_label_of_an_unmanaged_key_revokes_nothing() -> None:
    world = World()
    world.managed("dev/sms")
    admin = world.infobip.add_key(world.accounts["main"], "admin")
    rotate_now(world.reconciler(), "dev/sms", "test")
    put = world.store.put_value_by_hand("dev/sms", "anything")
    current = next(each for each, on in world.labels("dev/sms").items() if "AWSPREVIOUS" in on)
    world.store.label_by_hand("dev/sms", "AWSCURRENT", current, put)
    world.store.label_by_hand("dev/sms", f"rotator:key:{admin.id}", put)
    world.store.label_by_hand("dev/sms", f"rotator:retire:{admin.id}:20200101T000000Z", put)
    looked = Looked(world)
    assert admin.id not in {action.key_id for action in looked.plan.actions}
    assert Reason.UNPROVEN_LABEL in looked.alerts()
    world.sweep()
    assert world.infobip.authenticates(str(admin.value))
    assert world.consumer_works("dev/sms")


def test_infobip_that_can_not_be_asked_about_a_value_proves_nothing() -> None:
    world = over(World())
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, when=lambda request: "apiKeySecret" in request.query, status=403, count=None)
    )
    looked = Looked(world)
    assert REVOKED not in looked.planned
    assert looked.plan.error is None
    assert ("prod/sms", Reason.UNREADABLE) in looked.skipped


def test_it_is_planned_anew_a_few_times_at_most() -> None:
    """Each round answers what the last plan asked; what is still asked then is refused where it is done."""
    world = World(seed=3)
    for number in range(12):
        world.managed(f"s{number:02}", left=DAY + number * HOUR, age=89 * DAY)
    looked = Looked(world)
    assert MAX_ROUNDS == 3
    assert not looked.plan.questions
    assert looked.reads["read_current"] == 12


# ---- prove ----------------------------------------------------------------------------------------------------------


def context(world: World) -> AccountContext:
    looked = Looked(world)
    return AccountContext(world.services(Trigger.MANUAL), looked.provider, looked.observed, Budget())


def test_a_proof_is_read_once() -> None:
    world = World()
    one = world.managed("prod/sms")
    found = context(world)
    entry = world.store.describe("prod/sms")
    (version,) = entry.versions
    world.store.calls.clear()
    assert ownership_proof(found, entry, version, one.id) is OwnershipProof.BY_VALUE
    assert ownership_proof(found, entry, version, one.id) is OwnershipProof.BY_VALUE
    assert ownership_proof(found, entry, version, "0" * 32) is OwnershipProof.NONE
    assert [method for method, _ in world.store.calls] == ["read_current"]


@pytest.mark.parametrize(("denied", "expected"), [(True, OwnershipProof.UNREADABLE), (False, OwnershipProof.NONE)])
def test_what_is_no_proof_says_why(denied: bool, expected: OwnershipProof) -> None:
    world = World()
    world.managed("prod/sms")
    other = world.managed("other")
    found = context(world)
    world.store.deny_kms("prod/sms", denied)
    entry = world.store.describe("prod/sms")
    (version,) = entry.versions
    proof = ownership_proof(found, entry, version, other.id)
    assert proof is expected
    words = unproven(entry, version, other.id, proof)
    assert ("can't be read now" in words) is denied
    assert "prod/sms" in words
    assert other.id in words


def test_the_field_of_the_key_is_a_matter_of_tags() -> None:
    world = World()
    world.managed("a")
    world.store.create_secret("b", world.tags(value_field="token"), "{}")
    world.store.create_secret("c", world.tags(value_field="token", grace="soon"), "{}")
    assert [value_field(world.store.peek(name)) for name in ("a", "b", "c")] == ["api_key", "token", "api_key"]


def test_an_error_stands_for_what_can_not_be_read() -> None:
    world = World()
    world.managed("a")
    world.managed("b")
    world.store.deny_kms("b")
    fleet = observe_fleet(world.store)
    found = CurrentValues(world.store, fleet).read()
    assert isinstance(found[world.store.peek("b").arn], StoreError)
    assert not isinstance(found[world.store.peek("a").arn], StoreError)
