"""Emergency revocation from the command line."""

from __future__ import annotations

import json

from rotator.sandbox.aws import consumer_value
from tests.cli.local_stack import Stack

FIELDS = {
    "account",
    "strategy",
    "kills",
    "replaced",
    "notes",
    "confirmed",
    "steps",
    "errors",
    "run_id",
    "incident",
}


def test_without_yes_it_is_shown_and_nothing_happens(stack: Stack) -> None:
    keys = stack.seed()
    before = stack.state()
    otp = keys["prod/sms/otp"].id
    ran = stack.run("revoke", "--secret", "prod/sms/otp", "--reason", "pasted in a ticket")
    assert ran.code == 2
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert f"key {otp[:4]}…{otp[-4:]}  current, in use since" in ran.out
    assert "puts a new key into prod/sms/otp first (replace-first)" in ran.out
    assert ran.out.endswith("Add --yes to do it.\n")
    document = stack.run("revoke", "--secret", "prod/sms/otp", "--reason", "x", "--json").document
    assert document.keys() == FIELDS
    assert (document["confirmed"], document["steps"]) == (False, [])
    assert [(revocation["key_id"], revocation["role"]) for revocation in document["kills"]] == [(otp, "current")]
    assert stack.state() == before


def test_with_yes_the_old_key_is_dead_and_the_new_one_works(stack: Stack) -> None:
    keys = stack.seed()
    old = keys["prod/sms/otp"]
    options = ("--reason", "leak", "--incident", "INC-4711", "--yes", "--json")
    ran = stack.run("revoke", "--secret", "prod/sms/otp", *options)
    assert ran.code == 0
    document = ran.document
    assert document.keys() == FIELDS
    assert (document["account"], document["strategy"], document["incident"]) == ("main", "replace-first", "INC-4711")
    assert document["replaced"] == ["prod/sms/otp"]
    assert document["errors"] == []
    steps = document["steps"]
    assert all(step.keys() == {"what", "secret", "key_id", "seconds", "note", "ok"} for step in steps)
    assert [step["what"] for step in steps] == ["created", "promoted", "revoked"]
    assert steps[-1]["key_id"] == old.id
    assert "401" in steps[-1]["note"]
    assert not stack.world.authenticates(old.value)
    assert stack.world.authenticates(json.loads(consumer_value(stack.client, "prod/sms/otp"))["api_key"])
    audit = [line for line in ran.lines if "seq" in line]
    assert {line["trigger"] for line in audit} == {"emergency"}
    assert {line["run_id"] for line in audit} == {document["run_id"]}
    assert {line["incident"] for line in audit} == {"INC-4711"}


def test_a_leaked_value_comes_by_stdin_and_is_never_said(stack: Stack) -> None:
    keys = stack.seed()
    leaked = keys["prod/billing/sms"]
    ran = stack.run("revoke", "--leaked-key-stdin", "--reason", "leak", "--yes", stdin=f"  {leaked.value}\n")
    assert ran.code == 0
    assert not stack.world.authenticates(leaked.value)
    assert f"revoked   key {leaked.id[:4]}…{leaked.id[-4:]}" in ran.out
    assert "prod/billing/sms has a new key. 1 key is dead. Recorded as run" in " ".join(ran.out.split())


def test_one_key_without_a_replacement(stack: Stack) -> None:
    keys = stack.seed()
    key = keys["prod/sms/otp"]
    by_key = ("revoke", "--key-id", key.id, "--account", "main", "--reason", "x", "--strategy", "revoke-only")
    ran = stack.run(*by_key, "--yes")
    assert (ran.code, stack.world.authenticates(key.value)) == (0, False)
    assert "created" not in ran.out


def test_a_key_that_is_not_ours_is_not_killed(stack: Stack) -> None:
    stack.seed()
    foreign = next(key for key in stack.world.keys() if key.name == "made by hand in the portal")
    before = stack.state()
    ran = stack.run("revoke", "--key-id", foreign.id, "--account", "main", "--reason", "x", "--yes")
    assert ran.code == 1
    assert "not managed here" in ran.sentence
    assert "portal" in ran.sentence
    assert stack.state() == before


def test_dry_run_shows_the_same_and_is_no_failure(stack: Stack) -> None:
    stack.seed()
    before = stack.state()
    asked = ("revoke", "--secret", "prod/sms/otp", "--reason", "leak")
    shown = stack.run(*asked)
    dry = stack.run(*asked, "--dry-run")
    assert (shown.code, dry.code) == (2, 0)
    assert dry.out.splitlines()[:-1] == shown.out.splitlines()[:-1]
    assert stack.run(*asked, "--dry-run", "--yes").code == 2
    assert stack.state() == before
