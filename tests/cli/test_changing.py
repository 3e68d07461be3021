"""Commands that change something: run, rotate, adopt; and their audit."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from rotator.sandbox.aws import consumer_value
from tests.cli.local_stack import Stack
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

RESULT = {"kind", "secret", "key_id", "reason", "due_at", "deadline", "version_id", "detail", "outcome", "error"}


def test_run_does_what_plan_said(stack: Stack, tmp_path: Path) -> None:
    keys = stack.seed()
    stack.client.untag_resource(SecretId="prod/legacy", TagKeys=["rotator:grace"])
    planned = stack.run("plan", "--json").document["accounts"][0]["actions"]
    file = tmp_path / "audit.jsonl"
    ran = stack.run("run", "--json", "--audit-file", str(file), env={"ROTATOR_TRIGGER": "schedule"})
    assert ran.code == 0
    (account,) = ran.document["accounts"]
    assert account.keys() == {"account", "quota", "actions", "skipped", "alerts", "results"}
    results = account["results"]
    assert [(r["kind"], r["secret"]) for r in results] == [(a["kind"], a["secret"]) for a in planned]
    assert all(r["outcome"] == "done" and r["error"] is None for r in results)
    assert all(r.keys() - {"new_key_id", "new_version_id"} == RESULT for r in results)
    otp = next(r for r in results if r["secret"] == "prod/sms/otp")
    value = json.loads(consumer_value(stack.client, "prod/sms/otp"))
    assert value["key_id"] == otp["new_key_id"] != keys["prod/sms/otp"].id
    assert stack.infobip.authenticates(value["api_key"])
    assert ran.document["results"] == [{"account": "main", **r} for r in results]
    # stderr: nothing but JSON lines, the audit among them, the same as in the file
    audit = [line for line in ran.lines if "seq" in line]
    assert len(ran.lines) == len(ran.err.splitlines())
    assert [json.loads(line) for line in file.read_text().splitlines()] == audit
    assert {line["trigger"] for line in audit} == {"schedule"}
    intact = stack.run("audit", "verify", str(file))
    assert intact.code == 0
    assert str(file) in intact.out.replace("\n", "")
    again = stack.run("run", "--secret", "prod/sms/otp", "--json")
    assert (again.code, again.document["results"]) == (0, [])


def test_run_for_people_names_what_failed(stack: Stack) -> None:
    stack.seed()
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, method="POST", path="/settings/2/api-keys", status=403))
    ran = stack.run("run")
    assert ran.code == 1
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    words = " ".join(ran.out.split())
    assert "failed rotate prod/new" in words
    assert "Account Manager" in words  # the fix
    assert "1 failed" in words
    assert "`rotator status`" in words


def test_run_with_something_to_fix_is_done(stack: Stack) -> None:
    """A wrong tag of one secret must not hide, sweep by sweep, whether the others are rotated."""
    stack.seed()
    ran = stack.run("run")
    words = " ".join(ran.out.split())
    assert (ran.code, "1 error" in words, "failed" in words) == (0, True, False)
    assert "prod/legacy misconfigured" in words
    assert stack.run("run", "--secret", "prod/legacy", "--json").code == 0


def test_dry_run_changes_nothing(stack: Stack) -> None:
    stack.seed()
    before = stack.state()
    asked = stack.run("run", "--dry-run")
    assert asked.code == 0
    assert "3 to rotate" in asked.out
    by_setting = stack.run("run", "--json", env={"ROTATOR_DRY_RUN": "true"})
    assert by_setting.document["results"] == []
    assert by_setting.document["accounts"][0]["actions"]
    assert stack.state() == before


def test_rotate_adopts_first(stack: Stack) -> None:
    keys = stack.seed()
    ran = stack.run("rotate", "prod/voice/alerts", "--reason", "vendor left", "--json")
    assert ran.code == 0
    assert [r["kind"] for r in ran.document["results"]] == ["label", "rotate"]
    new = ran.document["results"][1]["new_key_id"]
    assert consumer_value(stack.client, "prod/voice/alerts") == stack.infobip.key(new).value
    assert stack.infobip.authenticates(keys["prod/voice/alerts"].value)  # its grace has only begun
    audit = [line for line in ran.lines if line["event"] == "secret.promoted" and line["outcome"] == "success"]
    assert (audit[0]["trigger"], audit[0]["reason"]) == ("manual", "vendor left")


def test_deferred_rotate_is_failure(stack: Stack) -> None:
    stack.seed()
    faults_of(stack.infobip).add(Fault(FaultKind.THROTTLE, method="POST", path="/settings/2/api-keys", count=None))
    ran = stack.run("rotate", "prod/sms/otp", "--reason", "test")
    assert ran.code == 1
    assert "prod/sms/otp" in ran.sentence
    assert "next sweep" not in ran.sentence, "no sweep repeats what was requested and is not due"
    assert "deferred" in ran.out


def test_rotate_that_moves_names_old_key(stack: Stack) -> None:
    """No sweep revokes it: it is in the other Infobip account."""
    first = stack.account("main")
    stack.account("other")
    key = stack.secret("prod/sms", first, scopes="sms:manage")
    stack.client.tag_resource(SecretId="prod/sms", Tags=[{"Key": "rotator:account", "Value": "other"}])
    ran = stack.run("rotate", "prod/sms", "--reason", "moved")
    assert (ran.code, stack.infobip.authenticates(key.value)) == (0, True)
    words = " ".join(ran.out.split())
    assert f"rotator revoke --key-id {key.id} --account " in words
    assert "rotator status" not in words


def test_adopt_and_adopt_again(stack: Stack) -> None:
    keys = stack.seed()
    key_id = keys["prod/voice/alerts"].id
    wrong = stack.run("adopt", "prod/voice/alerts", "--key-id", keys["prod/sms/otp"].id)
    assert wrong.code == 1
    assert "prod/voice/alerts" in wrong.sentence
    done = stack.run("adopt", "prod/voice/alerts", "--key-id", key_id)
    assert (done.code, f"key {key_id[:4]}…{key_id[-4:]}" in done.out) == (0, True)
    versions = stack.client.describe_secret(SecretId="prod/voice/alerts")["VersionIdsToStages"]
    assert any(f"rotator:key:{key_id}" in labels for labels in versions.values())
    before = stack.state()
    assert stack.run("adopt", "prod/voice/alerts").code == 0
    assert stack.state() == before


def test_audit_file_that_was_tampered_with(stack: Stack, tmp_path: Path) -> None:
    stack.seed()
    file = tmp_path / "audit.jsonl"
    assert stack.run("--audit-file", str(file), "rotate", "prod/sms/otp", "--reason", "test").code == 0
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], *lines[3:]]))
    ran = stack.run("audit", "verify", str(file), "--json")
    assert ran.code == 1
    assert ran.document["ok"] is False
    assert {problem["kind"] for problem in ran.document["problems"]} >= {"missing"}
    assert all(problem["line"] > 0 for problem in ran.document["problems"])
    told = stack.run("audit", "verify", str(file))
    words = " ".join(told.out.split())
    assert (told.code, "NOT intact" in words, "line 3" in words) == (1, True, True)


def test_rollback_shows_current_and_next(stack: Stack) -> None:
    keys = stack.seed()
    old = keys["prod/sms/otp"]
    assert stack.run("rotate", "prod/sms/otp", "--reason", "test").code == 0
    ran = stack.run("rollback", "prod/sms/otp", "--reason", "a scope is missing", "--dry-run")
    assert (ran.code, "rotator:hold" in ran.out) == (0, True), "what comes next is known before"
    ran = stack.run("rollback", "prod/sms/otp", "--reason", "a scope is missing")
    assert ran.code == 0
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    words = " ".join(ran.out.split())
    assert f"key {old.id[:4]}…{old.id[-4:]} current " in words
    assert "(expiring, " in words  # four days are left
    assert "rotator:hold" in words
    assert json.loads(consumer_value(stack.client, "prod/sms/otp"))["api_key"] == old.value
    (line,) = [line for line in ran.lines if line["event"] == "secret.rolled_back" and line["outcome"] == "success"]
    assert (line["reason"], line["trigger"]) == ("a scope is missing", "manual")
    before = stack.state()
    again = stack.run("rollback", "prod/sms/otp", "--reason", "again")
    assert stack.run("rollback", "prod/sms/otp", "--reason", "again", "--json").document["already"] is True
    assert again.code == 0
    assert stack.state() == before
    # What it offers can be copied.
    newer = shlex.split(again.out[again.out.index("rotator rollback") :])
    assert newer[:4] == ["rotator", "rollback", "prod/sms/otp", "--key-id"]
    assert stack.run(*newer[1:]).code == 0
    assert json.loads(consumer_value(stack.client, "prod/sms/otp"))["key_id"] == newer[4]


def test_rollback_as_json(stack: Stack) -> None:
    keys = stack.seed()
    stack.run("rotate", "prod/billing/sms", "--reason", "test")
    document = stack.run("rollback", "prod/billing/sms", "--reason", "test", "--json").document
    assert document["key_id"] == keys["prod/billing/sms"].id != document["retired"]["key_id"]
    assert document["due"] is None
    assert (document["already"], document["dry_run"]) == (False, False)
    stamp = document["retired"]["revoke_at"].replace("-", "").replace(":", "")
    versions = stack.client.describe_secret(SecretId="prod/billing/sms")["VersionIdsToStages"]
    assert f"rotator:retire:{document['retired']['key_id']}:{stamp}" in versions[document["retired"]["version_id"]]
    assert "AWSCURRENT" in versions[document["version_id"]]
