"""A key's name says which version of which secret it was made for; keys with names of the older form are taken over."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from tests.safety.harness import DAY, HOUR, Region, SimKey
from tests.support.rotator import Rotator

MINUTE = timedelta(minutes=1)


def test_name_holds_digest_of_secrets_arn(rotator: Rotator) -> None:
    rotator.secret("prod/api", left=20 * DAY)
    rotator.sweep()
    assert rotator.current_key("prod/api").name == rotator.key_name("prod/api", rotator.current_version("prod/api"))


def test_second_key_of_same_name_is_kept(rotator: Rotator) -> None:
    """Threat: a second key with the exact name of a live one, so that one is revoked as an orphan. Neither is an
    orphan, because the version exists.
    """
    rotator.secret("prod/api", left=20 * DAY)
    rotator.sweep()
    made = rotator.current_key("prod/api")
    by_hand = rotator.key(made.name)
    rotator.sweeps(3)
    assert rotator.works(by_hand)
    assert rotator.works(made)


def test_namesake_is_revoked_by_value(rotator: Rotator) -> None:
    """Threat: a name that two enabled keys share. It is not an ownership proof; the value is."""
    rotator.secret("prod/api", left=20 * DAY)
    made = rotator.rotate("prod/api")
    by_hand = rotator.key(made.name)
    rotator.rotate("prod/api")
    rotator.sweeps(5, every=DAY)
    assert not rotator.works(made)
    assert rotator.works(by_hand)


OTHER_VERSION = "rotator:default:00000000-1111-2222-3333-444444444444"


@pytest.mark.parametrize("new_name", ["renamed", f"prod/api/{OTHER_VERSION}"])
def test_renamed_key_is_revoked_by_value(rotator: Rotator, new_name: str) -> None:
    """Threat: a key that is renamed in the portal. It stays in use, and is revoked after its grace period on a proof by
    value. An operator renames a live key in the portal; by its value it still belongs to its version.
    """
    rotator.secret("prod/api", left=20 * DAY)
    made = rotator.rotate("prod/api")
    rotator.infobip.change_key(made.id, name=new_name)
    rotator.sweeps(3)
    assert rotator.works(made)
    rotator.rotate("prod/api")
    rotator.sweeps(5, every=DAY)
    assert not rotator.works(made)


def old_form(secret: str, version: str) -> str:
    return f"{secret}/rotator:default:{version}"


def stored_key(rotator: Rotator, secret: str, labels: list[str], *, left: timedelta, age: timedelta) -> SimKey:
    """A key with a name of the older form, stored in the version that its name gives, and labelled."""
    version = str(uuid.uuid4())
    key = rotator.key(old_form(secret, version), left=left, age=age)
    every = [*(label.format(key.id) for label in labels), f"rotator:key:{key.id}"]
    rotator.put(secret, {"api_key": key.value, "key_id": key.id}, every, version)
    return key


def current(rotator: Rotator, secret: str, left: timedelta = 60 * DAY) -> SimKey:
    rotator.create(secret)
    return stored_key(rotator, secret, ["AWSCURRENT"], left=left, age=90 * DAY - left)


def in_grace(rotator: Rotator, secret: str, until: timedelta) -> tuple[SimKey, SimKey]:
    """A superseded key with a retire label, and the current one."""
    rotator.create(secret)
    at = f"{rotator.clock.now() + until:%Y%m%dT%H%M%SZ}"
    old = stored_key(rotator, secret, ["AWSCURRENT", f"rotator:retire:{{}}:{at}"], left=20 * DAY, age=70 * DAY)
    return old, stored_key(rotator, secret, ["AWSCURRENT"], left=88 * DAY, age=2 * DAY)


def pending(rotator: Rotator, secret: str) -> tuple[SimKey, SimKey]:
    """The current key, due, and a replacement that was stored and not promoted."""
    old = current(rotator, secret, left=20 * DAY)
    return old, stored_key(rotator, secret, ["AWSPENDING"], left=90 * DAY, age=5 * MINUTE)


def test_old_form_key_is_rotated_to_new_form(rotator: Rotator) -> None:
    key = current(rotator, "prod/api")
    rotator.sweeps(3)
    assert rotator.current_key("prod/api").id == key.id
    assert rotator.works(key)
    rotator.pass_time(35 * DAY)
    rotator.sweep()
    assert rotator.current_key("prod/api").name == rotator.key_name("prod/api", rotator.current_version("prod/api"))
    rotator.sweeps(2, every=DAY)
    assert rotator.works(key)
    rotator.sweeps(2, every=DAY)
    assert not rotator.works(key)


def test_key_in_grace_is_revoked_at_its_time(rotator: Rotator) -> None:
    old, new = in_grace(rotator, "prod/api", until=24 * HOUR)
    rotator.sweeps(1, every=23 * HOUR)
    assert rotator.works(old)
    rotator.sweeps(1, every=2 * HOUR)
    assert not rotator.works(old)
    assert rotator.current_key("prod/api").id == new.id
    assert rotator.works(new)


def test_pending_key_is_promoted_or_replaced(rotator: Rotator) -> None:
    old, made = pending(rotator, "prod/api")
    rotator.sweeps(2)
    assert rotator.current_key("prod/api").id != old.id
    assert (rotator.works(old), rotator.works(rotator.current_key("prod/api"))) == (True, True)
    rotator.sweeps(4, every=DAY)
    assert set(rotator.enabled()) == {rotator.current_key("prod/api").id}, f"{old.id} or {made.id} was forgotten"


def test_key_without_version_is_reported(rotator: Rotator) -> None:
    """Threat: a key with a name of the older form that no version contains. It is only reported. In the older form a
    name does not say which secret it is for: another rotator may have one of the same name.
    """
    rotator.secret("prod/api")
    lost = rotator.key(old_form("prod/api", str(uuid.uuid4())), age=2 * HOUR)
    ran = rotator.sweep()
    rotator.sweeps(2, every=DAY)
    assert rotator.works(lost)
    assert lost.id in [alert["key_id"] for alert in ran.alerts()]


def test_fleet_of_two_regions_loses_nothing(region: Region, other_region: Region) -> None:
    """Threat: an upgrade with keys named in the older form. Current, pending and retiring keys stay managed. Both
    regions upgrade one after the other, with the same secret names.
    """
    keys = [current(each, "prod/api") for each in (region, other_region)]
    for _ in range(3):
        region.pass_time(HOUR)
        for each in (region, other_region):
            each.sweep()
    assert [region.works(key) for key in keys] == [True, True]
