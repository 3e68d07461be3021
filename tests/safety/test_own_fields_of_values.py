"""Fields that the rotator writes may be in a value already, with another meaning: ``plan`` warns before it does."""

from __future__ import annotations

import pytest

from tests.safety.harness import DAY, Region

OWN_FIELDS = [("base_url", "https://gateway.example"), ("key_id", "billing-7"), ("expires_at", "never")]


def warned_fields(region: Region) -> list[str]:
    """Which of the fields are named in a warning about the secret."""
    warnings = [alert["detail"] for alert in region.plan().alerts(secret="prod/api") if alert["severity"] == "warning"]
    return [field for field, _ in OWN_FIELDS if any(field in detail for detail in warnings)]


@pytest.mark.parametrize("adopted", [True, False])
@pytest.mark.parametrize(("field", "text"), OWN_FIELDS)
def test_field_that_will_be_replaced_is_a_warning(region: Region, field: str, text: str, adopted: bool) -> None:
    region.create("prod/api")
    key = region.system.key("by hand", left=20 * DAY)
    labels = [f"rotator:key:{key.id}"] if adopted else []
    region.put("prod/api", {"api_key": key.value, field: text}, ["AWSCURRENT", *labels])
    assert field in warned_fields(region)


def test_fields_written_by_the_rotator_are_none(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    region.rotate("prod/api")
    region.system.advance(70 * DAY)
    assert warned_fields(region) == []
