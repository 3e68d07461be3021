"""``osls deploy`` and ``osls remove`` against moto's CloudFormation, in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.deploy.actions import FUNCTIONS
from tests.deploy.offline import MEMBER, NAME, REGION, STAGE, account_at, moto_server, once, service
from tests.deploy.policies import statements

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An empty AWS account."""
    with moto_server() as found:
        yield found


@pytest.fixture(scope="module")
def osls(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs osls with an empty AWS account behind it."""
    environment: dict[str, str] = {}

    def make(folder: Path) -> None:
        environment.update(service(folder))

    folder = once(tmp_path_factory.mktemp("deployed"), f"osls-{os.getpid()}", make)
    environment |= account_at(endpoint)

    def run(*arguments: str) -> str:
        command = ["node_modules/.bin/osls", *arguments, "--stage", STAGE]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_it_is_deployed_and_removed(osls: Any, endpoint: str, template: dict[str, Any]) -> None:
    def aws(name: str) -> Any:
        # Not for CloudWatch: this boto3 speaks JSON to it and the server, whose tools pin an older botocore, knows the
        # query protocol alone; it answers 500 at every attempt.
        return boto3.client(name, endpoint_url=endpoint, region_name=REGION)  # type: ignore[call-overload]

    stores = f"stores={REGION} us-west-2 arn:aws:iam::{MEMBER}:role/rotator@eu-west-1"
    osls("deploy", "--param", "event-bus=default", "--param", "xray=true", "--param", stores)
    functions = {one["FunctionName"]: one for one in aws("lambda").list_functions()["Functions"]}
    assert functions.keys() == {f"{NAME}-{name}" for name in FUNCTIONS}
    for name in FUNCTIONS:
        function = functions[f"{NAME}-{name}"]
        role = function["Role"].rpartition("/")[2]
        policy = aws("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        # moto gives CloudFormation's inline policies back as Python writes them, with None for what is left out.
        document = ast.literal_eval(policy) if isinstance(policy, str) else policy
        document["Statement"] = [one for one in document["Statement"] if one is not None]
        found = {one.sid for one in statements(document)}
        assert {"FindSecrets", "ReadManagement", "ManagedSecrets", "WriteLogs", "Trace"} <= found
        assert "SecretsKeys" not in found
        assert (
            ("AssumeStores" in found)
            is ("ROTATOR_STORES" in function["Environment"]["Variables"])
            is (name != "rotation")
        )
    (mapping,) = aws("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["FunctionArn"].endswith(f"{NAME}-worker")
    urls = aws("sqs").list_queues()["QueueUrls"]
    assert {url.rpartition("/")[2] for url in urls} == {f"{NAME}-accounts.fifo", f"{NAME}-accounts-dead.fifo"}
    variables = functions[f"{NAME}-sweep"]["Environment"]["Variables"]
    assert variables["ROTATOR_QUEUE_URL"].endswith(f"/{NAME}-accounts.fifo")
    assert variables["ROTATOR_DRY_RUN"] == "true"
    # moto makes neither alarms nor schedules nor an update's outputs: that it was told of all is seen, and test_parity
    # and cfn-lint look at what.
    told = aws("cloudformation").get_template(StackName=NAME)["TemplateBody"]["Resources"]
    assert {name: one["Type"] for name, one in told.items()} == {
        name: one["Type"] for name, one in template["Resources"].items()
    }
    alarms = [one for one in told.values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) >= 5
    groups = aws("logs").describe_log_groups()["logGroups"]
    kept = {group["logGroupName"]: group["retentionInDays"] for group in groups}
    assert kept == {f"/aws/lambda/{NAME}-{name}": 400 for name in FUNCTIONS}
    (rule,) = aws("events").list_rules(EventBusName=f"{NAME}-stores")["Rules"]
    assert json.loads(rule["EventPattern"])["source"] == ["aws.secretsmanager"]
    permission = json.loads(aws("lambda").get_policy(FunctionName=f"{NAME}-rotation")["Policy"])["Statement"][0]
    assert permission["Principal"] == {"Service": "secretsmanager.amazonaws.com"}
    (stack,) = aws("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert (parameters["DryRun"], parameters["EventBus"], parameters["Xray"]) == ("true", "default", "true")

    osls("remove")
    assert aws("lambda").list_functions()["Functions"] == []
