"""What is skipped, each with its reason, and that nothing at all is planned for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.model import Key, Resolution, SecretEntry
from tests.policy.build import DAY, HOUR, NOW, SECOND, Case, key, secret, snap, tagged

BUSY = {
    "v3": "CURRENT key:K3",
    "v2": "PREVIOUS key:K2",
    "v1": "key:K1 retire:K1:-1d",
    "v0": "retire:K3:-1d",
}
"""With work of every kind: K3 expired or expiring, K2 to be retired, K1 to be revoked, a label to be taken off."""
KEYS = [key("K3", left=DAY), key("K2"), key()]
BUSY_ACTIONS = (
    "label stale-label s K3@v0",
    "retire superseded s K2@v2",
    "rotate expiring s K3@v3",
    "revoke grace-over s K1@v1",
)


def alone(name: str, entry: SecretEntry, reason: str, *, alert: str | None = None) -> Case:
    alerts = () if alert is None else (alert,)
    return Case(name, snap([entry], KEYS), skipped=(f"s {reason}",), alerts=alerts)


def broken_tag(name: str, **tags: str) -> Case:
    return alone(name, tagged(secret("s", BUSY), tags), "misconfigured", alert="error misconfigured s K3")


ALONE = (
    Case("the same secret with nothing that stops it", snap([secret("s", BUSY)], KEYS), actions=BUSY_ACTIONS),
    alone("scheduled for deletion", secret("s", BUSY, deleted=NOW), "pending-deletion"),
    alone("owned by a service", secret("s", BUSY, owner="appflow"), "owned-by-service"),
    alone("a replica", secret("s", BUSY, primary="us-east-1"), "replica"),
    alone("on hold, its key about to end", secret("s", BUSY, hold="freeze"), "hold", alert="warning hold s K3"),
    Case(
        "on hold, and its key has time",
        snap([secret("s", hold="freeze")], [key(left=8 * DAY)]),
        skipped=("s hold",),
    ),
    alone("on hold for no reason", secret("s", BUSY, hold=""), "hold", alert="warning hold s K3"),
    broken_tag("a tag that can't be read", grace="soon"),
    broken_tag("a grace that no consumer's cache survives", grace="59m59s"),
    broken_tag("a grace that does not fit what is left", grace="40d"),
    broken_tag("a rotate-before that is longer than the validity", rotate_before="90d"),
    broken_tag("a tag that nobody knows: it may be a hold", hodl="please"),
    broken_tag("a hold and a tag that can't be read", hold="freeze", window="sometimes"),
    alone(
        "deleted and held and misconfigured: the first that fits",
        secret("s", BUSY, deleted=NOW, hold="freeze", grace="soon"),
        "pending-deletion",
    ),
    alone(
        "another function's rotation is in progress, and K3 is due",
        secret("s", {**BUSY, "x": "PENDING"}),
        "rotation-in-progress",
        alert="error rotation-in-progress s K3",
    ),
    alone(
        "two versions are ours and pending",
        secret("s", {**BUSY, "v8": "PENDING key:K8", "v9": "PENDING key:K9"}),
        "inconsistent-labels",
        alert="error inconsistent-labels s K3",
    ),
    alone(
        "a key on two versions",
        secret("s", {**BUSY, "v0": "key:K1"}),
        "inconsistent-labels",
        alert="error inconsistent-labels s K3",
    ),
    alone(
        "two keys on a version",
        secret("s", {**BUSY, "v2": "PREVIOUS key:K2 key:K7"}),
        "inconsistent-labels",
        alert="error inconsistent-labels s K3",
    ),
    alone(
        "held is said before inconsistent labels",
        secret("s", {**BUSY, "v0": "key:K1"}, hold="freeze"),
        "hold",
        alert="warning hold s K3",
    ),
)

FINE = (
    Case("the primary of replicas", snap([secret("s", BUSY, primary="eu-central-1")], KEYS), actions=BUSY_ACTIONS),
    Case("an empty owner", snap([secret("s", BUSY, owner="")], KEYS), actions=BUSY_ACTIONS),
    Case("the shortest grace", snap([secret("s", BUSY, grace="1h")], KEYS), actions=BUSY_ACTIONS),
    Case(
        "a shorter one, where it is allowed",
        snap([secret("s", BUSY, grace="59m", allow_short_grace="true")], KEYS),
        actions=BUSY_ACTIONS,
    ),
)


def foreign(name: str, one: Key, *alerts: str, **tags: str) -> Case:
    entry = tagged(secret("s", {"v1": "CURRENT key:K1", "x": "PENDING"}), tags)
    return Case(name, snap([entry], [one]), skipped=("s rotation-in-progress",), alerts=alerts)


FOREIGN = (
    foreign("a foreign rotation and nothing due", key()),
    foreign("a foreign rotation of a key that never ends", key(left=None)),
    foreign("a foreign rotation, due in a second", key(left=14 * DAY + SECOND), rotate_before="14d"),
    foreign(
        "a foreign rotation that keeps what is due",
        key(left=14 * DAY),
        "error rotation-in-progress s K1",
        rotate_before="14d",
    ),
    foreign("a foreign rotation, old enough", key(age=30 * DAY), "error rotation-in-progress s K1", max_age="30d"),
    foreign("a foreign rotation, a second too young", key(age=30 * DAY - SECOND), max_age="30d"),
)


@pytest.mark.parametrize("case", [*ALONE, *FINE, *FOREIGN], ids=str)
def test_skipped_rows(case: Case) -> None:
    case.check()


def test_one_broken_secret_does_not_stop_the_others() -> None:
    broken = secret("a", {"v1": "CURRENT key:A"}, grace="soon")
    lost = secret("b", {"v1": "CURRENT"})
    Case(
        "",
        snap(
            [secret("s"), lost, broken],
            [key(left=DAY), key("A", left=DAY)],
            resolved={"b": Resolution(None, "AccessDenied: kms", known_foreign=False)},
        ),
        actions=("rotate expiring s K1@v1",),
        skipped=("a misconfigured", "b unadopted"),
        alerts=("error misconfigured a A", "error unadopted b -"),
    ).check()


def test_what_is_wrong_with_every_tag_is_said_with_its_fix() -> None:
    (skip,) = Case("", snap([secret("s", grace="soon", validity="x")], [key()])).plan().skipped
    assert 'rotator:validity is "x", which is not a duration; write one such as' in skip.detail
    assert 'rotator:grace is "soon", which is not a duration; write one such as' in skip.detail


def test_a_hold_is_quoted() -> None:
    (skip,) = Case("", snap([secret("s", hold="until 1 Dec")], [key()])).plan().skipped
    assert skip.detail == '"until 1 Dec"'


def test_the_replicas_primary_is_named() -> None:
    (skip,) = Case("", snap([secret("s", primary="us-east-1")], [key()])).plan().skipped
    assert "us-east-1" in skip.detail


def test_a_value_that_could_not_be_read_says_why() -> None:
    snapshot = snap([secret("s", {"v1": "CURRENT"})], resolved={"s": Resolution(None, "kms:Decrypt is denied")})
    (skip,) = Case("", snapshot).plan().skipped
    assert skip.detail == "kms:Decrypt is denied"


@pytest.mark.parametrize(
    ("age", "alerts"),
    [(None, ()), (90 * DAY, ()), (90 * DAY + SECOND, ("warning management-credentials-old infobip -",))],
)
def test_the_management_password_is_old_after_90_days(age: object, alerts: tuple[str, ...]) -> None:
    snapshot = snap([secret("s")], [key()])
    changed = None if age is None else NOW - age  # type: ignore[operator]
    Case("", replace(snapshot, management=replace(snapshot.management, last_changed=changed)), alerts=alerts).check()


def test_the_plan_counts_keys_and_knows_the_earliest_end() -> None:
    entries = [secret(name, {"v1": f"CURRENT key:{name}"}, rotate_before="1d") for name in ("a", "b", "c", "d")]
    keys = [
        key("a", left=50 * DAY),
        key("b", left=40 * DAY + HOUR),
        key("c", left=None),
        key("x", left=30 * DAY),
    ]
    plan = Case(
        "", snap([*entries, secret("e", {"v1": "CURRENT key:e"})], [*keys, key("e", left=9 * DAY, enabled=False)])
    ).plan()
    assert plan.keys == 5
    assert plan.earliest_end == NOW + 40 * DAY + HOUR
    assert Case("", snap()).plan().earliest_end is None
