"""What each command makes of a name that nobody knows, and of an AWS account that it has no credentials for."""

from __future__ import annotations

import json

import pytest
from write_schemas import documented

from rotator.cli.app import cli
from tests.cli.local_stack import Stack

SECRET, ACCOUNT, KEY = "prod/sms/opt", "mian", "0123456789ABCDEF0123456789ABCDEF"
R = ("--reason", "test")
UNKNOWN = {
    "adopt secret": ("adopt", SECRET),
    "consumers secret": ("consumers", SECRET),
    "plan secret": ("plan", "--secret", SECRET),
    "revoke secret": ("revoke", "--secret", SECRET, *R),
    "rollback secret": ("rollback", SECRET, *R),
    "rotate secret": ("rotate", SECRET, *R),
    "run secret": ("run", "--secret", SECRET),
    "status secret": ("status", "--secret", SECRET),
    "forecast account": ("forecast", "--account", ACCOUNT),
    "inventory account": ("inventory", "--account", ACCOUNT),
    "plan account": ("plan", "--account", ACCOUNT),
    "rehearse account": ("rehearse", "--account", ACCOUNT, "--scopes", "sms:message:send"),
    "report account": ("report", "--account", ACCOUNT, "-o", "report.html"),
    "revoke account": ("revoke", "--key-id", KEY, "--account", ACCOUNT, *R),
    "run account": ("run", "--account", ACCOUNT),
    "status account": ("status", "--account", ACCOUNT),
    "revoke key": ("revoke", "--key-id", KEY, "--account", "main", *R, "--yes"),
    "rollback key": ("rollback", "prod/sms/otp", "--key-id", KEY, *R),
}
WITHOUT_AWS = {"audit verify", "completion", "demo", "sandbox"}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_name_is_exit_1(stack: Stack, case: str) -> None:
    stack.seed()
    before = stack.state()
    ran = stack.run(*UNKNOWN[case])
    assert (ran.code, len([line for line in ran.lines if line.get("log") == "rotator"])) == (1, 1)
    assert stack.state() == before
    close = {SECRET: "prod/sms/otp", ACCOUNT: "main"}
    named = next((name for name in close if name in UNKNOWN[case]), KEY)
    assert named in ran.sentence
    assert close.get(named, KEY) in ran.sentence, "what was probably meant"


@pytest.mark.parametrize("case", [case for case in UNKNOWN if case.endswith("secret")])
def test_arn_of_other_region_says_so(stack: Stack, case: str) -> None:
    stack.seed()
    arn = f"arn:aws:secretsmanager:us-west-2:123456789012:secret:{SECRET}-AbCdEf"
    ran = stack.run(*(arn if word == SECRET else word for word in UNKNOWN[case]))
    assert ran.code == 1
    assert {"us-west-2", "eu-central-1", "--region"} <= set(
        ran.sentence.replace(",", "").replace(":", "").replace(".", "").split()
    )


