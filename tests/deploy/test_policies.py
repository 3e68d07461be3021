"""Roles: both deployments allow the same, and that is what the code calls, narrowed as far as AWS allows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.actions import ANY, BUS, CALLED, FUNCTIONS, QUEUE, SERVICE, STORES
from tests.deploy.cloudformation import PSEUDO, Stack
from tests.deploy.policies import Statement, allowed, statements
from tests.deploy.terraform import Applied

UNNARROWED = {
    "secretsmanager:ListSecrets",
    "secretsmanager:BatchGetSecretValue",
    "cloudtrail:LookupEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""AWS knows no resources for these."""


def _of_template(stack: Stack, function: str) -> frozenset[Statement]:
    role = stack.resources("AWS::IAM::Role")[f"{function.capitalize()}Role"]
    (policy,) = role["Policies"]
    assert "ManagedPolicyArns" not in role
    return statements(policy["PolicyDocument"])


@pytest.mark.parametrize("function", [*FUNCTIONS, "schedule"])
def test_both_deployments_have_same_policies(both: tuple[Stack, Applied], function: str) -> None:
    stack, applied = both
    policies = applied.values("aws_iam_role_policy")
    assert _of_template(stack, function) == statements(policies[function]["policy"])


@pytest.mark.parametrize("function", [*FUNCTIONS, "schedule"])
def test_deployments_trust_same_services(both: tuple[Stack, Applied], function: str) -> None:
    stack, applied = both
    mine = stack.resources("AWS::IAM::Role")[f"{function.capitalize()}Role"]["AssumeRolePolicyDocument"]
    theirs = applied.values("aws_iam_role")[function]["assume_role_policy"]
    assert statements(mine) == statements(theirs)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_allows_only_what_code_calls(full_template: Stack, function: str) -> None:
    pairs = allowed(_of_template(full_template, function))
    mine = {(action, scope) for action, scope in pairs if action not in SERVICE[function]}
    assert mine == CALLED[function] | STORES[function]
    assert {action for action, _ in pairs - mine} == SERVICE[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_allows_less_without_options(plain_template: Stack, function: str) -> None:
    actions = {action for action, _ in allowed(_of_template(plain_template, function))}
    assert not [action for action in actions if action.startswith(("kms:", "xray:", "events:", "cloudtrail:", "sts:"))]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rights_are_as_narrow_as_aws_can(full_template: Stack, function: str) -> None:
    for one in _of_template(full_template, function):
        for action in one.actions:
            assert (one.resources == {"*"}) == (action in UNNARROWED), (one.sid, action)
            assert "*" not in action
        if any(action.startswith("secretsmanager:") and action not in UNNARROWED for action in one.actions):
            # An event does not say whether its secret is managed.
            assert one.roles in ({"management"}, {"key"}) or one.actions == {"secretsmanager:DescribeSecret"}, one.sid
        if any(action.startswith("kms:") for action in one.actions):
            assert [variable for _, variable, _ in one.conditions] == ["kms:ViaService"]


def test_changes_can_be_left_out(template: dict[str, Any]) -> None:
    stack = Stack(template, {"VerifyChanges": "false"}, PSEUDO)
    assert stack.resources("AWS::Events::Rule") == {}
    assert "secretsmanager:DescribeSecret" not in {action for action, _ in allowed(_of_template(stack, "sweep"))}
    assert "ChangePermission" not in stack.resources("AWS::Lambda::Permission")


def test_who_can_change_secret() -> None:
    writers = {name for name, pairs in CALLED.items() if ("secretsmanager:PutSecretValue", "key") in pairs}
    assert writers == {"worker", "revoke", "rotation"}
    assert {scope for pairs in CALLED.values() for _, scope in pairs} == {ANY, "management", "key", QUEUE, BUS}
    # Nothing ever writes the credentials that may manage keys.
    management = {action for pairs in CALLED.values() for action, scope in pairs if scope == "management"}
    assert management == {"secretsmanager:GetSecretValue"}
