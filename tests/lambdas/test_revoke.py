"""``revoke``: what it answers, what it raises, and that a repeated call makes no second key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rotator.errors import RotatorError
from rotator.lambda_ import runtime
from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke, sweep
from rotator.sandbox.faults import Fault, FaultKind
from tests.lambdas.site import DAY, Context, Site

NAME = "prod/sms"
REASON = "pasted in a ticket"


def test_a_whole_secret(site: Site, lines: Callable[[], list[dict[str, Any]]]) -> None:
    account = site.account()
    first = site.secret(NAME, account, left=5 * DAY, age=85 * DAY)
    sweep({}, Context())
    second = site.current(NAME)[1]["key_id"]
    lines()
    event = {"secret_id": site.arn(NAME), "reason": REASON, "incident": "INC-1", "actor": "ann", "strategy": None}
    answer = revoke(event, Context())
    assert json.loads(json.dumps(answer)) == answer
    assert answer["ok"] is True
    assert set(answer["revoked"]) == {first.id, second}
    assert answer["replaced"] == [NAME]
    assert answer["errors"] == []
    assert 0 <= answer["seconds"] < 60
    assert (answer["incident"], answer["actor"], answer["strategy"]) == ("INC-1", "ann", "replace-first")
    assert site.consumer_works(NAME)
    assert [key.id for key in site.live(account)] == [site.current(NAME)[1]["key_id"]]
    audit = [line for line in lines() if "seq" in line]
    assert {(line["actor"], line["trigger"], line["incident"], line["run_id"]) for line in audit} == {
        ("ann", "emergency", "INC-1", answer["run_id"])
    }
    assert {line["reason"] for line in audit if line["event"] == "key.revoked"} == {REASON}


def test_one_key_of_an_account(site: Site) -> None:
    account = site.account()
    key = site.secret(NAME, account)
    answer = revoke({"key_id": key.id, "account": "main", "reason": REASON, "strategy": "revoke-only"}, Context())
    assert (answer["revoked"], answer["replaced"], answer["actor"]) == ([key.id], [], "lambda")
    assert site.live(account) == []


def test_a_dry_run_says_what_would_be_done(site: Site) -> None:
    key = site.secret(NAME, site.account())
    before = site.state()
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["dry_run"], answer["revoked"], answer["replaced"]) == (True, [], [])
    assert answer["planned"] == [{"key_id": key.id, "role": "current", "secret_id": NAME}]
    assert answer["would_replace"] == [NAME]
    assert site.state() == before


def test_a_call_that_lambda_repeats_makes_no_second_key(site: Site) -> None:
    account = site.account()
    site.secret(NAME, account)
    context = Context()
    revoke({"secret_id": NAME, "reason": REASON}, context)
    made = site.current(NAME)[1]["key_id"]
    again = revoke({"secret_id": NAME, "reason": REASON}, context)
    assert again["incident"] == f"lambda {context.aws_request_id}"
    assert site.current(NAME)[1]["key_id"] == made
    assert site.world.creates_used(account) == 1


def test_what_stays_alive_is_raised_with_the_whole_report(site: Site) -> None:
    account = site.account()
    old = site.secret(NAME, account)
    site.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    text = str(caught.value)
    assert text.startswith("NOT COMPLETE: ")
    assert old.id in text.partition(" Report: ")[0]
    report = json.loads(text.partition(" Report: ")[2])
    assert report["ok"] is False
    assert report["replaced"] == [NAME]
    assert report["revoked"] == []
    assert site.consumer_works(NAME)
    site.world.faults.clear()
    done = revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    assert done["revoked"] == [old.id]
    assert site.world.creates_used(account) == 1


@pytest.mark.parametrize("word", ["replaced", "strategy", "replace-first", NAME, "INC-2026-1", "planned"])
def test_a_common_value_leaves_the_report_of_a_failure_whole(site: Site, word: str) -> None:
    account = site.account()
    old = site.secret(NAME, account)
    site.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    runtime.foundation().redactor.learn(word)
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-2026-1"}, Context())
    report = json.loads(str(caught.value).partition(" Report: ")[2])
    assert report["strategy"] == "replace-first"
    assert report["replaced"] == [NAME]
    assert report["incident"] == "INC-2026-1"
    assert [each["key_id"] for each in report["planned"]] == [old.id]


def test_a_hold_does_not_stop_it(site: Site) -> None:
    key = site.secret(NAME, site.account(), hold="audit freeze")
    assert key.id in revoke({"secret_id": NAME, "reason": REASON}, Context())["revoked"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"secret_id": "prod/none", "reason": REASON}, "prod/none"),
        ({"secret_id": NAME, "account": "other", "reason": REASON}, "prod/sms belongs to account main, not to other"),
        ({"key_id": "0" * 32, "account": "main", "reason": REASON}, "0" * 32),
    ],
)
def test_an_unknown_target_is_an_error_and_changes_nothing(site: Site, event: dict[str, Any], said: str) -> None:
    site.secret(NAME, site.account())
    site.account("other")
    before = site.state()
    with pytest.raises(RotatorError, match=said):
        revoke(event, Context())
    assert site.state() == before


def test_infobip_out_of_reach_is_raised(site: Site) -> None:
    site.secret(NAME, site.account())
    site.world.faults.add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
    with pytest.raises(RotatorError):
        revoke({"secret_id": NAME, "reason": REASON}, Context())
    assert site.consumer_works(NAME)
