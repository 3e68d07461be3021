"""The IAM policies to copy (docs/iam): what the roles of the deployment have, and for readers no more than reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from rotator.ports import REHEARSAL_PREFIX
from tests.cli.denying_proxy import DenyingProxy, serve_proxy
from tests.cli.local_stack import Stack as LocalStack
from tests.deploy.actions import ANY, BUS, CALLED, KEY, MANAGEMENT, QUEUE
from tests.deploy.policies import allowed, statements
from tests.deploy.recording import recording

FOLDER = Path(__file__).parents[2] / "docs" / "iam"
INVOKE = ("lambda:InvokeFunction", ANY)
READ = {"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:ListSecretVersionIds"}


def policy(name: str) -> frozenset[tuple[str, str]]:
    """Actions and what they are allowed on."""
    return allowed(statements((FOLDER / f"{name}.json").read_text()))


def test_daemon_may_do_what_worker_does() -> None:
    assert policy("daemon") == CALLED["worker"]


def test_member_role_reaches_managed_secrets() -> None:
    """Threat: another principal of the rotator's account uses the member role. It needs the external id."""
    template = yaml.safe_load((FOLDER.parent / "examples" / "member-account.yaml").read_text())
    role = template["Resources"]["Role"]["Properties"]
    raw = [{**each, "Resource": str(each["Resource"])} for each in role["Policies"][0]["PolicyDocument"]["Statement"]]
    found = statements({"Version": "2012-10-17", "Statement": raw})
    assert {one.roles for one in found if "secretsmanager:GetSecretValue" in one.actions} == {frozenset({"key"})}
    done = {action for action, of in CALLED["revoke"] if of != BUS}
    assert frozenset().union(*(one.actions for one in found)) == done
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}


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
