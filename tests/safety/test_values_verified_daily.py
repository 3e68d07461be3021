"""A value that is not its label's key is found within a day of hourly sweeps, whatever hid it; nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.harness import DAY, HOUR, Ran, Region

FOREIGN = f"{7:032x}-11111111-1111-4111-8111-111111111111"
"""It looks like a key, and Infobip has none of that value."""


def changed_field(region: Region) -> None:
    region.tag("prod/api", value_field="token")


def field_that_holds_a_foreign_key(region: Region) -> None:
    value, label = region.value("prod/api"), f"rotator:key:{region.current_key('prod/api').id}"
    region.put("prod/api", {**value, "token": FOREIGN}, ["AWSCURRENT", label])
    region.tag("prod/api", value_field="token")


def edited_value(region: Region) -> None:
    label = f"rotator:key:{region.current_key('prod/api').id}"
    region.put("prod/api", {"api_key": FOREIGN}, ["AWSCURRENT", label])


def broken_value(region: Region) -> None:
    label = f"rotator:key:{region.current_key('prod/api').id}"
    region.put("prod/api", '{"api_key": ', ["AWSCURRENT", label])


def binary_value(region: Region) -> None:
    label = f"rotator:key:{region.current_key('prod/api').id}"
    region.put("prod/api", b"\x00\x01", ["AWSCURRENT", label])


EDITS = [changed_field, field_that_holds_a_foreign_key, edited_value, broken_value, binary_value]


def found(ran: list[Ran]) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["severity"]) for each in ran for alert in each.alerts("unproven-label", "prod/api")]


def removed(ran: list[Ran]) -> list[str]:
    """The labels that were removed, by the audit: each with its intent before and its result after."""
    lines = [line for each in ran for line in each.audit if line["event"] == "secret.unlabelled"]
    assert [line["outcome"] for line in lines] == ["attempt", "success"] * (len(lines) // 2)
    return [line["label"] for line in lines[1::2]]


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
@pytest.mark.parametrize("edit", EDITS)
def test_value_that_is_not_labelled_key(region: Region, edit: Callable[[Region], None], masked: bool) -> None:
    """Threat: a label that hides another key's expiry. Each value is verified once a day."""
    key = region.secret("prod/api")
    region.secret("prod/other")
    region.sweep()
    if masked:
        region.system.faults.show_masks()
    edit(region)
    ran = region.sweeps(24)
    assert found(ran) == [("unproven-label", "error")]
    assert removed(ran) == [f"rotator:key:{key.id}"]
    after = region.sweeps(1)[0]
    assert after.alerts("unadopted", "prod/api")
    assert [skip["reason"] for skip in after.document["accounts"][0]["skipped"]] == ["unadopted"]
    assert region.works(key)


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
def test_right_key_of_wrong_label_is_adopted(region: Region, masked: bool) -> None:
    region.create("prod/api")
    key, other = region.key("in use"), region.key("of somebody else")
    region.put("prod/api", {"api_key": key.value}, ["AWSCURRENT", f"rotator:key:{other.id}"])
    if masked:
        region.system.faults.show_masks()
    ran = region.sweeps(24)
    assert found(ran) == [("unproven-label", "warning")]
    assert removed(ran) == [f"rotator:key:{other.id}"]
    assert region.every_label("prod/api") == {"AWSCURRENT", f"rotator:key:{key.id}"}
    assert region.works(other)


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
@pytest.mark.parametrize("status", [429, 503])
def test_search_that_fails_changes_nothing(region: Region, status: int, masked: bool) -> None:
    """Threat: a search by value that fails or is throttled. No label is changed."""
    region.secret("prod/api")
    region.sweep()
    if masked:
        region.system.faults.show_masks()
    edited_value(region)
    before = region.labels("prod/api")
    region.system.faults.refuse_value_search(status)
    ran = region.sweeps(24)
    assert (found(ran), removed(ran), region.labels("prod/api")) == ([], [], before)
    assert [alert["kind"] for each in ran for alert in each.alerts()] == ["unreadable"]
    assert {each.code for each in ran} == {0}


def test_ignored_filter_changes_nothing(region: Region) -> None:
    region.secret("prod/api")
    region.secret("prod/other")
    region.system.faults.show_masks()
    region.system.faults.ignore_value_search()
    before = region.labels("prod/api")
    ran = region.sweeps(24)
    assert (found(ran), removed(ran), region.labels("prod/api")) == ([], [], before)


@pytest.mark.parametrize("tags", [{"hold": "freeze"}, {"account": "elsewhere"}])
def test_label_of_skipped_secret_stays(region: Region, tags: dict[str, str]) -> None:
    region.secret("prod/api")
    edited_value(region)
    before = region.labels("prod/api")
    region.tag("prod/api", **tags)
    ran = region.sweeps(24)
    assert (removed(ran), region.labels("prod/api")) == ([], before)
    assert found(ran) == ([("unproven-label", "error")] if "hold" in tags else [])


def test_unreadable_secret_is_reported(region: Region) -> None:
    region.secret("prod/api")
    region.unreadable("prod/api")
    before = region.labels("prod/api")
    ran = region.sweeps(24)
    assert [alert["kind"] for each in ran for alert in each.alerts(secret="prod/api")] == ["unreadable"]
    assert region.labels("prod/api") == before


def test_plans_and_dry_runs_change_nothing(region: Region) -> None:
    region.secret("prod/api")
    edited_value(region)
    before = region.labels("prod/api")
    for _ in range(24):
        region.system.advance(HOUR)
        region.plan()
        region.sweep("--dry-run")
        region.sweep("--secret", "prod/api")
    assert region.labels("prod/api") == before


def test_daily_sweeps_verify_all(region: Region) -> None:
    region.system.environment["ROTATOR_SWEEP_EVERY"] = "1d"
    region.secret("prod/api")
    edited_value(region)
    ran = region.sweeps(1, every=DAY)
    assert len(removed(ran)) == 1
