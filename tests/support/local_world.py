"""A world over HTTP: a simulated Infobip, Secrets Manager by moto and one clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3

from rotator.sandbox.aws import DUMMY_CREDENTIALS, REGION, consumer_value
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from tests.support.verbs import CURRENT, DAY, HOUR, SCOPES, Value, Verbs, tags_named

__all__ = ["DAY", "HOUR", "SCOPES", "LocalWorld"]


@dataclass(repr=False)
class LocalWorld(Verbs):
    """Secrets of one AWS region, and an Infobip."""

    infobip: InfobipWorld
    infobip_url: str
    aws_url: str
    clock: OffsetClock
    client: Any
    region: str = REGION

    def elsewhere(self, region: str, role: str | None = None) -> LocalWorld:
        """The secrets of another region, or of a role's AWS account, with the same Infobip and clock."""
        keys = {name.lower(): text for name, text in DUMMY_CREDENTIALS.items()}
        if role is not None:
            assumed = self._client("sts", region, keys).assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            keys = dict(zip(keys, (assumed[name] for name in names), strict=True))
        client = self._client("secretsmanager", region, keys)
        return LocalWorld(self.infobip, self.infobip_url, self.aws_url, self.clock, client, region)

    def _client(self, service: str, region: str, keys: Mapping[str, Any]) -> Any:
        connect: Any = boto3.client
        return connect(service, region, endpoint_url=self.aws_url, **keys)

    def new_secret(self, name: str, tags: Mapping[str, str], value: str | None = None) -> str:
        arn = str(self.client.create_secret(Name=name, Tags=_listed(tags))["ARN"])
        if value is not None:
            self.put(name, value)
        return arn

    def put(self, name: str, value: Value, labels: Iterable[str] = CURRENT, version: str | None = None) -> str:
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        stored = {"SecretBinary": text} if isinstance(text, bytes) else {"SecretString": text}
        token = {"ClientRequestToken": version} if version else {}
        before = self.labels(name)
        made = self.client.put_secret_value(SecretId=name, VersionStages=[*labels], **stored, **token)["VersionId"]
        # AWS moves the labels that were given; moto takes the other labels off the version that was current, too.
        now = self.every_label(name)
        for older, lost in ((older, every - now) for older, every in before.items()):
            for label in lost:
                self.label(name, label, older)
        return str(made)

    def label(self, name: str, label: str, version: str | None, remove_from: str | None = None) -> None:
        moved = {"MoveToVersionId": version, "RemoveFromVersionId": remove_from}
        given = {parameter: chosen for parameter, chosen in moved.items() if chosen}
        self.client.update_secret_version_stage(SecretId=name, VersionStage=label, **given)

    def tag(self, name: str, **tags: str) -> None:
        self.client.tag_resource(SecretId=name, Tags=_listed(tags_named(tags)))

    def untag(self, name: str, *tags: str) -> None:
        self.client.untag_resource(SecretId=name, TagKeys=[*tags])

    def arn(self, name: str) -> str:
        return str(self.client.describe_secret(SecretId=name)["ARN"])

    def labels(self, name: str) -> dict[str, set[str]]:
        stages = self.client.describe_secret(SecretId=name).get("VersionIdsToStages", {})
        return {version: set(labels) for version, labels in stages.items() if labels}

    def text(self, name: str) -> str:
        return consumer_value(self.client, name)

    def state(self) -> tuple[Any, ...]:
        """Everything that a command or a handler could have changed."""
        keys = tuple(sorted((key.id, key.enabled, key.valid_to) for key in self.infobip.keys()))
        listed = self.client.list_secrets(MaxResults=100, IncludePlannedDeletion=True)["SecretList"]
        found = {
            each["Name"]: sorted((v, *sorted(labels)) for v, labels in each.get("SecretVersionsToStages", {}).items())
            for each in listed
        }
        return keys, found


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": text} for name, text in tags.items()]
