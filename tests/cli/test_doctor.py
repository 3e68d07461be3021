"""What doctor says of permissions and identity, where AWS says no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rotator.aws.iam import simulated_principal
from tests.cli.denying_proxy import DenyingProxy, serve_proxy
from tests.cli.local_stack import Stack

ALLOWED = {"secretsmanager:PutSecretValue": "allowed", "secretsmanager:UpdateSecretVersionStage": "allowed"}


@pytest.fixture
def proxy(stack: Stack) -> Iterator[DenyingProxy]:
    account = stack.account("main")
    stack.secret("app/key", account)
    with serve_proxy(DenyingProxy(stack.aws_url, decisions=dict(ALLOWED))) as made:
        stack.environment["AWS_ENDPOINT_URL"] = made.url
        yield made


def examined(stack: Stack) -> tuple[int, list[dict[str, Any]]]:
    ran = stack.run("doctor", "--json")
    return ran.code, ran.document["checks"]


def of(checks: list[dict[str, Any]], subject: str, level: str) -> list[str]:
    return [check["detail"] for check in checks if (check["subject"], check["level"]) == (subject, level)]


def test_all_is_well(stack: Stack, proxy: DenyingProxy) -> None:
    code, checks = examined(stack)
    assert code == 0
    assert of(checks, "AWS", "ok") == ["eu-central-1, role rotator-sweep"]
    reads, writes = of(checks, "IAM", "ok")
    assert reads.startswith(
        "ListSecrets, DescribeSecret, GetSecretValue, ListSecretVersionIds, BatchGetSecretValue work on app/key"
    )
    assert writes.startswith("PutSecretValue, UpdateSecretVersionStage ")
    (asked,) = proxy.asked
    assert asked["PolicySourceArn"] == ["arn:aws:iam::123456789012:role/rotator-sweep"]
    names = {text for name, (text, *_) in asked.items() if name.endswith("ContextKeyName")}
    assert "secretsmanager:ResourceTag/rotator:role" in names


@pytest.mark.parametrize(
    ("operation", "subject", "level", "named"),
    [
        ("DescribeSecret", "IAM", "fail", "secretsmanager:DescribeSecret app/key"),
        ("ListSecretVersionIds", "IAM", "fail", "secretsmanager:ListSecretVersionIds app/key"),
        ("GetSecretValue", "IAM", "fail", "secretsmanager:GetSecretValue app/key"),
        ("GetSecretValue", "Infobip main", "fail", "GetSecretValue"),
        ("ListSecrets", "Secrets", "fail", "ListSecrets"),
        (
            "SimulatePrincipalPolicy",
            "IAM",
            "warn",
            "PutSecretValue iam:SimulatePrincipalPolicy",
        ),
        ("GetCallerIdentity", "AWS", "ok", "sts:GetCallerIdentity"),
    ],
)
def test_what_is_denied_is_named(
    stack: Stack, proxy: DenyingProxy, operation: str, subject: str, level: str, named: str
) -> None:
    proxy.denied = {operation}
    code, checks = examined(stack)
    assert code == (1 if level == "fail" else 0)
    assert all(name in of(checks, subject, level)[0] for name in named.split())


def test_denied_batch_reads_are_warning(stack: Stack, proxy: DenyingProxy) -> None:
    """Sweeps go on without it, at a call for each secret."""
    proxy.denied = {"BatchGetSecretValue"}
    code, checks = examined(stack)
    assert code == 0
    (check,) = [check for check in checks if (check["subject"], check["level"]) == ("IAM", "warn")]
    assert "secretsmanager:BatchGetSecretValue" in check["detail"]
    assert 'Resource "*"' in check["fix"]
    assert of(checks, "IAM", "ok")[0].startswith("ListSecrets, DescribeSecret, GetSecretValue, ListSecretVersionIds ")


def test_write_that_simulator_denies(stack: Stack, proxy: DenyingProxy) -> None:
    proxy.decisions["secretsmanager:UpdateSecretVersionStage"] = "implicitDeny"
    code, checks = examined(stack)
    assert code == 1
    (failed,) = of(checks, "IAM", "fail")
    assert "secretsmanager:UpdateSecretVersionStage" in failed
    assert "app/key" in failed


@pytest.mark.parametrize(
    ("key", "decision", "found"),
    [("11-22", "allowed", 0), ("11-22", "implicitDeny", 1), ("arn:aws:kms:eu-central-1:1:key/3", "implicitDeny", 1)],
)
def test_kms_key_is_simulated(stack: Stack, proxy: DenyingProxy, key: str, decision: str, found: int) -> None:
    """Its key policy may allow what no IAM policy does, so this is a warning. A read shows kms:Decrypt."""
    stack.client.update_secret(SecretId="app/key", KmsKeyId=key)
    proxy.decisions["kms:GenerateDataKey"] = decision
    code, checks = examined(stack)
    assert (code, len(of(checks, "KMS", "warn"))) == (0, found)
    assert proxy.asked[-1]["ResourceArns.member.1"] == [
        key if key.startswith("arn:") else f"arn:aws:kms:eu-central-1:123456789012:key/{key}"
    ]


def test_other_deployments_keys_are_warning(stack: Stack) -> None:
    account = stack.account("main")
    stack.secret("app/key", account)
    assert stack.run("rotate", "app/key", "--reason", "test").code == 0
    for deployment, warnings in (("default", 0), ("blue", 1)):
        checks = stack.run("doctor", "--json", env={"ROTATOR_DEPLOYMENT": deployment}).document["checks"]
        found = of(checks, "Infobip main", "warn")
        assert len(found) == warnings
        assert all("deployment default" in text for text in found)


HTML = b"<html><body><p>Sign in<br></body></html>"
NO_ANSWERS = {
    "html": (200, HTML),
    "html in place of an error": (403, HTML),
    "empty": (302, b""),
    "foreign xml": (200, b"<Foo><Bar>1</Bar></Foo>"),
    "foreign error": (502, b"<Error><Code>Blocked</Code></Error>"),
    "json": (200, b'{"error": "blocked"}'),
    "half an answer": (
        200,
        b"""<R><GetCallerIdentityResult><Arn/></GetCallerIdentityResult>
