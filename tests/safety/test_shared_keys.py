"""A key that a current value holds anywhere is not revoked: any field, any secret, text or binary."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.safety.harness import DAY
from tests.support.rotator import Rotator


def copy_in_the_same_value(rotator: Rotator) -> str:
    key = rotator.current_key("prod/api")
    rotator.put("prod/api", {"api_key": key.value, "spare": key.value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
    return "prod/api"


def copy_in_another_field(rotator: Rotator) -> str:
    rotator.secret("prod/other")
    value = {"api_key": rotator.value("prod/other")["api_key"], "partner": rotator.value("prod/api")["api_key"]}
    rotator.put("prod/other", value, ["AWSCURRENT", f"rotator:key:{rotator.current_key('prod/other').id}"])
    return "prod/other"


def copy_in_a_nested_field(rotator: Rotator) -> str:
    rotator.secret("prod/other")
    key, partner = rotator.current_key("prod/other"), rotator.current_key("prod/api")
    value = json.dumps({"api_key": key.value, "partner": {"headers": [f"App {partner.value}"]}})
    rotator.put("prod/other", value, ["AWSCURRENT", f"rotator:key:{key.id}"])
    return "prod/other"


def copy_in_a_binary_value(rotator: Rotator) -> str:
    rotator.create("prod/other")
    rotator.put("prod/other", b"\x00\xff" + rotator.value("prod/api")["api_key"].encode() + b"\x00", ["AWSCURRENT"])
    return "prod/other"


def copy_in_a_secret_without_an_account(rotator: Rotator) -> str:
    rotator.create("prod/other")
    rotator.untag("prod/other", "rotator:account")
    rotator.put("prod/other", rotator.value("prod/api"), ["AWSCURRENT"])
    return "prod/other"


def copy_in_a_secret_with_a_wrong_role(rotator: Rotator) -> str:
    rotator.create("prod/other", role="Key")
    rotator.put("prod/other", rotator.value("prod/api"), ["AWSCURRENT"])
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
def test_copied_key_is_kept_with_alert(rotator: Rotator, copy: Callable[[Rotator], str]) -> None:
    """Threat: a copy of a key in another field, another secret or a binary value. All are searched before a revocation:
    an alert, not an outage.
    """
    key = rotator.secret("prod/api", left=20 * DAY)
    holder = copy(rotator)
    ran = rotator.sweeps(5, every=DAY)[-1]
    assert rotator.current_key("prod/api").id != key.id
    assert rotator.works(key), f"{holder} holds the key, and it was revoked"
    assert key.id in [alert["key_id"] for alert in ran.alerts("shared-key")]


def test_key_is_revoked_once_copy_is_gone(rotator: Rotator) -> None:
    key = rotator.secret("prod/api", left=20 * DAY)
    copy_in_another_field(rotator)
    rotator.sweeps(5, every=DAY)
    other = rotator.current_key("prod/other")
    rotator.put("prod/other", {"api_key": other.value}, ["AWSCURRENT", f"rotator:key:{other.id}"])
    rotator.sweeps(2)
    assert not rotator.works(key)
