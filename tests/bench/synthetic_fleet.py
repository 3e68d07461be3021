"""Secrets Manager and Infobip with any number of secrets and keys, worked out when they are asked for and never kept.

The real clients talk to them: botocore up to the point where it would open a connection, requests and urllib3 up to
theirs. What is measured is then this side of the wire, and the far end's part is the same for everybody who lists.
"""

from __future__ import annotations

import io
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from rotator.aws.clients import make_client, make_session
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.exchange import Drop, Request, Response, json_response
from rotator.sandbox.infobip import InfobipWorld
from tests.doubles.in_process import InProcessAdapter

NOW: Final = datetime(2026, 11, 20, 10, tzinfo=UTC)
REGIONS: Final = ("eu-central-1", "us-east-1", "eu-west-1")
PER_ACCOUNT: Final = 2500
"""Managed secrets of an Infobip account: about what 32 rotations a day keep fresh (see docs/scale.md)."""
PAGE: Final = 100
DAY: Final = timedelta(days=1)
_bases = itertools.count()


class SyntheticFleet:
    """``count`` managed secrets and their keys, none of which needs anything. ``calls`` counts by operation.

    :param count: managed secrets; every :data:`PER_ACCOUNT` of them share an Infobip account and management secret.
    :param masked: Infobip's list shows masks instead of keys' values.
    :param stores: the regions among which the secrets are divided; the management secrets are in the first.
    """

    def __init__(self, count: int, *, masked: bool = False, stores: int = 1) -> None:
        self.count = count
        self.masked = masked
        self.accounts = -(-count // PER_ACCOUNT)
        self.regions = REGIONS[:stores]
        ends = [count * number // stores for number in range(stores + 1)]
        self._listed = [list(range(first, last)) for first, last in itertools.pairwise(ends)]
        self._listed[0] += range(count, count + self.accounts)
        # Other keys than before, or what was learnt of those would spare work that a first sweep has.
        self._base = next(_bases) * 10_000_000
        self.clock = VirtualClock(NOW)
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def called(self, operation: str) -> None:
        """Count one call."""
        with self._lock:
            self.calls[operation] += 1

    # ---- what there is ----------------------------------------------------------------------------------------------

    def secret(self, index: int) -> dict[str, Any]:
        """A secret as ``ListSecrets`` gives it: the managed ones first, then the management secrets."""
        if index < self.count:
            role, name, account = "key", f"prod/service-{index:06}/infobip", index // PER_ACCOUNT
            labels = {
                f"{self._base + index:08x}-0000-4000-8000-00000000000a": ["AWSPREVIOUS"],
                version_of(self._base + index): ["AWSCURRENT", "AWSPENDING", f"rotator:key:{self.key_id(index)}"],
            }
        else:
            role, name, account = "management", f"infobip/{index - self.count}", index - self.count
            labels = {version_of(self._base + index): ["AWSCURRENT"]}
        return {
            "ARN": f"arn:aws:secretsmanager:{self._region_of(index)}:123456789012:secret:{name}-AbCdEf",
            "Name": name,
            "LastChangedDate": (NOW - 20 * DAY).timestamp(),
            "LastAccessedDate": (NOW - DAY).timestamp(),
            "Tags": [
                {"Key": "rotator:role", "Value": role},
                {"Key": "rotator:account", "Value": f"account-{account:03}"},
                {"Key": "team", "Value": f"team-{index % 40}"},
            ],
            "SecretVersionsToStages": labels,
        }

    def _region_of(self, index: int) -> str:
        return self.regions[0 if index >= self.count else index * len(self.regions) // self.count]

    def key_id(self, index: int) -> str:
        """A key's id."""
        return f"{self._base + index:032X}"

    def key(self, index: int) -> dict[str, Any]:
        """A key as Infobip gives it: made up to 59 days ago, for 90 days, so that none is due."""
        made = NOW - 59 * DAY * (index % PER_ACCOUNT) / PER_ACCOUNT - DAY - timedelta(seconds=self._base % 1009)
        return {
            "id": self.key_id(index),
            "apiKeySecret": f"{index:032x}-00000000-0000-4000-8000-{index:012x}",
            "accountId": f"{index // PER_ACCOUNT:032X}",
            "name": f"prod/service-{index:06}/infobip/rotator:default:{version_of(self._base + index)}",
            "enabled": True,
            "validFrom": f"{made:%Y-%m-%dT%H:%M:%S}",
            "validTo": f"{made + 90 * DAY:%Y-%m-%dT%H:%M:%S}",
            "allowedIPs": [],
            "permissions": ["PUBLIC_API"],
            "scopeGuids": ["sms:manage", "whatsapp:manage"],
            "platform": [],
        }

    def index_of(self, key_id: str) -> int:
        """Which key it is."""
        return int(key_id, 16) - self._base

    # ---- how it answers ---------------------------------------------------------------------------------------------

    def own_client(self, region: str = REGIONS[0]) -> Any:
        """The rotator's own Secrets Manager client, which ends here instead of in a connection."""
        session = make_session(region)
        session.set_credentials("testing", "testing")
        return self._ends_here(make_client(session, "secretsmanager", attempts=1))

    def client(self) -> Any:
        """The same of botocore's, as it comes."""
        session = botocore.session.Session()
        session.set_credentials("testing", "testing")
        config = Config(region_name="eu-central-1", retries={"mode": "standard", "total_max_attempts": 1})
        return self._ends_here(session.create_client("secretsmanager", config=config))

    def _ends_here(self, client: Any) -> Any:
        answer: Any = self._aws
        client.meta.events.register("before-send.secrets-manager", answer)
        return client

    def _aws(self, request: Any, **_: Any) -> AWSResponse:
        listed = next(here for here, region in zip(self._listed, self.regions, strict=True) if region in request.url)
        operation = request.headers["X-Amz-Target"]
        operation = (operation.decode() if isinstance(operation, bytes) else operation).partition(".")[2]
        self.called(operation)
        asked = json.loads(request.body)
        if operation == "ListSecrets":
            first = int(asked.get("NextToken", "0"))
            answer: dict[str, Any] = {"SecretList": [self.secret(index) for index in listed[first : first + PAGE]]}
            if first + PAGE < len(listed):
                answer["NextToken"] = str(first + PAGE)
        elif operation == "BatchGetSecretValue":
            answer = {"SecretValues": [self._value(arn) for arn in asked["SecretIdList"]], "Errors": []}
        else:
            answer = self._value(asked["SecretId"])
        body = json.dumps(answer).encode()
        raw: Any = _Raw(body)
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)

    def _value(self, secret_id: str) -> dict[str, Any]:
        _, managed, rest = secret_id.partition("service-")
        if managed:
            index = int(rest[:6])
            value = {"api_key": self.key(index)["apiKeySecret"]}
        else:
            account = int(secret_id.rpartition("infobip/")[2].partition("-")[0])
            index = self.count + account
            url = f"https://{account:06}.api.infobip.com"
            value = {"base_url": url, "username": "ops", "password": "never sent"}
        found = {**self.secret(index), "VersionId": version_of(self._base + index)}
        stages = found["SecretVersionsToStages"][found["VersionId"]]
        return {**found, "VersionStages": stages, "SecretString": json.dumps(value)}

    def infobip(self, account: int) -> InProcessAdapter:
        """An adapter of requests that ends in one Infobip account."""
        return InProcessAdapter(_Account(self, account))


class _Account(InfobipWorld):
    """One account's keys. Nothing of the simulated Infobip is used but that adapters can end in it."""

    def __init__(self, fleet: SyntheticFleet, number: int) -> None:
        super().__init__(fleet.clock)
        self._fleet = fleet
        self._indices = range(number * PER_ACCOUNT, min(fleet.count, (number + 1) * PER_ACCOUNT))

    def handle(self, request: Request) -> Response | Drop:
        """A page of keys, or one key."""
        key_id = request.path.removeprefix("/settings/2/api-keys").strip("/")
        if key_id:
            self._fleet.called("GET key")
            return json_response(200, self._shown(self._fleet.index_of(key_id)))
        if "apiKeySecret" in request.query:
            self._fleet.called("GET keys by value")
            index = int(request.query["apiKeySecret"][:32], 16)
            found = [self._shown(index)] if index in self._indices else []
            paging = {"page": 0, "size": PAGE, "totalPages": len(found), "totalCount": len(found)}
            return json_response(200, {"apiKeys": found, "paging": paging})
        self._fleet.called("GET keys")
        page, size = int(request.query["page"]), int(request.query["size"])
        keys = [self._shown(index) for index in self._indices[page * size : (page + 1) * size]]
        pages = -(-len(self._indices) // size)
        paging = {"page": page, "size": size, "totalPages": pages, "totalCount": len(self._indices)}
        return json_response(200, {"apiKeys": keys, "paging": paging})

    def _shown(self, index: int) -> dict[str, Any]:
        key = self._fleet.key(index)
        return {**key, "apiKeySecret": "*" * 69} if self._fleet.masked else key


class _Raw(io.BytesIO):
    """What botocore reads a body from."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """All of it."""
        yield self.read()


def version_of(number: int) -> str:
    """The version id that a key was made for."""
    return f"{number:08x}-0000-4000-8000-000000000000"
