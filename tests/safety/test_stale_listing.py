"""ListSecrets may be five minutes old: every fresh read checks role and account again before anything changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.harness import DAY, Region


def freeze(region: Region) -> None:
    region.system.aws.freeze_listing(region.client)


def without_role(region: Region) -> None:
    region.untag("prod/api", "rotator:role")


def of_another_account(region: Region) -> None:
    region.tag("prod/api", account="elsewhere")


CHANGES = [without_role, of_another_account]


@pytest.mark.parametrize("change", CHANGES)
def test_secret_that_left_is_not_rotated(region: Region, change: Callable[[Region], None]) -> None:
    """Threat: rotator:role was removed and the listing is stale. Role and account are read again before each change."""
    key = region.secret("prod/api", left=20 * DAY)
    freeze(region)
    change(region)
    region.sweep()
    assert region.current_key("prod/api").id == key.id
    assert region.rotator_keys() == []


@pytest.mark.parametrize("change", CHANGES)
def test_secret_that_left_has_no_key_revoked(region: Region, change: Callable[[Region], None]) -> None:
    """Threat: rotator:role was removed and the listing is stale. No key of the secret is revoked."""
    key = region.secret("prod/api", left=20 * DAY)
    region.rotate("prod/api")
    region.pass_time(4 * DAY)
    freeze(region)
    change(region)
    region.sweep()
    assert region.works(key)


@pytest.mark.parametrize("change", CHANGES)
def test_secret_that_left_gets_no_labels(region: Region, change: Callable[[Region], None]) -> None:
    region.create("prod/api")
    region.put("prod/api", {"api_key": region.key("by hand").value}, ["AWSCURRENT"])
    freeze(region)
    change(region)
    region.sweep()
    assert region.every_label("prod/api") == {"AWSCURRENT"}
