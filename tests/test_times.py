"""The times that keep a promotion and another process's revocation of the same key apart (docs/architecture.md)."""

from __future__ import annotations

from rotator.engine.revoke import MAX_CHECK_AGE
from rotator.engine.rotation.attempt import STALE_CREATE
from rotator.engine.rotation.promote import ALMOST_ORPHAN, REVOKE_IN_FLIGHT
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.orphans import ORPHAN_AGE


def test_promotion_waits_before_orphan_age() -> None:
    assert ALMOST_ORPHAN + MAX_SKEW <= ORPHAN_AGE


def test_wait_outlasts_decided_revocation() -> None:
    assert REVOKE_IN_FLIGHT > MAX_CHECK_AGE


def test_stale_create_checked_before_orphan() -> None:
    assert STALE_CREATE + REVOKE_IN_FLIGHT < ALMOST_ORPHAN
