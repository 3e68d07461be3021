"""The IAM policies to copy (docs/iam): what the roles of the deployment have, and for readers no more than reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from rotator.ports import REHEARSAL_PREFIX
from tests.cli.denying_proxy import DenyingProxy, serve_proxy
from tests.cli.local_stack import Stack as LocalStack
from tests.deploy.actions import ANY, BUS, CALLED, KEY, MANAGEMENT, QUEUE
from tests.deploy.cloudformation import PSEUDO, Stack
from tests.deploy.policies import Statement, allowed, statements
from tests.deploy.recording import recording
from tests.deploy.terraform import Applied, apply, offline_terraform

FOLDER = Path(__file__).parents[2] / "docs" / "iam"
INVOKE = ("lambda:InvokeFunction", ANY)
READ = {"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:ListSecretVersionIds"}


def policy(name: str) -> frozenset[tuple[str, str]]:
    """Actions and what they are allowed on."""
    return allowed(statements((FOLDER / f"{name}.json").read_text()))


def test_daemon_may_do_what_worker_does() -> None:
    assert policy("daemon") == CALLED["worker"]


PARAMETERS = {
    "RotatorRoleArn": "arn:aws:iam::999999999999:role/infobip-key-rotator-prod-*",
    "ExternalId": "deployment/1",
    "EventBusArn": "arn:aws:events:eu-central-1:999999999999:event-bus/infobip-key-rotator-prod-stores",
    "SecretKmsKeys": "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    "AdoptionGate": "true",
}
"""The parameters of the member account's template, in the order of the Terraform example's variables."""


def member(known: Mapping[str, str] = PSEUDO, **changed: str) -> Stack:
    template = yaml.safe_load((FOLDER.parent / "examples" / "member-account.yaml").read_text())
    return Stack(template, {**PARAMETERS, **changed}, known)


def inline(stack: Stack, role: str) -> frozenset[Statement]:
    """The statements of one of its roles' policy."""
    return statements(stack.resources("AWS::IAM::Role")[role]["Policies"][0]["PolicyDocument"])


def test_member_role_reaches_managed_secrets() -> None:
    """Threat: another principal of the rotator's account uses the member role. It needs the external id, and a role of
    the rotator's name."""
    found = inline(member(), "Role")
    assert {one.roles for one in found if "secretsmanager:GetSecretValue" in one.actions} == {frozenset({"key"})}
    described = {
        ("secretsmanager:DescribeSecret", ANY),
        *(("kms:" + each, ANY) for each in ("Decrypt", "GenerateDataKey")),
    }
    needed = {pair for pair in CALLED["worker"] if pair[1] not in (BUS, MANAGEMENT)}
    assert allowed(found) == needed | described
    [trust] = member().resources("AWS::IAM::Role")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": "999999999999"}
    assert trust["Condition"] == {
        "ArnLike": {"aws:PrincipalArn": PARAMETERS["RotatorRoleArn"]},
        "StringEquals": {"sts:ExternalId": PARAMETERS["ExternalId"]},
    }
    plain = inline(member(EventBusArn="", SecretKmsKeys="", AdoptionGate="false"), "Role")
    assert allowed(plain) == needed - {("cloudtrail:LookupEvents", ANY)}


def test_member_rule_forwards_label_events(plain_template: Stack) -> None:
    stack = member()
    (rule,) = stack.resources("AWS::Events::Rule").values()
    assert rule["EventPattern"] == plain_template.resources("AWS::Events::Rule")["ChangeRule"]["EventPattern"]
    (target,) = rule["Targets"]
    assert (target["Arn"], target["RoleArn"]) == (PARAMETERS["EventBusArn"], "<ChangeRole.Arn>")
    (one,) = inline(stack, "ChangeRole")
    assert one.actions == {"events:PutEvents"}
    assert one.resources == {PARAMETERS["EventBusArn"]}
    assert member(RotatorRoleArn="").resources("AWS::IAM::Role").keys() == {"ChangeRole"}
    without = member(EventBusArn="")
    assert without.resources("AWS::IAM::Role").keys() == {"Role"}
    assert without.resources("AWS::Events::Rule") == {}


