"""A key that was named for another deployment or ARN is used and replaced, and never revoked by a sweep."""

from __future__ import annotations

import uuid

import pytest

from tests.safety.harness import DAY, Region, SimKey

OTHER_DEPLOYMENT = "prod/api/rotator:blue:{secret_id}:{version}"
OTHER_ARN = "prod/api/rotator:default:0123456789:{version}"
NAMES = [OTHER_DEPLOYMENT, OTHER_ARN]


def replaced_foreign_key(region: Region, name: str, *, labelled: bool = True) -> SimKey:
    """A secret that held a key with a foreign name, which a sweep has replaced; gives that key."""
    region.create("prod/api")
    version = str(uuid.uuid4())
    secret_id = region.key_name("prod/api", version).split(":")[-2]
    key = region.system.key(name.format(secret_id=secret_id, version=version), left=20 * DAY)
    labels = [f"rotator:key:{key.id}"] if labelled else []
    region.put("prod/api", {"api_key": key.value}, ["AWSCURRENT", *labels], version)
    region.sweeps(2)
    assert region.current_key("prod/api").id != key.id
    return key


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_foreign_key_is_replaced_with_its_scopes_and_not_revoked(region: Region, name: str, labelled: bool) -> None:
    key = replaced_foreign_key(region, name, labelled=labelled)
    assert region.current_key("prod/api").scopes == key.scopes
    region.sweeps(6, every=DAY)
    assert region.system.works(key)
    assert not [label for label in region.every_label("prod/api") if label.startswith("rotator:retire:")]


@pytest.mark.parametrize("name", NAMES)
def test_foreign_key_is_a_warning_that_names_the_command(region: Region, name: str) -> None:
    key = replaced_foreign_key(region, name)
    alert = region.plan().alerts("foreign-key", "prod/api")[0]
    assert (alert["key_id"], alert["severity"]) == (key.id, "warning")
    assert "rotator revoke --key-id" in alert["detail"]


def test_foreign_key_can_be_revoked_by_its_id(region: Region) -> None:
    key = replaced_foreign_key(region, OTHER_DEPLOYMENT)
    ran = region.run("revoke", "--key-id", key.id, "--account", "main", "--reason", "unused", "--yes")
    assert ran.code == 0
    assert not region.system.works(key)
    assert region.system.works(region.current_key("prod/api"))


def test_foreign_key_without_a_secret_is_not_revoked(region: Region) -> None:
    region.secret("prod/api")
    version = str(uuid.uuid4())
    keys = [region.system.key(region.key_name("prod/api", version, "blue"), age=DAY)]
    keys += [region.system.key(OTHER_ARN.format(version=version), age=DAY)]
    region.sweeps(2)
    assert [region.system.works(key) for key in keys] == [True, True]
