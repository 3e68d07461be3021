"""A key that an emergency ended lives on in no grace, whatever its labels say until the next sweep."""

from __future__ import annotations

from tests.cli.local_stack import Stack


def test_a_key_that_is_dead_is_not_said_to_be_in_its_grace(stack: Stack) -> None:
    old = stack.seed()["prod/sms/otp"].id
    named = f"key {old[:4]}…{old[-4:]}"
    killed = ("revoke", "--secret", "prod/sms/otp", "--reason", "x", "--strategy", "revoke-only", "--yes")
    assert stack.run(*killed).code == 0
    swept = " ".join(stack.run("run", "--secret", "prod/sms/otp").out.split())
    assert f"is in use (key-disabled); {named} does not work any more" in swept
    status = " ".join(stack.run("status", "--secret", "prod/sms/otp").out.split())
    assert "main · 1 ok" in status
    assert f"{named} is disabled; the next sweep removes its labels" in status
    assert "retires" not in status
    (state,) = stack.run("status", "--secret", "prod/sms/otp", "--json").document["secrets"]
    assert (state["state"], state["retiring"], state["next_action"]) == ("ok", [], "revoke")
    listed = " ".join(stack.run("inventory", "--all").out.split())
    assert "retiring disabled prod/sms/otp; disabled already; its labels go at the next sweep" in listed
    assert stack.run("run", "--secret", "prod/sms/otp").code == 0
    assert "retiring" not in stack.run("inventory", "--all").out