@pytest.mark.parametrize("off", [(), ("RotatorRoleArn",), ("EventBusArn",), ("SecretKmsKeys",)])
def test_member_examples_are_same(tmp_path: Path, off: tuple[str, ...]) -> None:
    offline = offline_terraform()
    if offline is None:
        pytest.skip("needs terraform")
    names = ("rotator_role_arn", "external_id", "event_bus_arn", "secret_kms_key_arns", "adoption_gate")
    variables: dict[str, Any] = dict(zip(names, PARAMETERS.values(), strict=True))
    variables |= {"secret_kms_key_arns": [PARAMETERS["SecretKmsKeys"]], "adoption_gate": True}
    for name in off:
        del variables[names[list(PARAMETERS).index(name)]]
    example = FOLDER.parents[1] / "terraform" / "examples" / "member-account"
    applied = Applied(apply(offline, example, tmp_path / "member", variables))
    partition = applied.values("aws_partition")["current"]["partition"]
    stack = member({**PSEUDO, "AWS::Partition": partition}, **dict.fromkeys(off, ""))
    mine, theirs = stack.resources("AWS::IAM::Role"), applied.values("aws_iam_role")
    policies, pairs = applied.values("aws_iam_role_policy"), {"Role": "rotator", "ChangeRole": "changes"}
    assert {pairs[name] for name in mine} == theirs.keys() == policies.keys()
    for name, role in mine.items():
        other = theirs[pairs[name]]
        assert role["Description"] == other["description"]
        assert statements(role["AssumeRolePolicyDocument"]) == statements(other["assume_role_policy"])
        principals = [
            one["Statement"][0]["Principal"]
            for one in (role["AssumeRolePolicyDocument"], json.loads(other["assume_role_policy"]))
        ]
        assert principals[0] == principals[1]
        assert inline(stack, name) == statements(policies[pairs[name]]["policy"])
    rules = stack.resources("AWS::Events::Rule").values()
    assert [(one["Name"], one["Description"], one["EventPattern"]) for one in rules] == [
        (one["name"], one["description"], json.loads(one["event_pattern"]))
        for one in applied.values("aws_cloudwatch_event_rule").values()
    ]
    targets = applied.values("aws_cloudwatch_event_target").values()
    assert [one["Targets"][0]["Arn"] for one in rules] == [one["arn"] for one in targets]


def test_operator_may_also_invoke_functions() -> None:
    assert policy("operator") == CALLED["worker"] | CALLED["revoke"] | {INVOKE}


def test_reader_changes_nothing() -> None:
    reads = {pair for pair in CALLED["worker"] if pair[0] in READ or pair[1] == ANY}
    assert policy("reader") == reads
    assert not [action for action, _ in policy("reader") if "Put" in action or "Update" in action]


@pytest.mark.parametrize("name", ["reader", "operator", "daemon"])
def test_only_tagged_secrets_are_allowed(name: str) -> None:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    for one in document["Statement"]:
        if one["Resource"] == "*":
            assert "Condition" not in one
        elif "secretsmanager" in one["Resource"]:
            assert one["Condition"].keys() == {"StringEquals"}
    assert {scope for _, scope in policy(name)} <= {ANY, MANAGEMENT, KEY, BUS}
    assert QUEUE not in {scope for _, scope in policy(name)}


@pytest.mark.parametrize(
    "arguments",
    [("plan",), ("status",), ("forecast",), ("inventory",), ("run", "--dry-run"), ("report", "-o", "report.html")],
    ids=lambda arguments: arguments[0],
)
def test_reading_commands_need_reader_rights(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    stack.seed()
    with recording(stack.client, tmp_path) as calls:
        assert stack.run(*arguments).code == 0
    assert calls
    assert calls <= policy("reader")


class Listening(DenyingProxy):
    """Denies nothing, and notes the operations."""

    seen: set[str]

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        self.seen.add(headers["X-Amz-Target"].rpartition(".")[2])
        return super().answer(path, headers, body)


def test_rehearsal_changes_only_its_own(stack: LocalStack) -> None:
    stack.account("main")
    proxy = Listening(stack.aws_url)
    proxy.seen = set()
    with serve_proxy(proxy) as served:
        ran = stack.run(
            *("rehearse", "--account", "main", "--scopes", "sms:message:send", "--yes"),
            env={"AWS_ENDPOINT_URL": served.url},
        )
    assert ran.code == 0
    document: dict[str, Any] = json.loads((FOLDER / "rehearsal.json").read_text())
    anywhere, management, own = document["Statement"]
    granted = {*anywhere["Action"], management["Action"], *own["Action"]}
    assert {f"secretsmanager:{operation}" for operation in proxy.seen} <= granted
    assert {*anywhere["Action"]} == {"secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"}
    assert own["Resource"].endswith(f":secret:{REHEARSAL_PREFIX}*")
