"""``forecast`` as its users run it."""

from __future__ import annotations

import re

import pytest

from rotator.cli.forecast import MOST_LINES
from rotator.model import Policy
from rotator.policy.forecast import forecast_account, spans
from tests.cli.local_stack import Stack
from tests.policy.build import NOW, snap


def test_json_is_the_contract_key_by_key(stack: Stack) -> None:
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


def test_for_people_it_is_a_chart_in_80_columns_of_ascii_bars(stack: Stack) -> None:
    stack.seed()
    for days, begins in (("20", "  day "), ("90", "  week of "), ("400", "  2 weeks of ")):
        ran = stack.run("forecast", "--days", days)
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert lines[0] == "main · 6 secrets · 40 a day less 8 for emergencies"
        assert lines[2].startswith(begins)
        assert all(len(line) <= 80 for line in lines)
        bars = [line for line in lines if re.match(r"^  [ \d]\d [A-Z][a-z]{2} ", line)]
        assert 10 <= len(bars) <= MOST_LINES
        assert all("|" in bar and bar.isascii() for bar in bars)
        assert "#" in bars[0]
        assert "\x1b" not in ran.out
    ran = stack.run("forecast")
    words = " ".join(ran.out.split())
    assert "prod/marketing hold " in words
    assert "No day is full." in words
    assert ran.out.endswith("`rotator plan`.\n")


def test_suppositions_and_what_helps(stack: Stack) -> None:
    stack.seed()
    few = ("--what-if", "limit=12", "--what-if", "reserve=2")
    ran = stack.run("forecast", *few, "--what-if", "+300", "--what-if", "validity=90d", "--days", "50")
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert "assuming a daily limit of 12 and a reserve of 2 and replacements valid for 90d and 300 more secrets" in text
    assert "not-in-time" in ran.out
    assert "keys expire before they are replaced, the first on " in ran.out
    more = stack.run("forecast", "--what-if", "+300", "--what-if", "limit=500", "--days", "62", "--json").document
    assert {risk["reason"] for risk in more["accounts"][0]["at_risk"]} == {"hold", "misconfigured"}
    assert more["what_if"] == ["a daily limit of 500", "300 more secrets"]
    short = stack.run("forecast", "--what-if", "validity=2d")
    assert (short.code, short.out) == (2, "")
    assert "can't work for prod/billing/sms: rotator:grace is 1d" in short.sentence
    low = stack.run("forecast", "--json", "--what-if", "reserve=40")
    assert low.code == 2
    assert "nothing for scheduled rotations" in low.document["error"]["message"]


def test_accounts_hostile_names_and_one_that_does_not_answer(stack: Stack) -> None:
    first, _ = stack.account("main")
    stack.secret("prod/held", first, hold="=cmd()")
    stack.account("second", password="not-the-password")
    stack.account("third")
    told = stack.run("forecast", "--days", "5")
    assert told.code == 1
    assert "second\n  not observed" in told.out
    assert "third · 0 secrets" in told.out
    assert told.out.endswith("`rotator doctor`.\n")
    document = stack.run("forecast", "--days", "5", "--json")
    assert document.code == 1
    assert [error["account"] for error in document.document["errors"]] == ["second"]
    assert [each["account"] for each in document.document["accounts"]] == ["main", "third"]
    assert stack.run("forecast", "--account", "third").code == 0
    assert stack.run("forecast", "--account", "fourth").code == 2


@pytest.mark.parametrize("days", [1, 40, 41, 281, 400])
def test_a_chart_loses_no_day_and_fits_a_screen(days: int) -> None:
    _, lines = spans(forecast_account(snap(), Policy(), NOW, days=days).days, MOST_LINES)
    assert len(lines) <= MOST_LINES
    assert sum(line.days for line in lines) == days
