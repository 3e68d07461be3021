"""A key that a current value holds anywhere is not revoked: any field, any secret, text or binary."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.safety.harness import DAY, Region


def copy_in_the_same_value(region: Region) -> str:
    key = region.current_key("prod/api")
    region.put("prod/api", {"api_key": key.value, "spare": key.value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
    return "prod/api"


def copy_in_another_field(region: Region) -> str:
    region.secret("prod/other")
    value = {"api_key": region.value("prod/other")["api_key"], "partner": region.value("prod/api")["api_key"]}
    region.put("prod/other", value, ["AWSCURRENT", f"rotator:key:{region.current_key('prod/other').id}"])
    return "prod/other"


def copy_in_a_nested_field(region: Region) -> str:
    region.secret("prod/other")
    key, partner = region.current_key("prod/other"), region.current_key("prod/api")
    value = json.dumps({"api_key": key.value, "partner": {"headers": [f"App {partner.value}"]}})
    region.put("prod/other", value, ["AWSCURRENT", f"rotator:key:{key.id}"])
    return "prod/other"


def copy_in_a_binary_value(region: Region) -> str:
    region.create("prod/other")
    region.put("prod/other", b"\x00\xff" + region.value("prod/api")["api_key"].encode() + b"\x00", ["AWSCURRENT"])
    return "prod/other"


def copy_in_a_secret_without_an_account(region: Region) -> str:
    region.create("prod/other")
    region.client.untag_resource(SecretId="prod/other", TagKeys=["rotator:account"])
    region.put("prod/other", region.value("prod/api"), ["AWSCURRENT"])
    return "prod/other"


def copy_in_a_secret_with_a_wrong_role(region: Region) -> str:
    region.create("prod/other", role="Key")
    region.put("prod/other", region.value("prod/api"), ["AWSCURRENT"])
    return "prod/other"


COPIES = [
    copy_in_the_same_value,
    copy_in_another_field,
    copy_in_a_nested_field,
    copy_in_a_binary_value,
    copy_in_a_secret_without_an_account,
    copy_in_a_secret_with_a_wrong_role,
]


@pytest.mark.parametrize("copy", COPIES)
def test_copied_key_is_kept_with_alert(region: Region, copy: Callable[[Region], str]) -> None:
    """Threat: a copy of a key in another field, another secret or a binary value. All are searched before a revocation:
    an alert, not an outage.
    """
    key = region.secret("prod/api", left=20 * DAY)
    holder = copy(region)
    ran = region.sweeps(5, every=DAY)[-1]
    assert region.current_key("prod/api").id != key.id
    assert region.works(key), f"{holder} holds the key, and it was revoked"
    assert key.id in [alert["key_id"] for alert in ran.alerts("shared-key")]


def test_key_is_revoked_once_copy_is_gone(region: Region) -> None:
    key = region.secret("prod/api", left=20 * DAY)
    copy_in_another_field(region)
    region.sweeps(5, every=DAY)
    other = region.current_key("prod/other")
    region.put("prod/other", {"api_key": other.value}, ["AWSCURRENT", f"rotator:key:{other.id}"])
    region.sweeps(2)
    assert not region.works(key)
