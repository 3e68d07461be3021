"""CloudTrail's event history for the sandbox, as far as reads of secrets go: moto has none.

Who reads is told by the access key, for there are no roles here: the key id ``billing`` is the user ``billing``. Unlike
AWS's, this history does not lag. It holds names and times, no value.
"""

from __future__ import annotations

import importlib
import json
import re
import threading
import uuid
from collections import deque
from typing import Any, Final

from rotator.clock import SystemClock
from rotator.ports import Clock

ACCOUNT: Final = "123456789012"
MOST: Final = 10_000
_SIGNED_BY: Final = re.compile(r"Credential=([^/]+)/")
_SERVED: Final = {"ResourceName", "EventName"}


class Trail:
    """Records what moto's Secrets Manager is asked, and answers ``LookupEvents``, from :meth:`start` to :meth:`stop`.

    :param clock: dates events; the machine's by default.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._lock = threading.Lock()
        self._undo: list[tuple[Any, str, Any]] = []

    def start(self) -> None:
        """Put the two operations in their places. moto is installed, or ``ImportError``."""
        secrets = importlib.import_module("moto.secretsmanager.responses").SecretsManagerResponse
        trail = importlib.import_module("moto.cloudtrail.responses").CloudTrailResponse
        original = secrets.get_secret_value

        def get_secret_value(response: Any) -> Any:
            try:
                answer = original(response)
            except Exception as error:
                self._record(response, type(error).__name__)
                raise
            self._record(response, None)
            return answer

        def lookup_events(response: Any) -> str:
            return json.dumps(self._look_up(response))

        before = vars(trail).get("lookup_events")  # another server's in this process, perhaps
        self._undo = [(secrets, "get_secret_value", original), (trail, "lookup_events", before)]
        secrets.get_secret_value, trail.lookup_events = get_secret_value, lookup_events

    def stop(self) -> None:
        """Give moto its own back."""
        undo, self._undo = self._undo, []
        for owner, name, original in undo:
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

    def reset(self) -> None:
        """Forget every event."""
        with self._lock:
            self._events.clear()

    def _record(self, response: Any, error: str | None) -> None:
        asked = {name: response._get_param(name) for name in ("SecretId", "VersionId", "VersionStage")}
        signed = _SIGNED_BY.search(str(response.headers.get("Authorization", "")))
        user = "unknown" if signed is None else signed[1]
        parameters = {name[0].lower() + name[1:]: text for name, text in asked.items() if text is not None}
        record: dict[str, Any] = {
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/{user}", "userName": user},
            "eventSource": "secretsmanager.amazonaws.com",
            "eventName": "GetSecretValue",
            "awsRegion": response.region,
            "userAgent": str(response.headers.get("User-Agent", "")),
            "requestParameters": parameters,
            "responseElements": None,
            "readOnly": True,
        }
        if error is not None:
            record["errorCode"] = error
        event = {
            "EventId": str(uuid.uuid4()),
            "EventName": "GetSecretValue",
            "EventTime": self._clock.now().timestamp(),
            "Username": user,
            "Resources": [{"ResourceType": "AWS::SecretsManager::Secret", "ResourceName": asked["SecretId"]}],
            "CloudTrailEvent": json.dumps(record),
        }
        with self._lock:
            self._events.append(event)

    def _look_up(self, response: Any) -> dict[str, Any]:
        """The newest first, a page at a time; the token is how many came before."""
        (wanted,) = response._get_param("LookupAttributes") or [{}]
        key, value = wanted.get("AttributeKey"), wanted.get("AttributeValue")
        begin = float(response._get_param("StartTime") or 0)
        size, skip = int(response._get_param("MaxResults") or 50), int(response._get_param("NextToken") or 0)
        with self._lock:
            events = [event for event in reversed(self._events) if event["EventTime"] >= begin]
        if key in _SERVED:
            named = key == "ResourceName"
            events = [e for e in events if (e["Resources"][0]["ResourceName"] if named else e["EventName"]) == value]
        page = {"Events": events[skip : skip + size]}
        return page | ({"NextToken": str(skip + size)} if skip + size < len(events) else {})
