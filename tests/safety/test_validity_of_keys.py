"""A key whose ``validFrom`` lies ahead does not count as working."""

from __future__ import annotations

from tests.safety.harness import DAY, Region


def test_working_key_kept_for_later_one(region: Region) -> None:
    """Threat: a key with a future start that passes for a working one. No working key is revoked for it."""
    old = region.secret("prod/api")
    later = region.key("begins later", begins=region.system.clock.now() + 10 * DAY)
    region.put("prod/api", {"api_key": later.value}, ["AWSCURRENT", f"rotator:key:{later.id}"])
    for _ in range(9):
        region.system.advance(DAY)
        region.sweep()
        working = region.works(old) or region.works(region.current_key("prod/api"))
        assert working, "the last working key was revoked"


def test_later_keys_use_no_quota(region: Region) -> None:
    """Threat: keys with a future start that use up the daily limit. They do not count."""
    old = region.secret("prod/api", left=20 * DAY)
    for number in range(4):
        region.key(f"begins later {number}", begins=region.system.clock.now() + 5 * DAY)
    region.system.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}
    region.sweep()
    assert region.current_key("prod/api").id != old.id


def test_later_replacement_is_not_promoted(region: Region) -> None:
    """Threat: a replacement with a future start. It is not promoted."""
    old = region.secret("prod/api", left=20 * DAY, verify="skip")
    region.system.faults.begin_new_keys_later(2 * DAY)
    ran = region.sweep()
    assert region.current_key("prod/api").id == old.id
    assert ran.code == 1
    assert [each["secret"] for each in ran.results("rotate", "failed")] == ["prod/api"]
    assert [key for key in region.system.rotator_keys() if key.enabled] == []


def test_later_current_key_is_error(region: Region) -> None:
    region.secret("prod/api")
    later = region.key("begins later", begins=region.system.clock.now() + 10 * DAY)
    region.put("prod/api", {"api_key": later.value}, ["AWSCURRENT", f"rotator:key:{later.id}"])
    (alert,) = region.plan().alerts("key-not-active", "prod/api")
    assert (alert["key_id"], alert["severity"]) == (later.id, "error")
