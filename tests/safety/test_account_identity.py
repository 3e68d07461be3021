"""Which Infobip account is meant is never assumed: wrong credentials and two names for one account are found out."""

from __future__ import annotations

import json

import pytest

from tests.safety.harness import DAY, InfobipServer, Region


@pytest.mark.parametrize("count", [1, 2])
def test_other_credentials_move_no_consumer(region: Region, other_infobip: InfobipServer, count: int) -> None:
    """Threat: another account's credentials in the management secret. No consumer is moved, and no key is created
    there.
    """
    names = [f"prod/api-{number}" for number in range(count)]
    keys = [region.secret(name, scopes="sms:manage") for name in names]
    other = other_infobip.world
    region.use_credentials(other.add_user(other.add_account("other"), "ops"), other_infobip.url)
    ran = region.sweep()
    region.sweeps(2)
    assert [region.value(name)["api_key"] == key.value for name, key in zip(names, keys, strict=True)] == [True] * count
    assert other.keys() == (), "a key was created in the other account"
    assert "rotator rotate" in json.dumps(ran.document["accounts"])


def test_disabled_key_is_no_other_account(region: Region) -> None:
    """A key that can be read by its id is this account's, disabled or not: it is replaced."""
    key = region.secret("prod/api")
    region.infobip.change_key(key.id, enabled=False)
    region.sweep()
    assert region.works(region.current_key("prod/api"))


def test_two_names_of_account_share_quota(region: Region) -> None:
    """Threat: two names for one Infobip account, to use its daily limit twice. They share one limit: the alert shared-
    account.
    """
    region.management(next(iter(region.infobip.state.users.values())), account="second")
    for number in range(4):
        region.secret(f"prod/first-{number}", left=20 * DAY)
        region.secret(f"prod/second-{number}", left=20 * DAY)
        region.tag(f"prod/second-{number}", account="second")
    region.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}
    ran = region.sweep()
    assert len(region.rotator_keys()) <= 4, "more creates than the limit less the reserve"
    alerts = [json.dumps([account["account"], *account["alerts"]]) for account in ran.document["accounts"]]
    assert any("main" in text and "second" in text for text in alerts), "no alert says that two names are one account"
