"""``forecast`` as its users run it."""

from __future__ import annotations

import re

import pytest

from rotator.cli.forecast import MOST_AT_RISK, MOST_LINES
from rotator.model import Policy
from rotator.policy.forecast import forecast_account, spans
from tests.cli.local_stack import Stack
from tests.policy.build import DAY, NOW, snap


def test_json_has_contracts_fields(stack: Stack) -> None:
    keys = stack.seed()
    before = stack.state()
    ran = stack.run("forecast", "--days", "60", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.document.keys() == {"generated_at", "accounts"}
    (account,) = ran.document["accounts"]
    assert {"account", "limit", "reserve", "days", "first_full_day", "at_risk"} <= account.keys()
    assert (account["account"], account["limit"], account["reserve"], account["secrets"]) == ("main", 40, 8, 6)
    assert len(account["days"]) == 60
    named = {"date", "rotations", "scheduled_early", "revocations", "waiting", "overdue", "free"}
    assert all(day.keys() == named for day in account["days"])
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day["date"]) for day in account["days"])
    # Due now: prod/new, prod/email/news, prod/sms/otp; prod/whatsapp/bot, whose window opens in half a day.
    assert account["days"][0]["rotations"] in (3, 4)
    assert {(risk["secret"], risk["reason"]) for risk in account["at_risk"]} == {
        ("prod/marketing", "hold"),
        ("prod/legacy", "misconfigured"),
    }
    assert {"secret", "key_id", "expires_at", "reason"} <= account["at_risk"][0].keys()
    assert account["at_risk"][0]["key_id"] == keys["prod/marketing"].id
    assert account["at_risk"][0]["expires_at"] == f"{keys['prod/marketing'].valid_to:%Y-%m-%dT%H:%M:%SZ}"
    assert stack.state() == before


def test_table_fits_and_agrees_with_json(stack: Stack) -> None:
    stack.seed()
    (account,) = stack.run("forecast", "--days", "20", "--json").document["accounts"]
    busy = [[day["rotations"], day["revocations"]] for day in account["days"]]
    assert busy[0][0] > 0
    for days, name in (("20", "day"), ("90", "week of"), ("400", "2 weeks of")):
        out = stack.run("forecast", "--days", days).out
        lines = out.splitlines()
        assert lines[0].startswith("main · 6 secrets · 40 ")
        assert lines[2].split() == ["rotations", "early", "revoked", "waiting", "overdue"]
        assert all(len(line) <= 80 for line in lines)
        assert "\x1b" not in out
        rows = re.findall(rf"^  {name} \d+ [A-Z][a-z]{{2}} +(.+)$", out, re.MULTILINE)
        assert len(rows) >= 2
        if name == "day":
            assert [[int(number) for number in row.split()] for row in rows] == [
                [number for number in row if number] for row in busy if any(row)
            ]
    told = stack.run("forecast").out
    words = " ".join(told.split())
    assert "32 rotations" in words
    assert "prod/marketing hold " in words
    assert account["first_full_day"] is None
    assert told.endswith("`rotator plan`.\n")


def test_keys_that_no_slot_is_left_for(stack: Stack) -> None:
    """12 keys expire in two days, and one rotation per day is allowed."""
    account = stack.account("main")
    ends = stack.clock.now() + 2 * DAY
    for number in range(12):
        key = stack.secret(f"prod/{number}", account)
        stack.infobip.change_key(key.id, valid_to=ends)
    ran = stack.run("forecast", "--days", "14", env={"ROTATOR_DAILY_LIMIT": "2", "ROTATOR_RESERVE": "1"})
    assert ran.code == 0
    assert len(re.findall(r"^  prod/\d+ +expires-before-rotation ", ran.out, re.MULTILINE)) == MOST_AT_RISK
    assert "rotator:validity" in ran.out


def test_hostile_names_and_silent_account(stack: Stack) -> None:
    first = stack.account("main")
    stack.secret("prod/held", first, hold="=cmd()")
    stack.account("second", password="not-the-password")
    stack.account("third")
    told = stack.run("forecast", "--days", "5")
    assert told.code == 1
    assert "\nsecond\n" in told.out
    assert "third · 0 secrets" in told.out
    assert told.out.endswith("`rotator doctor`.\n")
    document = stack.run("forecast", "--days", "5", "--json")
    assert document.code == 1
    assert [error["account"] for error in document.document["errors"]] == ["second"]
    assert [each["account"] for each in document.document["accounts"]] == ["main", "third"]
    assert stack.run("forecast", "--account", "third").code == 0
    assert stack.run("forecast", "--account", "fourth").code == 1


@pytest.mark.parametrize("days", [1, 40, 41, 281, 400])
def test_table_loses_no_day_and_fits_screen(days: int) -> None:
    _, lines = spans(forecast_account(snap(), Policy(), NOW, days=days).days, MOST_LINES)
    assert len(lines) <= MOST_LINES
    assert sum(line.days for line in lines) == days
