"""Which fields of a value are the rotator's: what it would replace is a warning; no key in another field is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.safety.harness import DAY, Region

OWN_FIELDS = [("base_url", "https://gateway.example"), ("key_id", "billing-7"), ("expires_at", "never")]


def warned_fields(region: Region) -> list[str]:
    """Which of the fields are named in a warning about the secret."""
    warnings = [alert["detail"] for alert in region.plan().alerts(secret="prod/api") if alert["severity"] == "warning"]
    return [field for field, _ in OWN_FIELDS if any(field in detail for detail in warnings)]


@pytest.mark.parametrize("adopted", [True, False])
@pytest.mark.parametrize(("field", "text"), OWN_FIELDS)
def test_overwritten_field_is_warning(region: Region, field: str, text: str, adopted: bool) -> None:
    region.create("prod/api")
    key = region.key("by hand", left=20 * DAY)
    labels = [f"rotator:key:{key.id}"] if adopted else []
    region.put("prod/api", {"api_key": key.value, field: text}, ["AWSCURRENT", *labels])
    assert field in warned_fields(region)


def test_rotators_fields_are_not_reported(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    region.rotate("prod/api")
    region.system.advance(70 * DAY)
    assert warned_fields(region) == []


def two_keys(region: Region, left: timedelta = 80 * DAY) -> None:
    """A secret that was adopted with the key in ``old`` (due soon), and whose tag names the field ``new`` now."""
    region.create("prod/api", value_field="old")
    old = region.key("old", left=20 * DAY)
    new = region.key("new", left=left)
    region.put("prod/api", {"old": old.value, "new": new.value}, ["AWSCURRENT", f"rotator:key:{old.id}"])
    region.tag("prod/api", value_field="new")


def test_key_in_old_field_is_not_revoked(region: Region) -> None:
    """Threat: rotator:value-field is changed after adoption. The key in the old field is not revoked while the value
    contains it.
    """
    two_keys(region, left=15 * DAY)
    old = region.current_key("prod/api", "old")
    region.sweeps(5, every=DAY)
    assert region.current_key("prod/api", "old").id == old.id
    assert region.works(old)


def test_key_in_new_field_is_adopted(region: Region) -> None:
    """Threat: rotator:value-field is changed after adoption. The value decides: the key in the new field is adopted."""
    two_keys(region)
    new = region.current_key("prod/api", "new")
    region.sweeps(2)
    assert region.current_key("prod/api", "new").id == new.id, "a key that is not due was replaced"
    assert f"rotator:key:{new.id}" in region.labels("prod/api")[region.current_version("prod/api")]


def test_key_in_new_field_gets_its_grace(region: Region) -> None:
    """Both keys are due: the one that consumers read is replaced, and is revoked like any superseded key."""
    two_keys(region, left=15 * DAY)
    new = region.current_key("prod/api", "new")
    region.sweeps(2)
    assert region.current_key("prod/api", "new").id != new.id
    assert region.works(new)
    region.sweeps(5, every=DAY)
    assert not region.works(new), "the replaced key was forgotten and lives on"
