"""A world over HTTP: a simulated Infobip, Secrets Manager by moto and one clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rotator.sandbox.aws import REGION, consumer_value
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from tests.support.verbs import CURRENT, Value, Verbs, tags_named


@dataclass(repr=False)
class LocalWorld(Verbs):
    """Secrets of one AWS region, and an Infobip."""

    infobip: InfobipWorld
    infobip_url: str
    aws_url: str
    clock: OffsetClock
    client: Any
    region: str = REGION

    def new_secret(self, name: str, tags: Mapping[str, str], value: str | None = None) -> str:
        stored = {} if value is None else {"SecretString": value}
        listed = [{"Key": key, "Value": text} for key, text in tags.items()]
        return str(self.client.create_secret(Name=name, Tags=listed, **stored)["ARN"])

    def put(self, name: str, value: Value, labels: Iterable[str] = CURRENT, version: str | None = None) -> str:
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        stored = {"SecretBinary": text} if isinstance(text, bytes) else {"SecretString": text}
        token = {"ClientRequestToken": version} if version else {}
        before = self.labels(name)
        made = self.client.put_secret_value(SecretId=name, VersionStages=[*labels], **stored, **token)["VersionId"]
        # AWS moves the labels that were given; moto takes the other labels off the version that was current, too.
        now = set().union(*self.labels(name).values())
        for older, every in before.items():
            for label in every - now:
                self.label(name, label, older)
        return str(made)

    def label(self, name: str, label: str, version: str | None, remove_from: str | None = None) -> None:
        moved = {"MoveToVersionId": version, "RemoveFromVersionId": remove_from}
        given = {parameter: chosen for parameter, chosen in moved.items() if chosen}
        self.client.update_secret_version_stage(SecretId=name, VersionStage=label, **given)

    def tag(self, name: str, **tags: str) -> None:
        listed = [{"Key": key, "Value": text} for key, text in tags_named(tags).items()]
        self.client.tag_resource(SecretId=name, Tags=listed)

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
        return keys, {each["Name"]: each.get("SecretVersionsToStages") for each in listed}
