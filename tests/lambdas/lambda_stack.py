"""The handlers in this process, against a simulated Infobip over HTTP and moto's Secrets Manager, SQS, EventBridge."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, field
from typing import Any

import boto3

from tests.support.eyes import Eyes
from tests.support.local_world import LocalWorld
from tests.support.moments import DAY

__all__ = ["DAY", "Context", "LambdaStack"]

NOWHERE = "arn:aws:lambda:eu-central-1:123456789012:function:nowhere"


@dataclass
class Context:
    """What the Lambda runtime hands to a handler. ``left``: seconds, or one number for each time that it is asked."""

    left: float | list[float] = 900.0
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:infobip-key-rotator-sweep"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def get_remaining_time_in_millis(self) -> int:
        if isinstance(self.left, list):
            return int((self.left.pop(0) if len(self.left) > 1 else self.left[0]) * 1000)
        return int(self.left * 1000)


@dataclass(repr=False)
class LambdaStack(LocalWorld, Eyes):
    """Infobip, AWS, and what Lambda and Secrets Manager do before a handler is called."""

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
