"""When a key is replaced, over the composed chain: one row a situation, boundaries to the second."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import Action, Key
from tests.policy.build import DAY, MINUTE, NOW, SECOND, Case, at, key, own, secret, snap, tagged


def lived(left: timedelta, life: timedelta = 100 * DAY) -> Key:
    """``K1``, made for a lifetime of ``life``, of which ``left`` is left."""
    return key(left=left, age=life - left)


def due(name: str, left: timedelta, **tags: str) -> Case:
    """A key of 100 days with ``left`` to go, which is due for its end."""
    return Case(name, snap([tagged(secret("s"), tags)], [lived(left)]), actions=("rotate expiring s K1@v1",))


def not_due(name: str, left: timedelta, **tags: str) -> Case:
    return Case(name, snap([tagged(secret("s"), tags)], [lived(left)]))


SHUT = "Mon 08:00-09:00 UTC"
OTHER = secret("other", {"v1": "CURRENT key:O"})
"""Its key ``O`` is found, so that the account is the right one."""

WHEN = (
    Case("a young key needs nothing", snap([secret("s")], [key()])),
    due("by the default fraction, 0.33: at the moment", 33 * DAY),
    not_due("by the default fraction: a second before", 33 * DAY + SECOND),
    due("by a fraction: at the moment", 25 * DAY, rotate_before="0.25"),
    not_due("by a fraction: a second before", 25 * DAY + SECOND, rotate_before="0.25"),
    due("by a length: at the moment", 14 * DAY, rotate_before="14d"),
    not_due("by a length: a second before", 14 * DAY + SECOND, rotate_before="14d"),
    Case(
        "a key without validFrom: the fraction is of the validity tag",
        snap([secret("s", validity="40d", rotate_before="0.25")], [key(left=10 * DAY, age=None)]),
        actions=("rotate expiring s K1@v1",),
    ),
    Case(
        "a key without validFrom: a second before",
        snap([secret("s", validity="40d", rotate_before="0.25")], [key(left=10 * DAY + SECOND, age=None)]),
    ),
    Case(
        "a key without validTo never expires, which is a warning",
        snap([secret("s")], [key(left=None, age=5000 * DAY)]),
        alerts=("warning no-expiry s K1",),
    ),
    Case("a key without any time", snap([secret("s", max_age="30d")], [key(left=None, age=None)])),
    due("a second before its end it is expiring", SECOND),
    Case("at its end it is expired", snap([secret("s")], [lived(0 * DAY)]), actions=("rotate expired s K1@v1",)),
    Case("long expired", snap([secret("s")], [lived(-50 * DAY)]), actions=("rotate expired s K1@v1",)),
    Case(
        "max-age: at the moment",
        snap([secret("s", max_age="30d")], [key(age=30 * DAY)]),
        actions=("rotate max-age s K1@v1",),
    ),
    Case("max-age: a second before", snap([secret("s", max_age="30d")], [key(age=30 * DAY - SECOND)])),
    Case(
        "max-age without validTo",
        snap([secret("s", max_age="30d")], [key(age=31 * DAY, left=None)]),
        actions=("rotate max-age s K1@v1",),
    ),
    Case(
        "expiring is said before max-age",
        snap([secret("s", max_age="30d")], [lived(10 * DAY)]),
        actions=("rotate expiring s K1@v1",),
    ),
    Case(
        "disabled by somebody, said before expired",
        snap([secret("s")], [key(enabled=False, left=-DAY)]),
        actions=("rotate key-disabled s K1@v1",),
    ),
    Case(
        "not found at Infobip, while another one is",
        snap([secret("s", scopes="sms:manage"), OTHER], [key("O")]),
        actions=("rotate key-missing s K1@v1",),
    ),
    Case(
        "no value yet, scopes are tagged",
        snap([secret("s", {}, scopes="sms:manage")]),
        actions=("rotate first-key s -@-",),
    ),
    Case(
        "no value yet and no scopes",
        snap([secret("s", {})]),
        skipped=("s empty",),
        alerts=("error empty s -",),
    ),
    Case(
        "stored and not promoted: goes on, whatever the key's age",
        snap([secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"})], [key(), key("K2")]),
        actions=("resume pending s K2@v2",),
    ),
    Case(
        "stored and not promoted, the old key due as well: one of the two",
        snap([secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"})], [lived(DAY), key("K2")]),
        actions=("resume pending s K2@v2",),
    ),
    Case(
        "stored and not promoted is finished whatever the window",
        snap([secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"}, window=SHUT)], [key(), key("K2")]),
        actions=("resume pending s K2@v2",),
    ),
    Case(
        "the very first key, stored and not promoted, needs no scopes to go on",
        snap([secret("s", {"v2": "PENDING key:K2"})], [key("K2")]),
        actions=("resume pending s K2@v2",),
    ),
    Case(
        "made and not stored, its value can be read: goes on with it",
        snap([secret("s")], [lived(DAY), key("K2", age=MINUTE, name=own("s", "v2"), readable=True)]),
        actions=("resume expiring s K2@v2",),
    ),
    Case(
        "two made and not stored: the newer one goes on, the other is an orphan in its time",
        snap(
            [secret("s")],
            [
                lived(DAY),
                key("K2", age=2 * MINUTE, name=own("s", "v2"), readable=True),
                key("K3", age=MINUTE, name=own("s", "v3"), readable=True),
            ],
        ),
        actions=("resume expiring s K3@v3",),
    ),
    *(
        Case(
            f"made and not stored, but {why}: a new one",
            snap([secret("s")], [lived(DAY), replace(key("K2", age=MINUTE, name=name, readable=True), **changes)]),
            actions=("rotate expiring s K1@v1",),
        )
        for why, name, changes in (
            ("its value can't be read", own("s", "v2"), {"value_readable": False}),
            ("it is disabled", own("s", "v2"), {"enabled": False}),
            ("it ended", own("s", "v2"), {"valid_to": NOW}),
            ("for another secret", own("t", "v2"), {}),
            ("by another deployment", own("s", "v2", "blue"), {}),
            ("under the version that is current", own("s", "v1"), {}),
            ("it does not say when", own("s", "v2"), {"valid_from": None}),
        )
    ),
    *(
        Case(
            f"made and not stored, {why}: goes on with it",
            snap(
                [secret("s", versions, scopes="a"), OTHER],
                [key("O"), key("K2", age=MINUTE, name=own("s", "v2"), readable=True)],
            ),
            actions=(f"resume {reason} s K2@v2",),
        )
        for why, versions, reason in (
            ("as the first key", {}, "first-key"),
            ("for a key that is gone", {"v1": "CURRENT key:K1"}, "key-missing"),
        )
    ),
    Case(
        "made and not stored here, but a value elsewhere holds it: a new one",
        snap(
            [secret("s"), secret("t", {"v1": "CURRENT key:K2"})],
            [lived(DAY), key("K2", age=MINUTE, name=own("s", "v2"), readable=True)],
        ),
        actions=("rotate expiring s K1@v1",),
        alerts=("warning foreign-key t K2",),
    ),
    Case(
        "made and not stored, but before the current key: an orphan",
        snap([secret("s")], [lived(DAY), key("K2", age=99 * DAY, name=own("s", "v2"), readable=True)]),
        actions=("rotate expiring s K1@v1", "revoke orphan s K2@v2"),
    ),
)


@pytest.mark.parametrize("case", WHEN, ids=str)
def test_rotation(case: Case) -> None:
    case.check()


def test_a_rotation_says_since_when_it_is_due_and_until_when_it_must_be_done() -> None:
    (action,) = due("", 10 * DAY, rotate_before="14d").check().actions
    assert (action.due_at, action.deadline) == (at("-4d"), at("+10d"))
    assert (action.account, action.arn) == ("main", secret("s").arn)
    assert action.detail == "10 d left"


def test_an_expired_key_was_due_before_its_end() -> None:
    (action,) = planned(lived(-DAY), rotate_before="14d")
    assert (action.due_at, action.deadline, action.detail) == (at("-15d"), at("-1d"), "expired 1 d ago")


def test_an_old_key_is_due_by_its_age_and_must_be_done_by_its_end() -> None:
    (action,) = planned(key(age=31 * DAY, left=200 * DAY), max_age="30d")
    assert (action.due_at, action.deadline, action.detail) == (at("-1d"), at("+200d"), "31 d old")


def test_a_broken_key_is_due_at_once() -> None:
    for found in ([key(enabled=False), key("O")], [key("O")]):
        (action,) = Case("", snap([secret("s", scopes="a"), OTHER], found)).plan().actions
        assert (action.due_at, action.deadline) == (NOW, NOW)


def test_what_is_resumed_must_be_done_by_the_old_keys_end() -> None:
    stored = snap([secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"})], [lived(9 * DAY), key("K2")])
    made = snap([secret("s")], [lived(9 * DAY), key("K2", age=MINUTE, name=own("s", "v2"), readable=True)])
    for snapshot in (stored, made):
        (action,) = Case("", snapshot).plan().actions
        assert (action.due_at, action.deadline, action.costs_update) == (NOW, at("+9d"), False)


def planned(one: Key, **tags: str) -> tuple[Action, ...]:
    return Case("", snap([tagged(secret("s"), tags)], [one])).plan().actions
