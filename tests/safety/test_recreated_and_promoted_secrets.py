"""A secret's name is not its identity: one created again under it, or promoted from a replica, owns no older keys."""

from __future__ import annotations

import json

from tests.safety.harness import DAY, Region


def test_recreated_secrets_key_is_no_orphan(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    live = region.rotate("prod/api")
    region.recreate("prod/api")
    region.sweeps(3)
    assert region.system.works(live), "consumers still use it: the value is not back yet"


def test_recreated_secret_keeps_its_key_once_the_value_is_back(region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    live = region.rotate("prod/api")
    region.recreate("prod/api")
    region.put("prod/api", {"api_key": live.value}, ["AWSCURRENT"])
    region.sweeps(3)
    assert region.system.works(live)
    assert region.current_key("prod/api").id == live.id


def test_foreign_key_of_a_recreated_secret_is_not_revoked(region: Region) -> None:
    """Its name gives the ARN of the secret that was deleted: a person decides, and the warning names the command."""
    region.secret("prod/api", left=20 * DAY)
    live = region.rotate("prod/api")
    region.recreate("prod/api")
    region.put("prod/api", {"api_key": live.value}, ["AWSCURRENT"])
    region.sweep()
    region.rotate("prod/api")
    ran = region.sweeps(5, every=DAY)[-1]
    assert region.system.works(live)
    assert not [label for label in region.every_label("prod/api") if label.startswith(f"rotator:retire:{live.id}")]
    assert any("rotator revoke --key-id" in alert["detail"] for alert in ran.alerts("foreign-key", "prod/api"))


def promote_replica(source: Region, target: Region, name: str) -> None:
    """What a replica is once it was promoted: every version with its id, its value and its labels."""
    target.create(name)
    for version, labels in source.labels(name).items():
        read = source.aws.get_secret_value(SecretId=name, VersionId=version)
        target.put(name, json.loads(read["SecretString"]), sorted(labels), version)


def test_promoted_replica_revokes_no_keys_of_the_source(region: Region, other_region: Region) -> None:
    region.secret("prod/api", left=20 * DAY)
    in_use = region.rotate("prod/api")
    promote_replica(region, other_region, "prod/api")
    region.system.environment["ROTATOR_DEPLOYMENT"] = "recovery"
    other_region.sweep()
    other_region.rotate("prod/api")
    other_region.sweeps(5, every=DAY)
    assert region.system.works(in_use), "the first deployment's consumers use it"
    assert region.current_key("prod/api").id == in_use.id


def test_promoted_replica_leaves_grace_periods_to_the_source(region: Region, other_region: Region) -> None:
    region.secret("prod/api", left=20 * DAY, grace="240h")
    first = region.rotate("prod/api")
    region.rotate("prod/api")
    promote_replica(region, other_region, "prod/api")
    region.system.environment["ROTATOR_DEPLOYMENT"] = "recovery"
    ran = other_region.sweeps(12, every=DAY)[-1]
    assert region.system.works(first), "its own deployment has not swept, and it is not the other's"
    assert first.id in [alert["key_id"] for alert in ran.alerts("foreign-key")]
