"""A secret that cannot be read blocks only revocations that need its value, and not in silence."""

from __future__ import annotations

import pytest

from tests.safety.harness import DAY
from tests.support.rotator import Rotator


def two_old_keys(rotator: Rotator, *, labelled: bool) -> tuple[str, str]:
    """The ids of a superseded key made by hand and one that the rotator named, beside a secret that cannot be read."""
    by_hand = rotator.secret("prod/api", left=20 * DAY)
    by_name = rotator.rotate("prod/api")
    rotator.rotate("prod/api")
    rotator.create("prod/locked")
    locked = rotator.key("locked")
    labels = [f"rotator:key:{locked.id}"] if labelled else []
    rotator.put("prod/locked", {"api_key": locked.value}, ["AWSCURRENT", *labels])
    rotator.unreadable("prod/locked")
    return by_hand.id, by_name.id


@pytest.mark.parametrize("labelled", [True, False])
def test_proven_by_name_is_revoked(rotator: Rotator, labelled: bool) -> None:
    """Threat: one unreadable secret that stops all revocations of its account. Keys that are proven by name are still
    revoked.
    """
    _by_hand, by_name = two_old_keys(rotator, labelled=labelled)
    rotator.sweeps(5, every=DAY)
    assert by_name not in rotator.enabled()


@pytest.mark.parametrize("labelled", [True, False])
def test_proven_by_value_waits(rotator: Rotator, labelled: bool) -> None:
    """Threat: an unreadable secret that may contain the key. A revocation that is proven by value waits and becomes
    overdue.
    """
    by_hand, _by_name = two_old_keys(rotator, labelled=labelled)
    ran = rotator.sweeps(5, every=DAY)[-1]
    assert by_hand in rotator.enabled(), "the secret that cannot be read may hold it"
    overdue = [alert for alert in ran.alerts("overdue", "prod/api") if alert["key_id"] == by_hand]
    assert [alert["severity"] for alert in overdue] == ["error"]
    assert "prod/locked" in overdue[0]["detail"]


def test_by_value_revoked_once_all_readable(rotator: Rotator) -> None:
    by_hand, _by_name = two_old_keys(rotator, labelled=False)
    rotator.sweeps(5, every=DAY)
    rotator.unreadable("prod/locked", False)
    ran = rotator.sweeps(2)[-1]
    assert by_hand not in rotator.enabled()
    assert ran.alerts("overdue") == []


def test_rotations_of_other_secrets_go_on(rotator: Rotator) -> None:
    """Labels of keys that cannot be revoked would fill the secret up."""
    two_old_keys(rotator, labelled=False)
    for _ in range(7):
        rotator.pass_time(4 * DAY)
        rotator.sweep()
        rotator.rotate("prod/api")
    assert len(rotator.every_label("prod/api")) <= 10


@pytest.mark.parametrize("labelled", [True, False])
def test_orphan_waits_for_unlabelled_value(rotator: Rotator, labelled: bool) -> None:
    """Threat: a key that was never stored, which somebody copied from Infobip into a secret that can't be read. It
    is not revoked until that can be, unless a label says which key is in it.
    """
    rotator.secret("prod/api")
    orphan = rotator.key(rotator.key_name("prod/api", rotator.new_id()), age=DAY)
    locked = rotator.key("locked") if labelled else orphan
    rotator.create("prod/locked")
    labels = [f"rotator:key:{locked.id}"] if labelled else []
    rotator.put("prod/locked", {"api_key": locked.value}, ["AWSCURRENT", *labels])
    rotator.unreadable("prod/locked")
    ran = rotator.sweep()
    assert (orphan.id in rotator.enabled()) is not labelled
    alerts = [alert for alert in ran.alerts("unreadable") if alert["key_id"] == orphan.id]
    assert ["prod/locked" in alert["detail"] for alert in alerts] == ([] if labelled else [True])
