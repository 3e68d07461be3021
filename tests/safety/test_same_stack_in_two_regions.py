"""The same secrets and the same deployment name in two regions: neither takes the other's keys for its own."""

from __future__ import annotations

from tests.safety.harness import DAY, HOUR, Region


def test_live_key_of_the_other_region_is_no_orphan(region: Region, other_region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    other_region.secret("prod/api")
    region.sweep()
    made = region.current_key("prod/api")
    other_region.sweeps(3)
    assert region.system.works(made)


def test_new_key_of_the_other_region_is_not_stored(region: Region, other_region: Region) -> None:
    """One region's replacement must not pass for a failed attempt of the other."""
    for each in (region, other_region):
        each.secret("prod/api", left=20 * DAY)
        each.sweep()
    assert region.current_key("prod/api").id != other_region.current_key("prod/api").id


def test_each_region_revokes_its_own_old_keys(region: Region, other_region: Region) -> None:
    regions = (region, other_region)
    old = [each.secret("prod/api", left=20 * DAY) for each in regions]
    for _ in range(6):
        region.system.advance(DAY)
        for each in regions:
            each.sweep()
    assert [region.system.works(key) for key in old] == [False, False]
    assert [region.system.works(each.current_key("prod/api")) for each in regions] == [True, True]


def test_orphan_of_one_region_is_only_revoked_there(region: Region, other_region: Region) -> None:
    for each in (region, other_region):
        each.secret("prod/api")
    name = region.key_name("prod/api", "00000000-1111-2222-3333-444444444444")
    orphan = region.system.key(name, age=HOUR)
    other_region.sweep()
    assert region.system.works(orphan)
    region.sweep()
    assert not region.system.works(orphan)
