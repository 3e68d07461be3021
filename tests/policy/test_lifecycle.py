"""Staging labels, read as one life cycle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import Policy
from rotator.policy.lifecycle import (
    MAX_LABELS,
    Lifecycle,
    Retiring,
    is_abandoned,
    labels_after_rotation,
    read_lifecycle,
    was_never_current,
)
from tests.policy.build import DAY, MINUTE, NOW, SECOND, at, secret, short, vid


def read(versions: dict[str, str], resolved: str | None = None) -> Lifecycle:
    return read_lifecycle(secret("s", versions), resolved)


def pairs(found: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{short(version)} {what}" for version, what in found]


def test_secret_in_middle_of_its_life() -> None:
    life = read(
        {
            "v4": "PENDING key:K4",
            "v3": "CURRENT key:K3",
            "v2": "PREVIOUS key:K2 retire:K2:+1d",
            "v1": "key:K1",
            "v0": "retire:K0:-1d",
        }
    )
    assert (life.current_version, life.current_key) == (vid("v3"), "K3")
    assert (life.pending_version, life.pending_key) == (vid("v4"), "K4")
    assert life.retiring == (Retiring(vid("v0"), "K0", at("-1d")), Retiring(vid("v2"), "K2", at("+1d")))
    assert pairs(life.superseded) == ["v1 K1"]
    assert life.stale == ()
    assert life.named == {"K0", "K1", "K2", "K3", "K4"}
    assert life.holders == {"K1": vid("v1"), "K2": vid("v2"), "K3": vid("v3"), "K4": vid("v4")}


def test_pending_without_key_is_foreign() -> None:
    life = read({"v1": "CURRENT key:K1", "v2": "PENDING x"})
    assert (life.pending_version, life.pending_key, life.foreign_pending) == (None, None, vid("v2"))


@pytest.mark.parametrize(
    ("versions", "fact"),
    [
        ({"v1": "CURRENT", "v2": "CURRENT"}, "AWSCURRENT"),
        ({"v1": "CURRENT key:K1 key:K2"}, vid("v1")),
        ({"v1": "CURRENT key:K1", "v2": "key:K1"}, "K1"),
        ({"v1": "PENDING key:K1", "v2": "PENDING key:K2"}, "AWSPENDING"),
        ({"v1": "CURRENT PENDING key:K1", "v2": "PENDING key:K2"}, None),
        ({"v1": "PREVIOUS PENDING key:K1", "v2": "PENDING key:K2"}, None),
        ({"v1": "CURRENT key:K1", "v2": "PREVIOUS"}, None),
    ],
)
def test_labels_that_can_not_be(versions: dict[str, str], fact: str | None) -> None:
    problem = read(versions).problem
    assert problem is None if fact is None else fact in str(problem)


@pytest.mark.parametrize(
    ("versions", "after"),
    [
        ({}, 3),
        ({"v1": "CURRENT PENDING key:K1"}, 6),
        ({"v1": "CURRENT key:K1"}, 6),
        ({"v1": "CURRENT"}, 6),
        ({"v2": "CURRENT PENDING key:K2", "v1": "PREVIOUS"}, 6),
        ({"v2": "CURRENT PENDING key:K2", "v1": "PREVIOUS key:K1 retire:K1:+1d"}, 8),
        ({"v2": "CURRENT PENDING key:K2 mine"}, 7),
        ({"v2": "PREVIOUS"}, 4),
    ],
)
def test_how_many_labels_rotation_leaves(versions: dict[str, str], after: int) -> None:
    """The new key's, the old one's retire label, the old key's own where it had none, and AWS's three."""
    entry = secret("s", versions)
    assert labels_after_rotation(read_lifecycle(entry), entry) == after


def test_two_of_twenty_labels_stay_free() -> None:
    assert MAX_LABELS == 18


@pytest.mark.parametrize(
    ("versions", "stored", "never"),
    [
        ({"v1": "CURRENT key:K1", "v2": "PENDING key:K2"}, "v1 v2", True),
        ({"v1": "PREVIOUS key:K1", "v2": "PENDING key:K2", "v3": "CURRENT"}, "v1 v2 v3", True),
        ({"v1": "PREVIOUS key:K1", "v3": "CURRENT", "v2": "PENDING key:K2"}, "v1 v3 v2", True),
        ({"v0": "PREVIOUS retire:K0:+1h", "v1": "CURRENT key:K1", "v2": "PENDING key:K2"}, "v0 v1 v2", True),
        ({"v1": "PREVIOUS key:K1 retire:K1:+1h", "v2": "PENDING key:K2", "v3": "CURRENT"}, "v1 v2 v3", False),
        ({"v2": "PENDING PREVIOUS key:K2", "v3": "CURRENT"}, "v2 v3", False),
        ({"v2": "PENDING key:K2", "v3": "PREVIOUS", "v4": "CURRENT"}, "v2 v3 v4", False),
        ({"v2": "PENDING key:K2", "v3": "CURRENT"}, "v2 v3", False),
        ({"v0": "PREVIOUS retire:K0:+1h", "v1": "CURRENT key:K1", "v2": "PENDING key:K2"}, "", True),
        ({"v1": "PREVIOUS key:K1 retire:K1:+1h", "v2": "PENDING key:K2", "v3": "CURRENT"}, "", False),
    ],
)
def test_pending_version_never_current(versions: dict[str, str], stored: str, never: bool) -> None:
    """By when the versions were stored, and without these dates."""
    entry = secret("s", versions)
    dates = {vid(version): NOW + number * MINUTE for number, version in enumerate(stored.split())}
    assert was_never_current(entry, vid("v2"), dates, entry) is never


@pytest.mark.parametrize(
    ("function", "changed", "abandoned"),
    [
        ("arn:function:mine", -30 * MINUTE, True),
        ("arn:function:mine:live", -30 * MINUTE, True),
        ("arn:function:mine", -30 * MINUTE + SECOND, False),
        ("arn:function:mine-2", -DAY, False),
        (None, -DAY, False),
        ("arn:function:mine", None, False),
    ],
)
def test_abandoned_rotation(function: str | None, changed: timedelta | None, abandoned: bool) -> None:
    at = None if changed is None else NOW + changed
    entry = replace(secret("s"), rotation_function=function, last_changed=at)
    assert is_abandoned(entry, Policy(rotation_function="arn:function:mine"), NOW) is abandoned
    assert not is_abandoned(entry, Policy(), NOW)
