"""Work that cannot be done is never silent: a day after it was due it is an alert of severity error, and exit 1."""

from __future__ import annotations

from datetime import timedelta

from tests.safety.harness import DAY, HOUR, Swept
from tests.support.rotator import Rotator


def due_now(rotator: Rotator) -> None:
    """A secret whose key is due at this moment and expires in 30 days."""
    rotator.secret("prod/api", left=30 * DAY, rotate_before="30d")


def sweep_after(rotator: Rotator, *waits: timedelta) -> list[Swept]:
    """A sweep after each of the waits."""
    return [ran for wait in waits for ran in rotator.sweeps(1, every=wait)]


def overdue_errors(ran: Swept) -> list[str]:
    return [alert["secret"] for alert in ran.alerts("overdue") if alert["severity"] == "error"]


def test_refused_creates_become_overdue(rotator: Rotator) -> None:
    due_now(rotator)
    rotator.faults.refuse_creates(429)
    ran = sweep_after(rotator, HOUR, 11 * HOUR, 11 * HOUR)
    assert [(each.code, overdue_errors(each)) for each in ran] == [(0, [])] * 3
    late = rotator.sweeps(1, every=2 * HOUR)[0]
    assert (late.code, overdue_errors(late)) == (1, ["prod/api"])
    raised = [line for line in late.audit if (line["event"], line["reason"]) == ("alert.raised", "overdue")]
    assert [(line["secret"], line["outcome"]) for line in raised] == [("prod/api", "failure")]


def test_unlisted_key_is_rotated_or_reported(rotator: Rotator) -> None:
    """Infobip shows the key by its id and leaves it out of its list."""
    due_now(rotator)
    before = rotator.current_key("prod/api").id
    rotator.faults.hide_from_lists()
    ran = sweep_after(rotator, *[5 * HOUR] * 5)[-1]
    rotated = rotator.current_key("prod/api").id != before
    assert rotated or (ran.code, overdue_errors(ran)) == (1, ["prod/api"])
    assert rotator.works(rotator.current_key("prod/api"))


def test_refused_first_key_becomes_overdue(rotator: Rotator) -> None:
    """Threat: a first key that is never created. It becomes overdue."""
    rotator.create("prod/new", scopes="sms:manage")
    rotator.faults.refuse_creates(429)
    ran = sweep_after(rotator, HOUR, 22 * HOUR, 2 * HOUR)
    assert [(each.code, overdue_errors(each)) for each in ran] == [(0, []), (0, []), (1, ["prod/new"])]
    rotator.faults.clear()
    ran = sweep_after(rotator, HOUR, HOUR)
    assert [(each.code, overdue_errors(each)) for each in ran] == [(0, []), (0, [])]


def test_unadopted_value_becomes_overdue(rotator: Rotator) -> None:
    """Threat: a value that is never adopted. It becomes overdue."""
    rotator.create("prod/new")
    rotator.put("prod/new", {"api_key": "not a key of Infobip"}, ["AWSCURRENT"])
    ran = sweep_after(rotator, HOUR, 22 * HOUR, 2 * HOUR)
    assert [(each.code, overdue_errors(each)) for each in ran] == [(0, []), (0, []), (0, ["prod/new"])]


def test_wrong_tag_silences_no_due_rotation(rotator: Rotator) -> None:
    """Threat: a wrong tag that hides a due rotation. It becomes overdue."""
    due_now(rotator)
    rotator.tag("prod/api", grace="soon")
    ran = sweep_after(rotator, HOUR, 24 * HOUR)
    assert [(each.code, overdue_errors(each)) for each in ran] == [(0, []), (0, ["prod/api"])]
