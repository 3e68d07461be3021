"""A world over HTTP: a simulated Infobip, Secrets Manager by moto and one clock. Made by verbs, and looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from rotator.sandbox.aws import REGION, create_managed, create_management
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import SimAccount, SimKey, SimUser
from tests import leaks

DAY = timedelta(days=1)
SCOPES = ("sms:manage",)
KEY = "key"
"""A secret's value that is its key, as JSON."""


@dataclass(repr=False)
class LocalWorld:
    """Secrets of one AWS region, and an Infobip. An ``account`` is a simulated one, or the name in the tag."""

    world: InfobipWorld
    infobip_url: str
    aws_url: str
    clock: OffsetClock
    client: Any
    region: str = REGION

    def account(self, name: str = "main", **management: str) -> SimAccount:
        """An account with a user, and its management secret, for which see :meth:`management`."""
        account = self.world.add_account(name)
        self.management(self.world.add_user(account, management.pop("username", f"ops-{name}")), name, **management)
        return account

    def user(self, account: SimAccount) -> SimUser:
        """The account's first user."""
        return next(user for user in self.world.state.users.values() if user.account_id == account.id)

    def key(
        self,
        name: str = "by hand",
        account: SimAccount | str = "main",
        *,
        left: timedelta = 60 * DAY,
        age: timedelta | None = None,
        begins: datetime | None = None,
        scopes: Sequence[str] = SCOPES,
        enabled: bool = True,
    ) -> SimKey:
        """A key that was made in Infobip's portal, for 90 days in all; a tag alone stands for the first account."""
        now = self.clock.now().replace(microsecond=0)
        age = 90 * DAY - left if age is None else age
        key = self.world.add_key(
            account if isinstance(account, SimAccount) else next(iter(self.world.state.accounts)),
            name,
            scopes=scopes,
            created_at=now - age,
            valid_from=begins or now - age,
            valid_to=now + left,
            enabled=enabled,
        )
        leaks.register(key.value)
        return key

    def management(self, user: SimUser, account: str = "main", **other: str) -> None:
        """A management secret with a user's credentials, or with another base_url, password or auth."""
        password = leaks.register(other.get("password", leaks.register(user.password)))
        url, auth = other.get("base_url", self.infobip_url), other.get("auth", "basic")
        create_management(self.client, account, base_url=url, username=user.username, password=password, auth=auth)

    def create(self, name: str, account: SimAccount | str = "main", **tags: str) -> str:
        """A managed secret without a value; gives its ARN. ``value_field="x"`` is the tag ``rotator:value-field``."""
        named = account.name if isinstance(account, SimAccount) else account
        return create_managed(self.client, name, named, tags=_named(tags))

    def secret(
        self,
        name: str,
        account: SimAccount | str = "main",
        value: str | None = KEY,
        *,
        left: timedelta = 60 * DAY,
        lifetime: timedelta = 90 * DAY,
        adopted: bool = True,
        **tags: str,
    ) -> SimKey:
        """A managed secret and its key, made by hand; it is due with a third of its lifetime left.

        :param value: its key as JSON, another text to store, or none.
        """
        self.create(name, account, **tags)
        key = self.key(f"by hand: {name}", account, left=left, age=lifetime - left)
        labels = [f"rotator:key:{key.id}"] if adopted and value == KEY else []
        if value is not None:
            self.put(name, {"api_key": key.value} if value == KEY else value, ["AWSCURRENT", *labels])
        return key

    def put(
        self, name: str, value: str | bytes | Mapping[str, str], labels: Sequence[str], version: str | None = None
    ) -> str:
        """Store a value with any labels, as any principal with write access can; gives the version's id."""
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        stored = {"SecretBinary": text} if isinstance(text, bytes) else {"SecretString": text}
        token = {"ClientRequestToken": version} if version else {}
        before = self.labels(name)
        made = self.client.put_secret_value(SecretId=name, VersionStages=[*labels], **stored, **token)["VersionId"]
        # AWS moves the labels that were given; moto takes the other labels off the version that was current, too.
        now = self.every_label(name)
        for older, lost in ((older, every - now) for older, every in before.items()):
            for label in lost:
                self.client.update_secret_version_stage(SecretId=name, VersionStage=label, MoveToVersionId=older)
        return str(made)

    def tag(self, name: str, **tags: str) -> None:
        """Set tags: ``value_field="x"`` is ``rotator:value-field``."""
        given = [{"Key": f"rotator:{tag}", "Value": text} for tag, text in _named(tags).items()]
        self.client.tag_resource(SecretId=name, Tags=given)

    def arn(self, name: str) -> str:
        return str(self.client.describe_secret(SecretId=name)["ARN"])

    def labels(self, name: str) -> dict[str, set[str]]:
        """The labels by version; versions without any are left out."""
        stages = self.client.describe_secret(SecretId=name).get("VersionIdsToStages", {})
        return {version: set(labels) for version, labels in stages.items() if labels}

    def every_label(self, name: str) -> set[str]:
        return {label for labels in self.labels(name).values() for label in labels}

    def current_version(self, name: str) -> str:
        return next(version for version, labels in self.labels(name).items() if "AWSCURRENT" in labels)

    def value(self, name: str) -> dict[str, Any]:
        """What a consumer reads."""
        read = self.client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"]
        return cast(dict[str, Any], json.loads(read))

    def current_key(self, name: str, value_field: str = "api_key") -> SimKey:
        """The key at Infobip that a consumer reads."""
        key = self.world.key_of(self.value(name)[value_field])
        assert key is not None
        return key

    def works(self, *keys: SimKey) -> bool:
        """Whether a consumer that has any of these keys' values gets in now."""
        return any(self.world.authenticates(key.value) for key in keys)

    def consumer_works(self, name: str) -> bool:
        """Whether a consumer that reads the secret now gets in."""
        return self.world.authenticates(self.value(name)["api_key"])

    def live(self, account: SimAccount | None = None) -> list[SimKey]:
        """Every key that authenticates now."""
        now = self.clock.now()
        return [key for key in self.world.keys(account) if key.enabled and key.valid_to > now]

    def state(self) -> tuple[Any, ...]:
        """Everything that a command or a handler could have changed."""
        keys = tuple(sorted((key.id, key.enabled, key.valid_to) for key in self.world.keys()))
        listed = self.client.list_secrets(MaxResults=100, IncludePlannedDeletion=True)["SecretList"]
        found = {
            each["Name"]: sorted((v, *sorted(labels)) for v, labels in each.get("SecretVersionsToStages", {}).items())
            for each in listed
        }
        return keys, found


def _named(tags: Mapping[str, str]) -> dict[str, str]:
    return {tag.replace("_", "-"): text for tag, text in tags.items()}
