"""The main job over the strict store and the real client: adoption, rotation, grace, revocation, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import NO_ACCOUNT, Sweep
from rotator.model import Policy
from rotator.plan import ActionKind, Outcome
from rotator.policy.labels import key_name
from rotator.ports import Listing
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import Options
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, PLAIN, World


def test_whole_life_of_key(world: World) -> None:
    old = world.secret("prod/sms", adopted=False, left=20 * DAY, extra={"note": "a", "n": 1.5})
    sweep = world.sweep()
    assert [(r.action.kind, r.outcome, r.error) for r in sweep.results] == [
        (ActionKind.LABEL, Outcome.DONE, None),
        (ActionKind.ROTATE, Outcome.DONE, None),
    ]
    assert sweep.ok
    new = world.current_key("prod/sms")
    assert new.id != old.id
    assert new.scopes == old.scopes
    assert world.value("prod/sms") == {
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
    assert world.works(old)
    world.pass_time(timedelta(seconds=1))
    sweep = world.sweep()
    assert [(r.action.kind, r.action.reason, r.outcome) for r in sweep.results] == [
        (ActionKind.REVOKE, Reason.GRACE_OVER, Outcome.DONE)
    ]
    assert not world.works(old)
    assert world.labels("prod/sms") == {
        version: {"AWSCURRENT", "AWSPENDING", f"rotator:key:{new.id}"},
        retired: {"AWSPREVIOUS"},
    }
    assert world.consumer_works("prod/sms")
    assert world.sweep().results == ()


def test_plain_stays_plain_first_is_json(world: World) -> None:
    world.secret("plain", value=PLAIN, left=5 * DAY)
    world.create("empty", scopes="sms:manage voice:manage")
    assert world.sweep().ok
    assert not world.text("plain").startswith("{")
    assert world.consumer_works("plain")
    assert world.consumer_works("empty")
    assert world.current_key("empty").scopes == {"sms:manage", "voice:manage"}
    assert world.sweep().results == ()


def test_bug_at_one_secret_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.secret("a", left=5 * DAY)
    world.secret("b", left=6 * DAY)

    def fail_to_store(op: str, secret: str) -> None:
        if op == "stage" and (secret == "a" or ":secret:a-" in secret):
            raise ZeroDivisionError("not expected")

    monkeypatch.setattr(world.store, "before", fail_to_store)
    sweep = world.sweep()
    assert [(r.action.secret, r.outcome) for r in sweep.results] == [("a", Outcome.FAILED), ("b", Outcome.DONE)]
    assert "ZeroDivisionError" in (sweep.results[0].error or "")
    assert world.consumer_works("a")


def test_secrets_of_unknown_account(world: World) -> None:
    world.secret("a/right")
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
    for shown in (nowhere.skipped, nowhere.alerts):
        assert [item.secret for item in shown] == ["d/nowhere", "e/odd"]
    for number in range(20):
        world.store.create_secret(f"f/{number}", world.tags() | {"rotator:account": "mian"}, "{}")
    many = next(plan for plan in world.sweep().plan.accounts if plan.account == "mian")
    assert (len(many.skipped), [alert.secret for alert in many.alerts]) == (22, [None])


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize(("left", "updates"), [(20 * DAY, 32), (HOUR, 0)])
def test_every_revocation_counts_against_day(refuse: bool, left: timedelta, updates: int) -> None:
    """An expiry that Infobip does not take does not hide a revocation. Keys that expired by themselves need none."""
    world = World(options=Options(refuse_past_end=refuse, daily_creates=None), policy=Policy(daily_limit=200))
    for number in range(60):
        world.secret(f"s/{number:02}", left=left, lifetime=left + 70 * DAY)
    world.sweep()
    world.policy = Policy()
    world.pass_time(4 * DAY)
    for _ in range(3):
        world.sweep(force=True)
        world.pass_time(HOUR)
    assert world.infobip.updates_used(world.accounts["main"]) == updates
    assert len(world.live()) == 60 + (28 if updates else 0)


def test_key_missing_in_listing_has_grace(world: World) -> None:
    for number in range(8):
        world.secret(f"s/{number}", left=200 * DAY, lifetime=210 * DAY)
    old = world.secret("prod/sms", left=20 * DAY)
    world.sweep()
    world.pass_time(HOUR)

    def leave_out(_request: Request, answer: Response | None) -> None:
        assert answer is not None
        object.__setattr__(answer, "body", answer.body.replace(old.id.encode(), old.id[::-1].encode()))

    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method="GET", path="/settings/2/api-keys$", hook=leave_out))
    assert world.sweep().results == ()  # it was read by its id
    assert world.works(old)
    assert any(f"rotator:retire:{old.id}" in label for labels in world.labels("prod/sms").values() for label in labels)
    world.pass_time(72 * HOUR)
    assert world.sweep().ok
    assert not world.works(old)


# ---- what a sweep costs ----------------------------------------------------------------------------------------------


def test_other_accounts_values_are_not_read(world: World) -> None:
    world.secret("a", account="one")
    world.secret("b", account="two")
    world.secret("c", account="two", adopted=False)
    world.store.calls.clear()
    world.sweep(account="one")
    read = [secret for operation, secret in world.store.calls if operation == "read_current"]
    assert read[0] == "rotator/one"
    assert "b" not in read


SECRETS = 48
READS_A_SECRET = 12
"""How often its labels may be read: when it is listed, observed, planned, and for all accounts."""


class Watched(Mapping[str, Any]):
    """A mapping that counts its reads."""

    def __init__(self, real: Mapping[str, Any], name: str, seen: Counter[str]) -> None:
        self._real, self._name, self._seen = real, name, seen

    def __getitem__(self, key: str) -> Any:
        self._seen[self._name] += 1
        return self._real[key]

    def __iter__(self) -> Iterator[str]:
        self._seen[self._name] += 1
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


def label_reads(accounts: int, monkeypatch: pytest.MonkeyPatch, *, orphans: bool) -> tuple[Counter[str], Sweep]:
    """A sweep of ``SECRETS`` secrets in so many accounts: how often the labels of each were read."""
    world, seen = World(), Counter[str]()
    for number in range(SECRETS):
        world.secret(f"s{number:02}", account=f"a{number % accounts}")
    if orphans:  # keys that any secret may hold are searched for everywhere
        now = world.clock.now()
        for number in range(accounts):
            secret = f"s{number:02}"
            name = key_name(secret, world.store.peek(secret).arn, "default", f"{number:036}")
            made = now - timedelta(minutes=31)
            world.infobip.add_key(world.accounts[f"a{number}"], name, valid_from=made, valid_to=now + timedelta(days=9))
    listed = world.store.list_secrets

    def watched(role: str = "") -> Listing:
        return Listing(replace(each, versions=Watched(each.versions, each.name, seen)) for each in listed(role))

    monkeypatch.setattr(world.store, "list_secrets", watched)
    return seen, world.sweep(dry_run=True)


@pytest.mark.parametrize("orphans", [False, True])
def test_no_account_reads_others_labels(monkeypatch: pytest.MonkeyPatch, orphans: bool) -> None:
    few, sweep = label_reads(2, monkeypatch, orphans=orphans)
    assert sum(len(plan.actions) for plan in sweep.plan.accounts) == 2 * orphans
    many, sweep = label_reads(24, monkeypatch, orphans=orphans)
    assert sum(len(plan.actions) for plan in sweep.plan.accounts) == 24 * orphans
    assert len(many) == len(few) == SECRETS
    # A plan that revokes is made again, with what was asked.
    assert max(many.values()) <= READS_A_SECRET * (1 + orphans)
    assert sum(many.values()) <= sum(few.values()) + 24 * READS_A_SECRET * orphans


def test_adoption_without_time_is_overdue(world: World) -> None:
    """A worker whose time suffices only to list defers the adoption in every sweep; after a day that is no success."""
    world.secret("prod/new", adopted=False)
    found = []
    for _ in range(3):
        services = world.services()
        services.may_start = lambda: False
        sweep = Reconciler(services).sweep()
        alerts = [(a.secret, a.by_account) for a in sweep.plan.accounts[0].alerts if a.kind is Reason.OVERDUE]
        found.append((sweep.succeeded, alerts))
        world.pass_time(23 * HOUR)
    assert found == [(True, []), (True, []), (False, [("prod/new", True)])]
    assert [result.outcome for result in world.sweep().results] == [Outcome.DONE]
