"""A key that never expires and has no ``rotator:max-age`` would never be rotated: that is a warning."""

from __future__ import annotations

from tests.safety.harness import Region


def warnings(region: Region) -> list[str]:
    return [alert["secret"] for alert in region.plan().alerts() if alert["severity"] == "warning"]


def test_key_without_expiry_and_max_age_is_a_warning(region: Region) -> None:
    key = region.secret("prod/api")
    region.secret("prod/other")
    region.system.faults.show_without("validTo", key.id)
    assert warnings(region) == ["prod/api"]


def test_key_without_expiry_and_with_max_age_is_none(region: Region) -> None:
    key = region.secret("prod/api", max_age="180d")
    region.system.faults.show_without("validTo", key.id)
    assert warnings(region) == []
