"""Which fields of a value are the rotator's: what it would replace is a warning; no key in another field is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.safety.harness import DAY
from tests.support.rotator import Rotator

OWN_FIELDS = [("base_url", "https://gateway.example"), ("key_id", "billing-7"), ("expires_at", "never")]


def warned_fields(rotator: Rotator) -> list[str]:
    """Which of the fields are named in a warning about the secret."""
    warnings = [alert["detail"] for alert in rotator.plan().alerts(secret="prod/api") if alert["severity"] == "warning"]
    return [field for field, _ in OWN_FIELDS if any(field in detail for detail in warnings)]


@pytest.mark.parametrize("adopted", [True, False])
@pytest.mark.parametrize(("field", "text"), OWN_FIELDS)
def test_overwritten_field_is_warning(rotator: Rotator, field: str, text: str, adopted: bool) -> None:
    rotator.create("prod/api")
    key = rotator.key("by hand", left=20 * DAY)
    labels = [f"rotator:key:{key.id}"] if adopted else []
    rotator.put("prod/api", {"api_key": key.value, field: text}, ["AWSCURRENT", *labels])
    assert field in warned_fields(rotator)


def test_rotators_fields_are_not_reported(rotator: Rotator) -> None:
    rotator.secret("prod/api", left=20 * DAY)
    rotator.rotate("prod/api")
    rotator.pass_time(70 * DAY)
    assert warned_fields(rotator) == []


def two_keys(rotator: Rotator, left: timedelta = 80 * DAY) -> None:
    """A secret that was adopted with the key in ``old`` (due soon), and whose tag names the field ``new`` now."""
    rotator.create("prod/api", value_field="old")
    old = rotator.key("old", left=20 * DAY)
    new = rotator.key("new", left=left)
    rotator.put("prod/api", {"old": old.value, "new": new.value}, ["AWSCURRENT", f"rotator:key:{old.id}"])
    rotator.tag("prod/api", value_field="new")


def test_key_in_old_field_is_not_revoked(rotator: Rotator) -> None:
    """Threat: rotator:value-field is changed after adoption. The key in the old field is not revoked while the value
    contains it.
    """
    two_keys(rotator, left=15 * DAY)
    old = rotator.current_key("prod/api", "old")
    rotator.sweeps(5, every=DAY)
    assert rotator.current_key("prod/api", "old").id == old.id
    assert rotator.works(old)


def test_key_in_new_field_is_adopted(rotator: Rotator) -> None:
    """Threat: rotator:value-field is changed after adoption. The value decides: the key in the new field is adopted."""
    two_keys(rotator)
    new = rotator.current_key("prod/api", "new")
    rotator.sweeps(2)
    assert rotator.current_key("prod/api", "new").id == new.id, "a key that is not due was replaced"
    assert f"rotator:key:{new.id}" in rotator.labels("prod/api")[rotator.current_version("prod/api")]


def test_key_in_new_field_gets_its_grace(rotator: Rotator) -> None:
    """Both keys are due: the one that consumers read is replaced, and is revoked like any superseded key."""
    two_keys(rotator, left=15 * DAY)
    new = rotator.current_key("prod/api", "new")
    rotator.sweeps(2)
    assert rotator.current_key("prod/api", "new").id != new.id
    assert rotator.works(new)
    rotator.sweeps(5, every=DAY)
    assert not rotator.works(new), "the replaced key was forgotten and lives on"