<SimulatePrincipalPolicyResult><EvaluationResults/></SimulatePrincipalPolicyResult></R>""",
    ),
}
"""What a proxy or a wrong endpoint answers in place of AWS."""


@pytest.mark.parametrize("body", NO_ANSWERS)
@pytest.mark.parametrize("operation", ["GetCallerIdentity", "SimulatePrincipalPolicy"])
def test_other_endpoint_is_warning(stack: Stack, proxy: DenyingProxy, operation: str, body: str) -> None:
    proxy.pages[operation] = (*NO_ANSWERS[body], "text/html")
    code, checks = examined(stack)
    subject, name = ("AWS", "STS") if operation == "GetCallerIdentity" else ("IAM", "IAM")
    (check,) = [check for check in checks if (check["subject"], check["level"]) == (subject, "warn")]
    assert code == 0
    if body != "foreign error":  # which is an error as AWS writes them
        assert all(part in check["detail"] for part in (operation, proxy.url, name))
        assert f"AWS_ENDPOINT_URL_{name}" in check["fix"]
        assert "proxy" in check["fix"]
    assert of(checks, "IAM", "warn")[0].startswith("PutSecretValue and UpdateSecretVersionStage ")


@pytest.mark.parametrize("body", ["html", "json"])
def test_page_where_sts_lends_role_is_no_bug(stack: Stack, proxy: DenyingProxy, tmp_path: Path, body: str) -> None:
    proxy.pages["AssumeRoleWithWebIdentity"] = (*NO_ANSWERS[body], "text/html")
    (tmp_path / "token").write_text("a token")
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
    role = {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/rotator",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    ran = stack.run("doctor", "--json", env=dict.fromkeys(keys) | role)
    checks = ran.document["checks"]
    assert (ran.code, "Sign in" in ran.err) == (1, False)
    assert of(checks, "AWS", "fail") + of(checks, "AWS", "warn")
    assert of(checks, "Secrets", "fail")


@pytest.mark.parametrize(
    ("status", "name", "level"), [(503, "ServiceUnavailable", "warn"), (403, "InvalidClientTokenId", "fail")]
)
def test_sts_outage_accuses_no_credentials(
    stack: Stack, proxy: DenyingProxy, status: int, name: str, level: str
) -> None:
    answer = f"<ErrorResponse><Error><Code>{name}</Code><Message>x</Message></Error></ErrorResponse>"
    proxy.pages["GetCallerIdentity"] = (status, answer.encode(), "text/xml")
    code, checks = examined(stack)
    assert code == (1 if level == "fail" else 0)
    assert f"({name})" in of(checks, "AWS", level)[0]


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        ("arn:aws:sts::123456789012:assumed-role/sweep/i-0ab", "arn:aws:iam::123456789012:role/sweep"),
        ("arn:aws-cn:iam::123456789012:user/ops/ann", "arn:aws-cn:iam::123456789012:user/ops/ann"),
        ("arn:aws:iam::123456789012:root", None),
        ("arn:aws:sts::123456789012:federated-user/ann", None),
        ("", None),
    ],
)
def test_whom_simulator_can_be_asked_about(caller: str, principal: str | None) -> None:
    assert simulated_principal(caller) == principal


@pytest.mark.parametrize("denied", [True, False])
def test_readers_are_looked_up_for_tag(stack: Stack, proxy: DenyingProxy, denied: bool) -> None:
    _, checks = examined(stack)
    assert not [check for check in checks if check["subject"] == "CloudTrail"]
    stack.client.tag_resource(SecretId="app/key", Tags=[{"Key": "rotator:gate", "Value": "adoption"}])
    proxy.denied = {"LookupEvents"} if denied else set()
    code, checks = examined(stack)
    (check,) = [check for check in checks if check["subject"] == "CloudTrail"]
    assert (code, check["level"]) == (0, "warn" if denied else "ok")
    assert "cloudtrail:LookupEvents" in check["detail"]
    assert ("Grant cloudtrail:LookupEvents" in str(check["fix"])) is denied
