"""Keys named for another deployment, ARN or region are used and replaced, and never revoked by a sweep."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.safety.harness import DAY, HOUR, Region, SimKey
from tests.support.rotator import Rotator

OTHER_DEPLOYMENT = "prod/api/rotator:blue:{secret_id}:{version}"
OTHER_ARN = "prod/api/rotator:default:0123456789:{version}"
NAMES = [OTHER_DEPLOYMENT, OTHER_ARN]


def replaced_foreign_key(region: Region, name: str, *, labelled: bool = True) -> SimKey:
    """A secret that held a key with a foreign name, which a sweep has replaced; gives that key."""
    region.create("prod/api")
    version = str(uuid.uuid4())
    secret_id = region.key_name("prod/api", version).split(":")[-2]
    key = region.key(name.format(secret_id=secret_id, version=version), left=20 * DAY)
    labels = [f"rotator:key:{key.id}"] if labelled else []
    region.put("prod/api", {"api_key": key.value}, ["AWSCURRENT", *labels], version)
    region.sweeps(2)
    assert region.current_key("prod/api").id != key.id
    return key


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_foreign_key_is_replaced_not_revoked(region: Region, name: str, labelled: bool) -> None:
    """Threat: another deployment's key in a managed secret. Its scopes are inherited by value, and it is never revoked:
    other-deployment-key.
    """
    key = replaced_foreign_key(region, name, labelled=labelled)
    assert region.current_key("prod/api").scopes == key.scopes
    region.sweeps(6, every=DAY)
    assert region.works(key)
    assert not [label for label in region.every_label("prod/api") if label.startswith("rotator:retire:")]


def test_foreign_key_is_revoked_by_id(region: Region) -> None:
    key = replaced_foreign_key(region, OTHER_DEPLOYMENT)
    ran = region.run("revoke", "--key-id", key.id, "--account", "main", "--reason", "unused", "--yes")
    assert ran.code == 0
    assert not region.works(key)
    assert region.works(region.current_key("prod/api"))


def test_foreign_key_without_secret_is_kept(rotator: Rotator) -> None:
    rotator.secret("prod/api")
    version = str(uuid.uuid4())
    keys = [rotator.key(rotator.key_name("prod/api", version, "blue"), age=DAY)]
    keys += [rotator.key(OTHER_ARN.format(version=version), age=DAY)]
    rotator.sweeps(2)
    assert [rotator.works(key) for key in keys] == [True, True]


def test_recreated_secrets_key_is_no_orphan(region: Region) -> None:
    """Threat: a secret that is deleted and created again under its name. Its live key is not an orphan, before the
    value is back and after.
    """
    region.secret("prod/api", left=20 * DAY)
    live = region.rotate("prod/api")
    region.recreate("prod/api")
    region.sweeps(3)
    assert region.works(live), "consumers still use it: the value is not back yet"


def test_recreated_with_value_keeps_its_key(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    live = region.rotate("prod/api")
    region.recreate("prod/api")
    region.put("prod/api", {"api_key": live.value}, ["AWSCURRENT"])
    region.sweeps(3)
    assert region.works(live)
    assert region.current_key("prod/api").id == live.id


def test_recreated_secrets_old_key_is_kept(region: Region) -> None:
    """Its name gives the ARN of the secret that was deleted: a person decides, and the warning names the command."""
    region.secret("prod/api", left=20 * DAY)
    live = region.rotate("prod/api")
    region.recreate("prod/api")
    region.put("prod/api", {"api_key": live.value}, ["AWSCURRENT"])
    region.sweep()
    region.rotate("prod/api")
    ran = region.sweeps(5, every=DAY)[-1]
    assert region.works(live)
    assert not [label for label in region.every_label("prod/api") if label.startswith(f"rotator:retire:{live.id}")]
    assert any("rotator revoke --key-id" in alert["detail"] for alert in ran.alerts("other-deployment-key", "prod/api"))


def promote_replica(source: Region, target: Region, name: str) -> None:
    """What a replica is once it was promoted: every version with its id, its value and its labels."""
    target.create(name)
    for version, labels in source.labels(name).items():
        read = source.client.get_secret_value(SecretId=name, VersionId=version)
        target.put(name, json.loads(read["SecretString"]), sorted(labels), version)


def test_promoted_replica_revokes_nothing(region: Region, other_region: Region) -> None:
    """Threat: a replica that was promoted to a standalone secret. The source's keys are not revoked."""
    region.secret("prod/api", left=20 * DAY)
    in_use = region.rotate("prod/api")
    promote_replica(region, other_region, "prod/api")
    region.environment["ROTATOR_DEPLOYMENT"] = "recovery"
    other_region.sweep()
    other_region.rotate("prod/api")
    other_region.sweeps(5, every=DAY)
    assert region.works(in_use), "the first deployment's consumers use it"
    assert region.current_key("prod/api").id == in_use.id


def test_promoted_replica_leaves_grace_alone(region: Region, other_region: Region) -> None:
    region.secret("prod/api", left=20 * DAY, grace="240h")
    first = region.rotate("prod/api")
    region.rotate("prod/api")
    promote_replica(region, other_region, "prod/api")
    region.environment["ROTATOR_DEPLOYMENT"] = "recovery"
    ran = other_region.sweeps(12, every=DAY)[-1]
    assert region.works(first), "its own deployment has not swept, and it is not the other's"
    assert first.id in [alert["key_id"] for alert in ran.alerts("other-deployment-key")]


def test_other_regions_live_key_is_no_orphan(region: Region, other_region: Region) -> None:
    """Threat: the same stack in two regions, with the same names, on one Infobip account. Keys of the other region are
    not orphans, because a key's name contains a digest of its secret's ARN.
    """
    region.secret("prod/api", left=20 * DAY)
    other_region.secret("prod/api")
    region.sweep()
    made = region.current_key("prod/api")
    other_region.sweeps(3)
    assert region.works(made)


def test_other_regions_new_key_is_not_stored(region: Region, other_region: Region) -> None:
    """One region's replacement must not pass for a failed attempt of the other."""
    for each in (region, other_region):
        each.secret("prod/api", left=20 * DAY)
        each.sweep()
    assert region.current_key("prod/api").id != other_region.current_key("prod/api").id


def test_each_region_revokes_its_old_keys(region: Region, other_region: Region) -> None:
    """Threat: two regions on one Infobip account. Each revokes its own old keys."""
    regions = (region, other_region)
    old = [each.secret("prod/api", left=20 * DAY) for each in regions]
    for _ in range(6):
        region.pass_time(DAY)
        for each in regions:
            each.sweep()
    assert [region.works(key) for key in old] == [False, False]
    assert [region.works(each.current_key("prod/api")) for each in regions] == [True, True]


def test_orphan_is_revoked_in_its_region(region: Region, other_region: Region) -> None:
    for each in (region, other_region):
        each.secret("prod/api")
    name = region.key_name("prod/api", "00000000-1111-2222-3333-444444444444")
    orphan = region.key(name, age=HOUR)
    other_region.sweep()
    assert region.works(orphan)
    region.sweep()
    assert not region.works(orphan)
