"""A value that is not its label's key is found within a day of hourly sweeps, whatever hid it; nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.harness import DAY, HOUR, Region, Swept
from tests.support.rotator import Rotator

FOREIGN = f"{7:032x}-11111111-1111-4111-8111-111111111111"
"""It looks like a key, and Infobip has none of that value."""


def changed_field(rotator: Rotator) -> None:
    rotator.tag("prod/api", value_field="token")


def field_that_holds_a_foreign_key(rotator: Rotator) -> None:
    value, label = rotator.value("prod/api"), f"rotator:key:{rotator.current_key('prod/api').id}"
    rotator.put("prod/api", {**value, "token": FOREIGN}, ["AWSCURRENT", label])
    rotator.tag("prod/api", value_field="token")


def edited_value(rotator: Rotator) -> None:
    label = f"rotator:key:{rotator.current_key('prod/api').id}"
    rotator.put("prod/api", {"api_key": FOREIGN}, ["AWSCURRENT", label])


def broken_value(rotator: Rotator) -> None:
    label = f"rotator:key:{rotator.current_key('prod/api').id}"
    rotator.put("prod/api", '{"api_key": ', ["AWSCURRENT", label])


def binary_value(rotator: Rotator) -> None:
    label = f"rotator:key:{rotator.current_key('prod/api').id}"
    rotator.put("prod/api", b"\x00\x01", ["AWSCURRENT", label])


EDITS = [changed_field, field_that_holds_a_foreign_key, edited_value, broken_value, binary_value]


def found(ran: list[Swept]) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["severity"]) for each in ran for alert in each.alerts("unproven-label", "prod/api")]


def removed(ran: list[Swept]) -> list[str]:
    """The labels that were removed, by the audit: each with its intent before and its result after."""
    lines = [line for each in ran for line in each.audit if line["event"] == "secret.unlabelled"]
    assert [line["outcome"] for line in lines] == ["attempt", "success"] * (len(lines) // 2)
    return [line["label"] for line in lines[1::2]]


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
@pytest.mark.parametrize("edit", EDITS)
def test_value_that_is_not_labelled_key(rotator: Rotator, edit: Callable[[Rotator], None], masked: bool) -> None:
    """Threat: a label that hides another key's expiry. Each value is verified once a day."""
    key = rotator.secret("prod/api")
    rotator.secret("prod/other")
    rotator.sweep()
    if masked:
        rotator.faults.show_masks()
    edit(rotator)
    ran = rotator.sweeps(24)
    assert found(ran) == [("unproven-label", "error")]
    assert removed(ran) == [f"rotator:key:{key.id}"]
    after = rotator.sweeps(1)[0]
    assert after.alerts("unadopted", "prod/api")
    assert [skip["reason"] for skip in after.document["accounts"][0]["skipped"]] == ["unadopted"]
    assert rotator.works(key)


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
def test_right_key_of_wrong_label_is_adopted(rotator: Rotator, masked: bool) -> None:
    rotator.create("prod/api")
    key, other = rotator.key("in use"), rotator.key("of somebody else")
    rotator.put("prod/api", {"api_key": key.value}, ["AWSCURRENT", f"rotator:key:{other.id}"])
    if masked:
        rotator.faults.show_masks()
    ran = rotator.sweeps(24)
    assert found(ran) == [("unproven-label", "warning")]
    assert removed(ran) == [f"rotator:key:{other.id}"]
    assert [each["reason"] for done in ran for each in done.document["results"]] == ["mislabelled"]
    assert rotator.every_label("prod/api") == {"AWSCURRENT", f"rotator:key:{key.id}"}
    assert rotator.works(other)


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
@pytest.mark.parametrize("status", [429, 503, 403, 400])
def test_search_that_fails_changes_nothing(rotator: Rotator, status: int, masked: bool) -> None:
    """Threat: a search by value that fails or is throttled. No label is changed."""
    rotator.secret("prod/api")
    rotator.sweep()
    if masked:
        rotator.faults.show_masks()
    edited_value(rotator)
    before = rotator.labels("prod/api")
    rotator.faults.refuse_value_search(status)
    ran = rotator.sweeps(24)
    assert (found(ran), removed(ran), rotator.labels("prod/api")) == ([], [], before)
    assert [alert["kind"] for each in ran for alert in each.alerts()] == ["unreadable"]
    assert {each.code for each in ran} == {0}


def test_ignored_filter_changes_nothing(rotator: Rotator) -> None:
    rotator.secret("prod/api")
    rotator.secret("prod/other")
    rotator.faults.show_masks()
    rotator.faults.ignore_value_search()
    before = rotator.labels("prod/api")
    ran = rotator.sweeps(24)
    assert (found(ran), removed(ran), rotator.labels("prod/api")) == ([], [], before)


@pytest.mark.parametrize("tags", [{"hold": "freeze"}, {"account": "elsewhere"}])
def test_label_of_skipped_secret_stays(rotator: Rotator, tags: dict[str, str]) -> None:
    rotator.secret("prod/api")
    edited_value(rotator)
    before = rotator.labels("prod/api")
    rotator.tag("prod/api", **tags)
    ran = rotator.sweeps(24)
    assert (removed(ran), rotator.labels("prod/api")) == ([], before)
    assert found(ran) == ([("unproven-label", "error")] if "hold" in tags else [])


def test_unreadable_secret_is_reported(rotator: Rotator) -> None:
    rotator.secret("prod/api")
    rotator.unreadable("prod/api")
    before = rotator.labels("prod/api")
    ran = rotator.sweeps(24)
    assert [alert["kind"] for each in ran for alert in each.alerts(secret="prod/api")] == ["unreadable"]
    assert rotator.labels("prod/api") == before


def test_plans_and_dry_runs_change_nothing(region: Region) -> None:
    region.secret("prod/api")
    edited_value(region)
    before = region.labels("prod/api")
    for _ in range(24):
        region.pass_time(HOUR)
        region.plan()
        region.sweep("--dry-run")
        region.sweep("--secret", "prod/api")
    assert region.labels("prod/api") == before


def test_daily_sweeps_verify_all(rotator: Rotator) -> None:
    rotator.environment["ROTATOR_SWEEP_EVERY"] = "1d"
    rotator.secret("prod/api")
    edited_value(rotator)
    ran = rotator.sweeps(1, every=DAY)
    assert len(removed(ran)) == 1
