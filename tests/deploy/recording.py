"""Which AWS actions are really called: read off the requests that arrive at moto."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from moto.moto_api import recorder

from tests.deploy.actions import ANY, BUS, QUEUE, STORE

_SERVICE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/(?P<service>[a-z0-9-]+)/aws4_request")
_PERMISSION = {"sqs:SendMessageBatch": "sqs:SendMessage"}
"""Operations whose permission has another name."""


@contextmanager
def recording(client: Any, folder: Path) -> Iterator[set[tuple[str, str]]]:
    """Fill a set with (IAM action, what it was done to) for every request that is made inside.

    :param client: a Secrets Manager client, to look up what a secret's tags say its role is.
    """
    path = folder / "requests"
    path.touch()
    calls: set[tuple[str, str]] = set()
    before, recorder._location = recorder._location, str(path)
    recorder.start_recording()
    try:
        yield calls
    finally:
        recorder.stop_recording()
        recorder._location = before
        requests = [json.loads(line) for line in path.read_text().splitlines()]
        path.unlink()  # it holds the secrets' values
    for request in requests:
        calls.add(_called(client, request))


def _called(client: Any, request: dict[str, Any]) -> tuple[str, str]:
    headers = {name.lower(): value for name, value in request["headers"].items()}
    found = _SERVICE.search(headers["authorization"])
    assert found is not None
    raw = base64.b64decode(request["body"]).decode() if request["body_encoded"] else request["body"]
    if found["service"] == "sts":
        return f"sts:{parse_qs(raw)['Action'][0]}", STORE
    action = f"{found['service']}:{headers['x-amz-target'].rpartition('.')[2]}"
    action = _PERMISSION.get(action, action)
    if action.startswith("sqs:"):
        return action, QUEUE
    if action.startswith("events:"):
        return action, BUS
    secret = json.loads(raw).get("SecretId")
    if secret is None:
        return action, ANY
    tags = {tag["Key"]: tag["Value"] for tag in client.describe_secret(SecretId=secret).get("Tags", ())}
    return action, tags.get("rotator:role", "untagged")
