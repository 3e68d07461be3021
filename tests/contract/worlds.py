"""The two stores, each with the hands of people and other services on it, under one interface."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.ports import SecretStore
from rotator.redaction.redactor import Redactor
from rotator.sandbox.clocks import VirtualClock
from tests.doubles.memory_store import MemoryStore

REGION = "eu-central-1"
PRIMARY_REGION = "us-east-1"
KEY_TAGS = {"rotator:role": "key", "rotator:account": "main"}


def new_version() -> str:
    """A version id, as the rotator chooses it."""
    return str(uuid.uuid4())


class LearntValues(Redactor):
    """Remembers what was found in secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.learned: list[str] = []

    def learn_value(self, text: str) -> None:
        self.learned.append(text)


class World(Protocol):
    """A store, and what others do to it."""

    store: SecretStore
    learned: list[str]

    def create(self, name: str, value: str | None = None, tags: Mapping[str, str] = KEY_TAGS) -> str: ...

    def put_binary(self, name: str) -> None: ...

    def delete(self, name: str) -> None: ...

    def create_replica(self, name: str, value: str) -> str: ...


class MemoryWorld:
    """The strict store in memory."""

    def __init__(self) -> None:
        self.learned: list[str] = []
        self.clock = VirtualClock()
        self.memory = MemoryStore(self.clock, region=REGION, learn=self.learned.append)
        self.store: SecretStore = self.memory

    def create(self, name: str, value: str | None = None, tags: Mapping[str, str] = KEY_TAGS) -> str:
        return self.memory.create_secret(name, tags, value)

    def put_binary(self, name: str) -> None:
        self.memory.put_value_by_hand(name, b"\x00\x01")

    def delete(self, name: str) -> None:
        self.memory.delete(name)

    def create_replica(self, name: str, value: str) -> str:
        arn = self.memory.create_secret(name, KEY_TAGS, value)
        self.memory.make_replica(name, PRIMARY_REGION)
        return arn


class MotoWorld:
    """boto over HTTP to moto."""

    def __init__(self, client: Any, primary_client: Any) -> None:
        self.client = client
        self._primary = primary_client
        redactor = LearntValues()
        self.learned = redactor.learned
        self.store: SecretStore = SecretsManagerStore(client, redactor)

    def create(self, name: str, value: str | None = None, tags: Mapping[str, str] = KEY_TAGS) -> str:
        return _create(self.client, name, value, tags)

    def put_binary(self, name: str) -> None:
        self.client.put_secret_value(SecretId=name, SecretBinary=b"\x00\x01")

    def delete(self, name: str) -> None:
        self.client.delete_secret(SecretId=name)

    def create_replica(self, name: str, value: str) -> str:
        arn = _create(self._primary, name, value, KEY_TAGS, AddReplicaRegions=[{"Region": REGION}])
        return arn.replace(PRIMARY_REGION, REGION)


def _create(client: Any, name: str, value: str | None, tags: Mapping[str, str], **more: Any) -> str:
    given = {} if value is None else {"SecretString": value}
    answer = client.create_secret(
        Name=name, Tags=[{"Key": key, "Value": text} for key, text in tags.items()], **given, **more
    )
    return str(answer["ARN"])
