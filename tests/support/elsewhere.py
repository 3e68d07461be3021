"""The secrets of another region or AWS account, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3

from rotator.sandbox.aws import DUMMY_CREDENTIALS
from tests.support.eyes import Eyes
from tests.support.local_world import LocalWorld


class Elsewhere(LocalWorld, Eyes):
    """Secrets of another region, or of a role's AWS account, with the same Infobip and clock."""


def elsewhere(world: LocalWorld, region: str, role: str | None = None) -> Elsewhere:
    """Those of that region, or of the role's AWS account there."""
    keys = {name.lower(): text for name, text in DUMMY_CREDENTIALS.items()}
    if role is not None:
        assumed = _client(world, "sts", region, keys).assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        keys = dict(zip(keys, (assumed[name] for name in names), strict=True))
    client = _client(world, "secretsmanager", region, keys)
    return Elsewhere(world.infobip, world.infobip_url, world.aws_url, world.clock, client, region)


def _client(world: LocalWorld, service: str, region: str, keys: Mapping[str, Any]) -> Any:
    connect: Any = boto3.client
    return connect(service, region, endpoint_url=world.aws_url, **keys)
