"""The deployed stack, end to end: the schedule rotates, consumers go on, an emergency revokes, a redeploy keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.e2e.conftest import FAR, MEMBER, NAME, REGION, ROOT, SECRETS, STAGE, Cloud, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EMAIL = "oncall@example.com"
HOME = "000000000000"
# The keys have no scope for what the consumers ask for; a key that does not work would be answered 401.
AUTHENTICATED = 403
SETTINGS = f"""\
alarm-email: {EMAIL}
dry-run: "false"
schedule: rate(1 minute)
sweep-every: 1m
stores: {REGION} arn:aws:iam::{MEMBER}:role/infobip-key-rotator@{REGION}
external-id: a-shared-word
"""


def verified_at_once(cloud: Cloud) -> None:
    """A value that is stored right after a sweep is reported, or adopted, by its event before the next sweep."""
    client, name = cloud.client("secretsmanager"), "prod/pasted"

    def lines(event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in cloud.logs("worker").splitlines() if f'"{event}"' in line]
        return [line for line in found if line["event"] == event]

    def by_event(event: str, value: str) -> float:
        client.put_secret_value(SecretId=name, SecretString=json.dumps({"api_key": value}))
        begun = time.monotonic()

        def seen() -> bool | None:
            return any(x["secret"] == name and x["trigger"] == "secretsmanager" for x in lines(event)) or None

        wait_for(f"{event} by an event", seen, 50)
        return time.monotonic() - begun

    before = len(lines("sweep.completed"))
    wait_for("a sweep", lambda: len(lines("sweep.completed")) > before or None)
    tags = [{"Key": "rotator:role", "Value": "key"}, {"Key": "rotator:account", "Value": "main"}]
    client.create_secret(Name=name, SecretString="{}", Tags=tags)
    alerted = by_event("alert.raised", "not a key")
    key = cloud.infobip.world.add_key(cloud.account, "made in the portal")
    adopted = by_event("key.adopted", key.value)
    labels = client.describe_secret(SecretId=name)["VersionIdsToStages"].values()
    assert [each for each in labels if "AWSCURRENT" in each and f"rotator:key:{key.id}" in each]
    print(f"from put-secret-value: {alerted:.1f} s to the alert, {adopted:.1f} s to the label")


def member_account(cloud: Cloud, external_id: str) -> None:
    """Deploy docs/examples/member-account.yaml to the other AWS account, or update it."""
    given = {"RotatorRoleArn": f"arn:aws:iam::{HOME}:role/{NAME}-*", "ExternalId": external_id}
    client = cloud.client("cloudformation", MEMBER)
    change = client.update_stack if client.list_stacks()["StackSummaries"] else client.create_stack
    change(
        StackName="member",
        TemplateBody=(ROOT / "docs" / "examples" / "member-account.yaml").read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    stack = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    wait_for("the stack", lambda: client.describe_stacks()["Stacks"][0]["StackStatus"] in stack or None, 60)


def other_account_is_served(cloud: Cloud) -> None:
    """Its secret is rotated once the role's trust policy has the rotator's external id; a leaked key is revoked."""
    if cloud.iam:
        assert "store-unreachable" in cloud.logs("worker")
        assert len(cloud.infobip.world.keys()) == 2 * len(SECRETS) + 1
    member_account(cloud, "a-shared-word")
    first = cloud.seeded[FAR]
    wait_for("a rotation in the other account", lambda: cloud.current(FAR, MEMBER)["api_key"] != first or None)
    leaked = cloud.current(FAR, MEMBER)["api_key"]
    arn = cloud.client("secretsmanager", MEMBER).describe_secret(SecretId=FAR)["ARN"]
    answer = cloud.invoke("revoke", {"secret_id": arn, "reason": "pasted in a ticket", "actor": "on-call"})
    assert {(key["outcome"], key["verified"]) for key in answer["keys"]} == {("done", True)}, answer
    works = [cloud.infobip.world.authenticates(each) for each in (leaked, cloud.current(FAR, MEMBER)["api_key"])]
    assert works == [False, True]


def test_schedule_rotates_emergency_revokes(cloud: Cloud) -> None:
    world = cloud.infobip.world
    old = {name: cloud.current(name)["api_key"] for name in SECRETS}
    consumers = {name: cloud.consume(name) for name in SECRETS}
    used: list[dict[str, Any]] = []

    def rotated() -> bool | None:
        used.extend(consumer() for consumer in consumers.values())
        return all(cloud.current(name)["api_key"] != old[name] for name in SECRETS) or None

    (cloud.folder / f"stage.{STAGE}.yml").write_text(SETTINGS)
    member_account(cloud, "another-word")
    output = cloud.osls("deploy", "--verbose")
    assert "Mode: LIVE" in output
    wait_for("three rotations by the schedule", rotated)
    used.extend(consumer() for consumer in consumers.values())
    assert {answer["status"] for answer in used} == {AUTHENTICATED}
    assert not any(answer["read_again"] for answer in used)  # the old keys are in their grace period
    for name in SECRETS:
        assert cloud.current(name)["sender"] == "Example"
        assert world.authenticates(old[name])
        assert world.authenticates(cloud.current(name)["api_key"])

    other_account_is_served(cloud)
    verified_at_once(cloud)
    leaked = cloud.current(SECRETS[0])
    event = {"secret_id": SECRETS[0], "reason": "pasted in a ticket", "incident": "INC-4711", "actor": "on-call"}
    answer = cloud.invoke("revoke", event)
    assert {(key["outcome"], key["verified"]) for key in answer["keys"]} == {("done", True)}, answer
    assert [each["secret"] for each in answer["replacements"]] == [SECRETS[0]]
    assert not world.authenticates(leaked["api_key"])
    assert not world.authenticates(old[SECRETS[0]])
    assert all(consumer()["status"] == AUTHENTICATED for consumer in consumers.values())
    logs = "".join(cloud.logs(function) for function in ("sweep", "worker", "revoke"))
    assert "secret.promoted" in logs
    values = {*old.values(), leaked["api_key"], *(cloud.current(name)["api_key"] for name in SECRETS)}
    assert not [value for value in values if value in logs]

    assert subscriptions(cloud) == {EMAIL}
    cloud.osls("deploy", "--verbose")
    assert subscriptions(cloud) == {EMAIL}
    assert variables(cloud, "worker")["ROTATOR_DRY_RUN"] == "false"

    cloud.osls("remove")
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert cloud.current(SECRETS[0])["api_key"] not in old.values()


def subscriptions(cloud: Cloud) -> set[str]:
    found = cloud.client("sns").list_subscriptions()["Subscriptions"]
    return {one["Endpoint"] for one in found if one["TopicArn"].endswith(f"{NAME}-alarms")}


def variables(cloud: Cloud, function: str) -> dict[str, str]:
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=f"{NAME}-{function}")
    found: dict[str, str] = json.loads(json.dumps(configuration["Environment"]["Variables"]))
    return found


def test_rehearsal(cloud: Cloud) -> None:
    # Not the flow: MiniStack gives a secret without a value an empty version in AWSCURRENT; AWS gives it none.
    arguments = ["--account", "main", "--scopes", "sms:message:send", "--only", "infobip", "--only", "aws"]
    ran = subprocess.run(
        [sys.executable, "-m", "rotator", "rehearse", *arguments, "--yes", "--json"],
        env=cloud.environment | {"AWS_DEFAULT_REGION": REGION},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {row["verdict"] for row in json.loads(ran.stdout)["rows"] if row["needed"]} == {"holds"}
    assert {key.enabled for key in cloud.infobip.world.keys() if key.name.startswith("rotator/rehearsal/")} == {False}
