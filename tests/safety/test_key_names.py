"""A key's name says which version of which secret it was made for; a name alone does not make it an orphan."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.safety.harness import DAY, Region

MINUTE = timedelta(minutes=1)


def test_name_holds_a_digest_of_the_secrets_arn(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    region.sweep()
    assert region.current_key("prod/api").name == region.key_name("prod/api", region.current_version("prod/api"))


def test_second_key_of_the_same_name_is_not_revoked(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    region.sweep()
    made = region.current_key("prod/api")
    by_hand = region.system.key(made.name)
    region.sweeps(3)
    assert region.system.works(by_hand)
    assert region.system.works(made)


def test_key_with_a_namesake_is_revoked_by_value(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    made = region.rotate("prod/api")
    by_hand = region.system.key(made.name)
    region.rotate("prod/api")
    region.sweeps(5, every=DAY)
    assert not region.system.works(made)
    assert region.system.works(by_hand)


def test_orphan_is_still_revoked(region: Region) -> None:
    """A key made for a version that was never stored, by its name in the current form."""
    region.secret("prod/api")
    name = region.key_name("prod/api", "00000000-1111-2222-3333-444444444444")
    orphan = region.system.key(name, age=40 * MINUTE)
    region.sweep()
    assert not region.system.works(orphan)


OTHER_VERSION = "rotator:default:00000000-1111-2222-3333-444444444444"


@pytest.mark.parametrize("new_name", ["renamed", f"prod/api/{OTHER_VERSION}"])
def test_renamed_key_works_on_and_is_revoked_by_value(region: Region, new_name: str) -> None:
    """An operator renames a live key in the portal; by its value it still belongs to its version."""
    region.secret("prod/api", left=20 * DAY)
    made = region.rotate("prod/api")
    region.system.infobip.change_key(made.id, name=new_name)
    region.sweeps(3)
    assert region.system.works(made)
    region.rotate("prod/api")
    region.sweeps(5, every=DAY)
    assert not region.system.works(made)
