"""A key whose ``validFrom`` lies ahead does not count as working."""

from __future__ import annotations

from tests.safety.harness import DAY
from tests.support.rotator import Rotator


def test_working_key_kept_for_later_one(rotator: Rotator) -> None:
    """Threat: a key with a future start that passes for a working one. No working key is revoked for it."""
    old = rotator.secret("prod/api")
    later = rotator.key("begins later", begins=rotator.clock.now() + 10 * DAY)
    rotator.put("prod/api", {"api_key": later.value}, ["AWSCURRENT", f"rotator:key:{later.id}"])
    for _ in range(9):
        rotator.pass_time(DAY)
        rotator.sweep()
        working = rotator.works(old) or rotator.works(rotator.current_key("prod/api"))
        assert working, "the last working key was revoked"


def test_later_keys_use_no_quota(rotator: Rotator) -> None:
    """Threat: keys with a future start that use up the daily limit. They do not count."""
    old = rotator.secret("prod/api", left=20 * DAY)
    for number in range(4):
        rotator.key(f"begins later {number}", begins=rotator.clock.now() + 5 * DAY)
    rotator.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}
    rotator.sweep()
    assert rotator.current_key("prod/api").id != old.id


def test_later_replacement_is_not_promoted(rotator: Rotator) -> None:
    """Threat: a replacement with a future start. It is not promoted."""
    old = rotator.secret("prod/api", left=20 * DAY, verify="skip")
    rotator.faults.begin_new_keys_later(2 * DAY)
    ran = rotator.sweep()
    assert rotator.current_key("prod/api").id == old.id
    assert ran.code == 1
    assert [each["secret"] for each in ran.results("rotate", "failed")] == ["prod/api"]
    assert [key for key in rotator.rotator_keys() if key.enabled] == []


def test_later_current_key_is_error(rotator: Rotator) -> None:
    rotator.secret("prod/api")
    later = rotator.key("begins later", begins=rotator.clock.now() + 10 * DAY)
    rotator.put("prod/api", {"api_key": later.value}, ["AWSCURRENT", f"rotator:key:{later.id}"])
    (alert,) = rotator.plan().alerts("key-not-active", "prod/api")
    assert (alert["key_id"], alert["severity"]) == (later.id, "error")
