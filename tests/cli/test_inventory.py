"""``inventory`` as its users run it."""

from __future__ import annotations

from rotator.sandbox.aws import create_managed
from rotator.sandbox.launcher import UNMANAGED_KEY
from tests import leaks
from tests.cli.local_stack import Stack


def test_every_key_and_whose_it_is(stack: Stack) -> None:
    keys = stack.seed()
    before = stack.state()
    ran = stack.run("inventory")
    assert ran.code == 0
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert "main · 8 keys: 7 current, 1 unknown" in ran.out
    words = " ".join(ran.out.split())
    otp = keys["prod/sms/otp"].id
    assert f"{otp[:4]}…{otp[-4:]} current" in words
    assert f'named "{UNMANAGED_KEY}"' in words
    (account,) = stack.run("inventory", "--json").document["accounts"]
    assert {key["key_id"]: key["kind"] for key in account["keys"]}[otp] == "current"
    assert {key["kind"] for key in account["keys"]} == {"current", "unknown"}
    assert stack.state() == before


def test_disabled_and_hostile_in_every_form(stack: Stack) -> None:
    account = stack.account("main")
    world = stack.infobip
    hostile = world.add_key(account, '=HYPERLINK("http://x")\x1b[2J\u202e')
    dead = world.add_key(account, "dead")
    world.change_key(dead.id, enabled=False)
    assert "1 disabled" in stack.run("inventory").out
    (unseen,) = stack.run("inventory", "--json").document["accounts"]
    assert unseen["disabled_not_shown"] == 1
    for arguments in ((), ("--all",), ("--json", "--all")):
        ran = stack.run("inventory", *arguments)
        assert ran.code == 0
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out
    (listed,) = stack.run("inventory", "--json", "--all").document["accounts"]
    found = {key["key_id"]: key for key in listed["keys"]}
    assert found[hostile.id]["name"] == hostile.name
    assert found[dead.id]["enabled"] is False


def test_empty_secret_and_silent_account(stack: Stack) -> None:
    stack.account("main")
    create_managed(stack.client, "prod/rubbish", "main", leaks.register("no-such-key-anywhere"))
    stack.account("second", password="not-the-password")
    told = stack.run("inventory")
    assert told.code == 1
    words = " ".join(told.out.split())
    assert "prod/rubbish unknown-key" in words
    assert " second " in words
    document = stack.run("inventory", "--json").document
    assert [error["account"] for error in document["errors"]] == ["second"]
    assert [note["kind"] for note in document["accounts"][0]["secrets"]] == ["secret-unknown-key"]
    only = stack.run("inventory", "--account", "main")
    assert only.code == 0
    assert stack.run("inventory", "--account", "third").code == 1
