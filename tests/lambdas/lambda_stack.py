"""The handlers in this process, against a simulated Infobip over HTTP and moto's Secrets Manager, SQS, EventBridge."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3

from rotator.sandbox.aws import create_managed, create_management
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.state import SimAccount, SimKey
from tests import leaks
from tests.support.faulty_infobip import FaultyInfobip
from tests.support.moto_state import state_of

NOWHERE = "arn:aws:lambda:eu-central-1:123456789012:function:nowhere"
DAY = timedelta(days=1)


@dataclass
class Context:
    """What the Lambda runtime hands to a handler. ``left``: seconds, or one number for each time that it is asked."""

    left: float | list[float] = 900.0
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def get_remaining_time_in_millis(self) -> int:
        if isinstance(self.left, list):
            return int((self.left.pop(0) if len(self.left) > 1 else self.left[0]) * 1000)
        return int(self.left * 1000)


@dataclass
class LambdaStack:
    """A simulated Infobip, Secrets Manager by moto, and what tests do with them."""

    aws_url: str
    infobip_url: str
    world: FaultyInfobip
    clock: OffsetClock
    client: Any
    region: str = "eu-central-1"

    def aws(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.aws_url, region_name=self.region)  # type: ignore[call-overload]

    @property
    def environment(self) -> dict[str, str]:
        """Of a function in a process of its own."""
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": self.region,
            "AWS_LAMBDA_FUNCTION_NAME": "rotator",
            "NO_PROXY": "127.0.0.1",
        }

    # ---- what there is ----------------------------------------------------------------------------------------------

    def account(self, name: str = "main", *, password: str | None = None) -> SimAccount:
        """An account, its user and its management secret; ``password`` may be a wrong one."""
        account = self.world.add_account(name)
        user = self.world.add_user(account, f"ops-{name}")
        leaks.register(user.password)
        create_management(
            self.client,
            name,
            base_url=self.infobip_url,
            username=user.username,
            password=leaks.register(password or user.password),
        )
        return account

    def secret(
        self,
        name: str,
        account: SimAccount,
        *,
        left: timedelta = 60 * DAY,
        age: timedelta = 30 * DAY,
        adopted: bool = True,
        value: bool = True,
        **tags: str,
    ) -> SimKey:
        """A managed secret and its key; 60 of 90 days are left, so that it is not due."""
        now = self.world.clock.now()
        key = self.world.add_key(
            account, f"by hand: {name}", scopes=("sms:manage",), valid_from=now - age, valid_to=now + left
        )
        leaks.register(key.value)
        create_managed(
            self.client,
            name,
            account.name,
            json.dumps({"api_key": key.value, "sender": "Example"}) if value else None,
            key_id=key.id if adopted and value else None,
            tags={tag.replace("_", "-"): text for tag, text in tags.items()},
        )
        return key

    def start_rotation(self, name: str, token: str | None = None) -> str:
        """What ``RotateSecret`` does before it calls the function: switch rotation on, announce an empty version."""
        chosen = token or str(uuid.uuid4())
        # moto announces the version first and only then finds that there is no such function.
        with contextlib.suppress(self.client.exceptions.ResourceNotFoundException):
            self.client.rotate_secret(
                SecretId=name,
                ClientRequestToken=chosen,
                RotationLambdaARN=NOWHERE,
                RotationRules={"AutomaticallyAfterDays": 30},
            )
        assert self.labels(name)[chosen] == {"AWSPENDING"}
        return chosen

    # ---- how it looks -----------------------------------------------------------------------------------------------

    def arn(self, name: str) -> str:
        return str(self.client.describe_secret(SecretId=name)["ARN"])

    def labels(self, name: str) -> dict[str, set[str]]:
        """Labels by version; versions without any are left out."""
        stages = self.client.describe_secret(SecretId=name).get("VersionIdsToStages", {})
        return {version: set(labels) for version, labels in stages.items() if labels}

    def current(self, name: str) -> tuple[str, dict[str, Any]]:
        """The current version's id and value."""
        read = self.client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
        return str(read["VersionId"]), json.loads(read["SecretString"])

    def consumer_works(self, name: str) -> bool:
        return self.world.authenticates(self.current(name)[1]["api_key"])

    def live(self, account: SimAccount) -> list[SimKey]:
        now = self.world.clock.now()
        return [key for key in self.world.keys(account) if key.enabled and key.valid_to > now]

    def state(self) -> tuple[Any, ...]:
        """Everything that a handler could have changed."""
        return state_of(self.world, self.client)
