"""Commands that only look: plan, status, doctor."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest

from tests.cli.local_stack import Stack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def fits(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


TWO_DAYS_LATE = {"prod/sms/otp", "prod/new", "prod/email/news", "prod/voice/alerts"}
"""A rotation, a first key and two adoptions of the seed, if no sweep runs for two days."""


def test_plan_json_has_contracts_fields(stack: Stack) -> None:
    keys = stack.seed()
    stack.clock.advance(timedelta(days=2))  # no sweep ran here for two days
    before = stack.state()
    ran = stack.run("plan", "--json")
    assert ran.code == 0  # prod/legacy has a tag that can't be read, which is an alert of its own
    assert ran.err == ""
    assert ran.document.keys() == {"generated_at", "accounts"}
    assert TIME.fullmatch(ran.document["generated_at"])
    (account,) = ran.document["accounts"]
    assert account.keys() == {"account", "quota", "actions", "skipped", "alerts"}
    assert account["quota"].keys() == {"creates_used", "creates_limit", "updates_used", "updates_limit", "reserve"}
    assert (account["quota"]["creates_limit"], account["quota"]["reserve"]) == (40, 8)
    named = {"kind", "secret", "key_id", "reason", "due_at", "deadline", "version_id", "detail"}
    assert all(action.keys() == named for action in account["actions"])
    by_secret = {(action["kind"], action["secret"]): action for action in account["actions"]}
    assert set(by_secret) == {
        ("label", "prod/email/news"),
        ("label", "prod/voice/alerts"),
        ("rotate", "prod/new"),
        ("rotate", "prod/email/news"),
        ("rotate", "prod/sms/otp"),
    }
    otp = by_secret["rotate", "prod/sms/otp"]
    assert otp["key_id"] == keys["prod/sms/otp"].id
    assert otp["reason"] == "expiring"
    assert otp["deadline"] == f"{keys['prod/sms/otp'].valid_to:%Y-%m-%dT%H:%M:%SZ}"
    assert TIME.fullmatch(otp["due_at"])
    assert by_secret["rotate", "prod/new"]["key_id"] is None
    assert {(skip["secret"], skip["reason"]) for skip in account["skipped"]} >= {
        ("prod/marketing", "hold"),
        ("prod/legacy", "misconfigured"),
    }
    assert all(skip.keys() == {"secret", "reason", "detail"} for skip in account["skipped"])
    assert all({"kind", "secret", "key_id", "detail"} <= alert.keys() for alert in account["alerts"])
    assert {(alert["kind"], alert["secret"]) for alert in account["alerts"]} == {
        ("misconfigured", "prod/legacy"),
        *(("overdue", secret) for secret in TWO_DAYS_LATE),
    }
    assert stack.state() == before


def test_plan_for_people_is_plain_when_piped(stack: Stack) -> None:
    keys = stack.seed()
    ran = stack.run("plan")
    assert fits(ran.out)
    assert "\x1b" not in ran.out
    assert not re.search("[\u2500-\u257f]", ran.out)  # box drawing
    assert ran.out.startswith("main · ")
    line = r"^ {2}rotate +prod/sms/otp +expiring .* \d+ \w{3} \d\d:\d\d UTC$"
    assert re.search(line, ran.out, re.MULTILINE)
    assert re.search(r"^ {2}prod/marketing +hold +.*\"audit freeze until 1 Dec\"", ran.out, re.MULTILINE)
    assert re.search(r"^ {2}prod/legacy +misconfigured .*rotator:grace", ran.out, re.MULTILINE)
    assert ran.out.count("prod/legacy") == 1, "an error is not listed as skipped too"
    assert ran.out.endswith("`rotator run`.\n")
    assert all(key.id not in ran.out for key in keys.values())


def test_skipped_and_other_errors_are_apart(stack: Stack) -> None:
    stack.seed()
    stack.client.tag_resource(SecretId="prod/sms/otp", Tags=[{"Key": "rotator:rotate-before", "Value": "0.33"}])
    shown = stack.run("plan").out
    assert re.search(r"^ {2}prod/legacy +misconfigured.*\n(.*\n)*?\n.*\n {2}prod/sms/otp +overdue", shown, re.MULTILINE)


def test_plan_narrowed_moved_with_exit_code(stack: Stack) -> None:
    """3 there is work to do, 4 there is none but something to fix; without ``--exit-code`` that is no failure."""
    stack.seed()
    one = stack.run("plan", "--secret", "prod/sms/otp", "--json", "--exit-code")
    assert one.code == 3
    assert {action["secret"] for action in one.document["accounts"][0]["actions"]} == {"prod/sms/otp"}
    assert stack.run("plan").code == 0
    only = ("--secret", "prod/legacy")  # a tag of it can't be read
    assert stack.run("plan", *only, "--exit-code").code == 4
    assert stack.run("plan", *only).code == 0
    stack.client.untag_resource(SecretId="prod/legacy", TagKeys=["rotator:grace"])
    due = stack.run("plan", "--secret", "prod/billing/sms", "--at", "+45d", "--exit-code", "--json")
    assert due.code == 3
    later = datetime.fromisoformat(due.document["generated_at"]) - stack.clock.now()
    assert 44 <= later.days <= 45
    nothing = stack.run("plan", "--secret", "prod/billing/sms", "--exit-code")
    assert nothing.code == 0
    stack.account("locked", password="not-the-password-1")
    ran = stack.run("plan", "--exit-code")
    assert (ran.code, re.search(r"\b1 \w+ 2 accounts\b", ran.out) is not None) == (1, True)
    assert stack.run("plan").code == 1


def test_missing_keys_are_something_to_fix(stack: Stack) -> None:
    account = stack.account("main")
    for number in range(2):
        stack.infobip.delete_key(stack.secret(f"app/{number}", account).id)
    for options, code in (((), 0), (("--exit-code",), 4)):
        ran = stack.run("plan", "--json", *options)
        assert ran.code == code
        assert [alert["kind"] for alert in ran.document["accounts"][0]["alerts"]] == ["key-not-found"] * 2
    assert stack.run("run").code == 0
    assert "broken" in stack.run("status").out


def test_status_json_has_contracts_fields(stack: Stack) -> None:
    keys = stack.seed()
    stack.clock.advance(timedelta(days=2))  # no sweep ran here for two days
    ran = stack.run("status", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.document.keys() == {"secrets"}
    fields = {
        "account",
        "secret",
        "key_id",
        "version_id",
        "state",
        "expires_at",
        "days_left",
        "next_action",
        "next_action_at",
        "retiring",
        "hold",
        "overdue",
    }
    secrets = {each["secret"]: each for each in ran.document["secrets"]}
    assert all(each.keys() == fields for each in secrets.values())
    assert {name: each["state"] for name, each in secrets.items()} == {
        "prod/sms/otp": "due",
        "prod/billing/sms": "ok",
        "prod/voice/alerts": "unadopted",
        "prod/whatsapp/bot": "due",
        "prod/email/news": "unadopted",
        "prod/marketing": "held",
        "prod/legacy": "misconfigured",
        "prod/new": "empty",
    }
    assert {name for name, each in secrets.items() if each["overdue"]} == TWO_DAYS_LATE
    assert secrets["prod/marketing"]["hold"] == "audit freeze until 1 Dec"
    billing = secrets["prod/billing/sms"]
    assert billing["key_id"] == keys["prod/billing/sms"].id
    assert billing["expires_at"] == f"{keys['prod/billing/sms'].valid_to:%Y-%m-%dT%H:%M:%SZ}"
    assert 47 <= billing["days_left"] <= 48
    assert (billing["next_action"], billing["retiring"]) == ("rotate", [])
    assert secrets["prod/new"]["key_id"] is None


def test_status_for_people_after_rotation(stack: Stack) -> None:
    keys = stack.seed()
    stack.clock.advance(timedelta(days=2))  # no sweep ran here for two days
    before = stack.run("status")
    assert fits(before.out)
    late = {line.split()[0] for line in before.out.splitlines() if "OVERDUE: " in line}
    assert late == TWO_DAYS_LATE
    assert stack.run("rotate", "prod/sms/otp", "--reason", "test").code == 0
    ran = stack.run("status", "--account", "main")
    assert ran.code == 0
    assert fits(ran.out)
    old = keys["prod/sms/otp"].id
    line = next(line for line in ran.out.splitlines() if line.lstrip().startswith("prod/sms/otp"))
    assert "retiring" in line
    assert "OVERDUE" not in line
    assert f"revoke key {old[:4]}…{old[-4:]}" in line
    assert old not in ran.out
    document = stack.run("status", "--secret", "prod/sms/otp", "--json").document
    (only,) = document["secrets"]
    (retiring,) = only["retiring"]
    assert retiring.keys() == {"key_id", "revoke_at"}
    assert retiring["key_id"] == old
    assert TIME.fullmatch(retiring["revoke_at"])


def test_doctor_names_what_to_fix(stack: Stack) -> None:
    stack.seed()
    before = stack.state()
    ran = stack.run("doctor")
    assert ran.code == 1
    assert fits(ran.out)
    assert re.search(r"^ ok +Infobip main +.*ops-rotator", ran.out, re.MULTILINE)
    assert re.search(r"^ fail +Tags +prod/legacy: rotator:grace(.*\n)+? +→ .*\b90s\b", ran.out, re.MULTILINE)
    assert re.search(r"^ warn +IAM +PutSecretValue and UpdateSecretVersionStage ", ran.out, re.MULTILINE)  # unchecked
    assert ran.out.splitlines()[-1].startswith("1 ")
    stack.client.untag_resource(SecretId="prod/legacy", TagKeys=["rotator:grace"])
    fixed = stack.run("--json", "doctor")
    assert fixed.code == 0
    assert fixed.document.keys() == {"checks", "failed", "warnings"}
    assert all(check.keys() == {"level", "subject", "detail", "fix"} for check in fixed.document["checks"])
    assert {check["subject"] for check in fixed.document["checks"]} >= {"Settings", "AWS", "Secrets", "IAM", "Clock"}
    assert stack.state() == before


def test_doctor_names_wrong_settings(stack: Stack) -> None:
    ran = stack.run("doctor", "--json", env={"ROTATOR_DAILY_LIMIT": "many", "ROTATOR_DEPLOYMNT": "x"})
    assert ran.code == 2
    (check,) = ran.document["checks"]
    assert (check["level"], check["subject"]) == ("fail", "Settings")
    assert "ROTATOR_DAILY_LIMIT" in check["detail"]
    assert "ROTATOR_DEPLOYMENT?" in check["detail"]
    assert stack.run("plan", env={"ROTATOR_DAILY_LIMIT": "many"}).code == 2


def test_local_zone_for_people_utc_in_json(stack: Stack) -> None:
    stack.seed()
    there = {"TZ": "America/Bogota"}  # five hours behind all the year
    people, programs = stack.run("plan", env=there), stack.run("plan", "--json", env=there)
    (account,) = programs.document["accounts"]
    (otp,) = [each for each in account["actions"] if (each["kind"], each["secret"]) == ("rotate", "prod/sms/otp")]
    assert TIME.fullmatch(otp["deadline"])
    local = datetime.fromisoformat(otp["deadline"]) - timedelta(hours=5)
    assert f"expires {local.day} {local:%b %H:%M} -05:00" in people.out
    assert "UTC" not in people.out.replace("UTC'", "")
    assert "(-05:00)" in stack.run("status", env=there).out


def test_narrow_terminal_shows_blocks(stack: Stack) -> None:
    """``COLUMNS`` says how wide, piped or not."""
    keys = stack.seed()
    said = {}
    for arguments in (["plan"], ["status"], ["inventory"], ["forecast"], ["doctor"]):
        said[arguments[0]] = stack.run(*arguments, env={"COLUMNS": "44"}).out
        assert [line for line in said[arguments[0]].splitlines() if len(line) > 44] == [], arguments
    otp = keys["prod/sms/otp"].id
    assert re.search(r"^  rotate  prod/sms/otp  expiring\n    \S", said["plan"], re.MULTILINE)
    block = r"^  prod/sms/otp\n    state: due\n    .*\(UTC\): .*\n    next: "
    assert re.search(block, said["status"], re.MULTILINE)
    assert f"\n  {otp[:4]}…{otp[-4:]}\n    kind: current\n" in said["inventory"]
    assert re.search(r"^ ok  Infobip main\n   .*ops-rotator", said["doctor"], re.MULTILINE)
    assert re.search(r"^  (?:day|week of) \d+ \w{3}\n    rotations: \d", said["forecast"], re.MULTILINE)
    assert "|" not in said["forecast"]


def test_columns_break_no_word(stack: Stack) -> None:
    stack.seed()
    wide = stack.run("plan", env={"COLUMNS": "300"}).out
    assert max(len(line) for line in wide.splitlines()) > 80
    assert fits(stack.run("doctor", env={"COLUMNS": "many"}).out)
    words = set(re.findall(r"\S+", wide))
    assert set(re.findall(r"\S+", stack.run("plan", env={"COLUMNS": "60"}).out)) <= words


@pytest.mark.parametrize("command", ["plan", "status", "inventory"])
def test_wide_shows_whole_key_ids(stack: Stack, command: str) -> None:
    keys = stack.seed()
    assert stack.run("rotate", "prod/sms/otp", "--reason", "x").code == 0
    old = keys["prod/sms/otp"].id
    at = ["--at", "+4d"] if command == "plan" else []
    assert old not in stack.run(command, *at).out
    assert old in stack.run(command, "--wide", *at).out


def test_disabled_key_is_not_in_grace(stack: Stack) -> None:
    old = stack.seed()["prod/sms/otp"].id
    named = f"key {old[:4]}…{old[-4:]}"
    killed = ("revoke", "--secret", "prod/sms/otp", "--reason", "x", "--strategy", "revoke-only", "--yes")
    assert stack.run(*killed).code == 0
    swept = " ".join(stack.run("run", "--secret", "prod/sms/otp").out.split())
    assert f"(key-disabled); {named} " in swept
    status = " ".join(stack.run("status", "--secret", "prod/sms/otp").out.split())
    assert "main · 1 ok" in status
    assert named in status
    assert "retiring" not in status
    (state,) = stack.run("status", "--secret", "prod/sms/otp", "--json").document["secrets"]
    assert (state["state"], state["retiring"], state["next_action"]) == ("ok", [], "revoke")
    assert "retiring disabled prod/sms/otp" in " ".join(stack.run("inventory", "--all").out.split())
    assert stack.run("run", "--secret", "prod/sms/otp").code == 0
    assert "retiring" not in stack.run("inventory", "--all").out


def test_what_is_due_is_next(stack: Stack) -> None:
    stack.seed()
    now = stack.clock.now() + timedelta(minutes=1)
    soon = [
        (each["next_action"], each["overdue"])
        for each in stack.run("status", "--json").document["secrets"]
        if each["next_action_at"] is not None and datetime.fromisoformat(each["next_action_at"]) <= now
    ]
    assert set(soon) == {("label", False), ("rotate", False)}


def test_plan_counts_todays_use(stack: Stack) -> None:
    """Though nothing is due, so that a sweep would not ask."""
    account = stack.account("main")
    dead = stack.infobip.add_key(account, "made and disabled today")
    before = stack.run("plan", "--json").document["accounts"][0]["quota"]
    stack.infobip.change_key(dead.id, enabled=False)
    after = stack.run("plan", "--json").document["accounts"][0]["quota"]
    assert after["creates_used"] == before["creates_used"] > 0
    assert isinstance(after["updates_used"], int)
    swept = stack.run("run", "--json").document["accounts"][0]["quota"]
    assert (swept["creates_used"], swept["updates_used"]) == (None, None)
    assert "None" not in stack.run("run").out
