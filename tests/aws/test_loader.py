"""Clients made with little of botocore's data talk to the same places as clients made with all of it."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from rotator.aws.loader import SERVICES, SparingLoader

ASKED = {
    "secretsmanager": "list_secrets",
    "sqs": "list_queues",
    "events": "list_rules",
    "cloudtrail": "lookup_events",
    "sts": "get_caller_identity",
}
REGIONS = ("eu-central-1", "cn-north-1", "us-gov-west-1", "eu-nowhere-9")


def made(service: str, region: str, settings: dict[str, Any], *, sparing: bool) -> tuple[Any, ...]:
    """Where a call would go, and how it would be signed; or that no client can be made."""
    session = botocore.session.Session()
    if sparing:
        session.register_component("data_loader", SparingLoader())
    config = Config(retries={"total_max_attempts": 1}, **settings)
    client = session.create_client(service, region_name=region, config=config)
    sent: list[Any] = []

    def stop(request: Any, **_: Any) -> Any:
        sent.append(request)
        return AWSResponse(request.url, 500, HTTPHeaders(), None)

    client.meta.events.register("before-send", stop)
    try:
        getattr(client, ASKED[service])()
    except (botocore.exceptions.ClientError, AttributeError):
        pass
    except botocore.exceptions.BotoCoreError as error:
        return (type(error).__name__, str(error))
    (request,) = sent
    scope = request.headers["Authorization"].decode().partition("Credential=")[2].split(",")[0].split("/")
    return (request.url, scope[2:], client.meta.partition, client.meta.region_name)


@pytest.mark.parametrize("settings", [{}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}], ids=str)
@pytest.mark.parametrize("region", REGIONS)
def test_the_same_endpoint_and_signature(region: str, settings: dict[str, Any]) -> None:
    for service in ("secretsmanager", "events") if settings else ASKED:
        assert made(service, region, settings, sparing=True) == made(service, region, settings, sparing=False)


def test_endpoints_are_not_read() -> None:
    endpoints, path = SparingLoader().load_data_with_path("endpoints")
    assert "partitions" in path
    assert {partition["partition"] for partition in endpoints["partitions"]} >= {"aws", "aws-cn", "aws-us-gov"}


def test_a_service_that_is_not_ours_is_refused() -> None:
    session = botocore.session.Session()
    session.register_component("data_loader", SparingLoader())
    assert "s3" not in SERVICES
    with pytest.raises(botocore.exceptions.UnknownServiceError):
        session.create_client("s3", region_name="eu-central-1")
