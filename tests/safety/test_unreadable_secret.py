"""A secret that cannot be read blocks only revocations that need its value, and not in silence."""

from __future__ import annotations

import pytest

from tests.safety.harness import DAY, Region


def two_old_keys(region: Region, *, labelled: bool) -> tuple[str, str]:
    """The ids of a superseded key made by hand and one that the rotator named, beside a secret that cannot be read."""
    by_hand = region.secret("prod/api", left=20 * DAY)
    by_name = region.rotate("prod/api")
    region.rotate("prod/api")
    region.create("prod/locked")
    locked = region.key("locked")
    labels = [f"rotator:key:{locked.id}"] if labelled else []
    region.put("prod/locked", {"api_key": locked.value}, ["AWSCURRENT", *labels])
    region.unreadable("prod/locked")
    return by_hand.id, by_name.id


@pytest.mark.parametrize("labelled", [True, False])
def test_proven_by_name_is_revoked(region: Region, labelled: bool) -> None:
    """Threat: one unreadable secret that stops all revocations of its account. Keys that are proven by name are still
    revoked.
    """
    _by_hand, by_name = two_old_keys(region, labelled=labelled)
    region.sweeps(5, every=DAY)
    assert by_name not in region.system.enabled()


@pytest.mark.parametrize("labelled", [True, False])
def test_proven_by_value_waits(region: Region, labelled: bool) -> None:
    """Threat: an unreadable secret that may contain the key. A revocation that is proven by value waits and becomes
    overdue.
    """
    by_hand, _by_name = two_old_keys(region, labelled=labelled)
    ran = region.sweeps(5, every=DAY)[-1]
    assert by_hand in region.system.enabled(), "the secret that cannot be read may hold it"
    overdue = [alert for alert in ran.alerts("overdue", "prod/api") if alert["key_id"] == by_hand]
    assert [alert["severity"] for alert in overdue] == ["error"]
    assert "prod/locked" in overdue[0]["detail"]


def test_by_value_revoked_once_all_readable(region: Region) -> None:
    by_hand, _by_name = two_old_keys(region, labelled=False)
    region.sweeps(5, every=DAY)
    region.system.aws.denied.clear()
    ran = region.sweeps(2)[-1]
    assert by_hand not in region.system.enabled()
    assert ran.alerts("overdue") == []


def test_rotations_of_other_secrets_go_on(region: Region) -> None:
    """Labels of keys that cannot be revoked would fill the secret up."""
    two_old_keys(region, labelled=False)
    for _ in range(7):
        region.system.advance(4 * DAY)
        region.sweep()
        region.rotate("prod/api")
    assert len(region.every_label("prod/api")) <= 10