@pytest.mark.parametrize("command", sorted(dict(documented(cli)).keys() - WITHOUT_AWS))
def test_no_credentials_is_exit_2(stack: Stack, command: str) -> None:
    evidence = ("evidence", "--from", "2026-09-01", "--to", "2026-09-01", "-o", "evidence")
    arguments = next((case for case in [*UNKNOWN.values(), evidence] if case[0] == command), (command,))
    gone = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
    ran = stack.run(*arguments, env=gone | {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"})
    assert ran.code == 2
    assert "AWS_PROFILE" in ran.sentence + ran.out


@pytest.mark.parametrize("command", ["adopt", "consumers", "plan", "revoke", "rollback", "rotate"])
def test_unmanaged_secret_is_exit_1(stack: Stack, command: str) -> None:
    stack.seed()
    stack.client.create_secret(Name="prod/other", SecretString="text")
    for name in ("prod/other", "rotator/main"):
        target = ("--secret", name) if command in ("plan", "revoke") else (name,)
        ran = stack.run(command, *target, *(R if command in ("revoke", "rollback", "rotate") else ()))
        assert (ran.code, name in ran.sentence) == (1, True)


@pytest.mark.parametrize("command", ["doctor", "forecast", "inventory", "plan", "run", "status"])
def test_region_without_secrets_is_named(stack: Stack, command: str) -> None:
    """Threat: a wrong region looks like a fleet on which nothing is due. A warning names the region."""
    stack.seed()
    elsewhere = stack.run(command, env={"AWS_REGION": "eu-west-3"})
    assert elsewhere.code == (1 if command == "doctor" else 0)
    assert "region eu-west-3" in elsewhere.out
    assert "eu-west-3 or eu-west-1" in stack.run(command, env={"ROTATOR_STORES": "eu-west-3 eu-west-1"}).out
    assert stack.run(command, env={"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}).code == 2


def test_broken_aws_file_is_named(stack: Stack, tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "config"
    path.write_text(
        "[default]\nregion = eu-central-1\naws_secret_access_key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
    )
    ran = stack.run("plan", env={"AWS_CONFIG_FILE": str(path)})
    assert ran.code == 2
    assert str(path) in ran.sentence
    assert "line 3" in ran.sentence
    assert "wJalr" not in ran.err + ran.out


def test_cut_key_id_names_short_form(stack: Stack) -> None:
    cut = stack.seed()["prod/sms/otp"].id[:4]
    ran = stack.run("revoke", "--key-id", cut, "--account", "main", *R)
    assert (ran.code, f"{cut}..." in ran.sentence) == (1, True)


def test_value_in_arguments_keeps_log_format(stack: Stack) -> None:
    value = stack.seed()["prod/sms/otp"].value
    for log_format in ("json", "console"):
        ran = stack.run("--log-format", log_format, "plan", "--secret", value)
        assert (ran.code, ran.err.startswith("{")) == (2, log_format == "json")


def test_dry_runs_change_nothing(stack: Stack) -> None:
    keys = stack.seed()
    assert "expires" in (text := stack.run("rotate", "prod/sms/otp", *R, "--dry-run").out)
    assert f"key {keys['prod/sms/otp'].id[:4]}…" in text, "which key expires"
    for arguments in (("rotate", "prod/sms/otp"), ("rotate", "prod/billing/sms"), ("rollback", "prod/billing/sms")):
        before = stack.state()
        planned = stack.run(*arguments, *R, "--dry-run", "--json")
        assert (planned.code, stack.state()) == (0, before)
        assert not [line for line in planned.audit if line["outcome"] == "attempt"]
        done = stack.run(*arguments, *R, "--json")
        assert done.code == 0
        if arguments[0] == "rotate":
            (part,) = planned.document["accounts"]
            did = [(each["kind"], each["key_id"], each["reason"]) for each in done.document["results"]]
            assert [(each["kind"], each["key_id"], each["reason"]) for each in part["actions"]] == did
        else:
            same = ("key_id", "version_id", "expires_at", "changed_fields")
            assert {name: planned.document[name] for name in same} == {name: done.document[name] for name in same}
            assert (planned.document["dry_run"], done.document["dry_run"]) == (True, False)


def test_dry_run_is_refused_as_real_one(stack: Stack) -> None:
    keys = stack.seed()
    text = json.dumps({"api_key": keys["prod/billing/sms"].value, "other": ""})
    full = text.replace('""', f'"{"x" * (65_536 - len(text))}"')  # no room for the fields of a replacement
    stack.client.put_secret_value(SecretId="prod/billing/sms", SecretString=full)
    assert [stack.run("rotate", "prod/billing/sms", *R, *more).code for more in (("--dry-run",), ())] == [1, 1]
    stack.tag("prod/sms/otp", hold="frozen")
    for command in ("rotate", "rollback"):
        said = [stack.run(command, "prod/sms/otp", *R, *more).sentence for more in (("--dry-run",), ())]
        assert said[0] == said[1] != ""


def test_plan_names_run_only_for_work(stack: Stack) -> None:
    stack.seed()
    for command in (("plan",), ("run", "--dry-run")):
        assert "`rotator run`" in stack.run(*command).out
    assert "`rotator run`" not in stack.run("plan", "--at", "+1d").out, "a sweep now does something else"
    stack.run("run")
    assert json.loads(stack.run("plan", "--json").out)["accounts"][0]["actions"] == []
    for command in (("plan",), ("run", "--dry-run")):
        assert "`rotator run`" not in stack.run(*command).out
