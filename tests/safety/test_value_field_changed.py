"""The tag ``rotator:value-field`` may change after adoption: the value decides, and no key that it holds is lost."""

from __future__ import annotations

from datetime import timedelta

from tests.safety.harness import DAY, Region


def two_keys(region: Region, left: timedelta = 80 * DAY) -> None:
    """A secret that was adopted with the key in ``old`` (due soon), and whose tag names the field ``new`` now."""
    region.create("prod/api", value_field="old")
    old = region.system.key("old", left=20 * DAY)
    new = region.system.key("new", left=left)
    region.put("prod/api", {"old": old.value, "new": new.value}, ["AWSCURRENT", f"rotator:key:{old.id}"])
    region.tag("prod/api", value_field="new")


def test_key_in_the_old_field_is_not_revoked(region: Region) -> None:
    two_keys(region, left=15 * DAY)
    old = region.current_key("prod/api", "old")
    region.sweeps(5, every=DAY)
    assert region.current_key("prod/api", "old").id == old.id
    assert region.system.works(old)


def test_key_in_the_new_field_is_adopted(region: Region) -> None:
    two_keys(region)
    new = region.current_key("prod/api", "new")
    region.sweeps(2)
    assert region.current_key("prod/api", "new").id == new.id, "a key that is not due was replaced"
    assert f"rotator:key:{new.id}" in region.labels("prod/api")[region.current_version("prod/api")]


def test_key_in_the_new_field_gets_its_grace_period(region: Region) -> None:
    """Both keys are due: the one that consumers read is replaced, and is revoked like any superseded key."""
    two_keys(region, left=15 * DAY)
    new = region.current_key("prod/api", "new")
    region.sweeps(2)
    assert region.current_key("prod/api", "new").id != new.id
    assert region.system.works(new)
    region.sweeps(5, every=DAY)
    assert not region.system.works(new), "the replaced key was forgotten and lives on"
