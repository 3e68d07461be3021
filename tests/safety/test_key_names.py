"""A key's name says which version of which secret it was made for; keys with names of the older form are taken over."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from tests.safety.harness import DAY, HOUR, Region, SimKey

MINUTE = timedelta(minutes=1)


def test_name_holds_digest_of_secrets_arn(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    region.sweep()
    assert region.current_key("prod/api").name == region.key_name("prod/api", region.current_version("prod/api"))


def test_second_key_of_same_name_is_kept(region: Region) -> None:
    """Threat: a second key with the exact name of a live one, so that one is revoked as an orphan. Neither is an
    orphan, because the version exists.
    """
    region.secret("prod/api", left=20 * DAY)
    region.sweep()
    made = region.current_key("prod/api")
    by_hand = region.key(made.name)
    region.sweeps(3)
    assert region.works(by_hand)
    assert region.works(made)


def test_namesake_is_revoked_by_value(region: Region) -> None:
    """Threat: a name that two enabled keys share. It is not an ownership proof; the value is."""
    region.secret("prod/api", left=20 * DAY)
    made = region.rotate("prod/api")
    by_hand = region.key(made.name)
    region.rotate("prod/api")
    region.sweeps(5, every=DAY)
    assert not region.works(made)
    assert region.works(by_hand)


OTHER_VERSION = "rotator:default:00000000-1111-2222-3333-444444444444"


@pytest.mark.parametrize("new_name", ["renamed", f"prod/api/{OTHER_VERSION}"])
def test_renamed_key_is_revoked_by_value(region: Region, new_name: str) -> None:
    """Threat: a key that is renamed in the portal. It stays in use, and is revoked after its grace period on a proof by
    value. An operator renames a live key in the portal; by its value it still belongs to its version.
    """
    region.secret("prod/api", left=20 * DAY)
    made = region.rotate("prod/api")
    region.system.infobip.change_key(made.id, name=new_name)
    region.sweeps(3)
    assert region.works(made)
    region.rotate("prod/api")
    region.sweeps(5, every=DAY)
    assert not region.works(made)


def old_form(secret: str, version: str) -> str:
    return f"{secret}/rotator:default:{version}"


def stored_key(region: Region, secret: str, labels: list[str], *, left: timedelta, age: timedelta) -> SimKey:
    """A key with a name of the older form, stored in the version that its name gives, and labelled."""
    version = str(uuid.uuid4())
    key = region.key(old_form(secret, version), left=left, age=age)
    every = [*(label.format(key.id) for label in labels), f"rotator:key:{key.id}"]
    region.put(secret, {"api_key": key.value, "key_id": key.id}, every, version)
    return key


def current(region: Region, secret: str, left: timedelta = 60 * DAY) -> SimKey:
    region.create(secret)
    return stored_key(region, secret, ["AWSCURRENT"], left=left, age=90 * DAY - left)


def in_grace(region: Region, secret: str, until: timedelta) -> tuple[SimKey, SimKey]:
    """A superseded key with a retire label, and the current one."""
    region.create(secret)
    at = f"{region.system.clock.now() + until:%Y%m%dT%H%M%SZ}"
    old = stored_key(region, secret, ["AWSCURRENT", f"rotator:retire:{{}}:{at}"], left=20 * DAY, age=70 * DAY)
    return old, stored_key(region, secret, ["AWSCURRENT"], left=88 * DAY, age=2 * DAY)


def pending(region: Region, secret: str) -> tuple[SimKey, SimKey]:
    """The current key, due, and a replacement that was stored and not promoted."""
    old = current(region, secret, left=20 * DAY)
    return old, stored_key(region, secret, ["AWSPENDING"], left=90 * DAY, age=5 * MINUTE)


def test_old_form_key_is_rotated_to_new_form(region: Region) -> None:
    key = current(region, "prod/api")
    region.sweeps(3)
    assert region.current_key("prod/api").id == key.id
    assert region.works(key)
    region.system.advance(35 * DAY)
    region.sweep()
    assert region.current_key("prod/api").name == region.key_name("prod/api", region.current_version("prod/api"))
    region.sweeps(2, every=DAY)
    assert region.works(key)
    region.sweeps(2, every=DAY)
    assert not region.works(key)


def test_key_in_grace_is_revoked_at_its_time(region: Region) -> None:
    old, new = in_grace(region, "prod/api", until=24 * HOUR)
    region.sweeps(1, every=23 * HOUR)
    assert region.works(old)
    region.sweeps(1, every=2 * HOUR)
    assert not region.works(old)
    assert region.current_key("prod/api").id == new.id
    assert region.works(new)


def test_pending_key_is_promoted_or_replaced(region: Region) -> None:
    old, made = pending(region, "prod/api")
    region.sweeps(2)
    assert region.current_key("prod/api").id != old.id
    assert (region.works(old), region.works(region.current_key("prod/api"))) == (True, True)
    region.sweeps(4, every=DAY)
    assert set(region.system.enabled()) == {region.current_key("prod/api").id}, f"{old.id} or {made.id} was forgotten"


def test_key_without_version_is_reported(region: Region) -> None:
    """Threat: a key with a name of the older form that no version contains. It is only reported. In the older form a
    name does not say which secret it is for: another region may have one of the same name.
    """
    region.secret("prod/api")
    lost = region.key(old_form("prod/api", str(uuid.uuid4())), age=2 * HOUR)
    ran = region.sweep()
    region.sweeps(2, every=DAY)
    assert region.works(lost)
    assert lost.id in [alert["key_id"] for alert in ran.alerts()]


def test_fleet_of_two_regions_loses_nothing(region: Region, other_region: Region) -> None:
    """Threat: an upgrade with keys named in the older form. Current, pending and retiring keys stay managed. Both
    regions upgrade one after the other, with the same secret names.
    """
    keys = [current(each, "prod/api") for each in (region, other_region)]
    for _ in range(3):
        region.system.advance(HOUR)
        for each in (region, other_region):
            each.sweep()
    assert [region.works(key) for key in keys] == [True, True]
