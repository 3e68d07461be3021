"""The times that keep a promotion and another process's revocation of the same key apart (docs/architecture.md)."""

from __future__ import annotations

from rotator.engine.revoke import MAX_CHECK_AGE
from rotator.engine.rotation.attempt import STALE_CREATE
from rotator.engine.rotation.promote import ALMOST_ORPHAN, REVOKE_IN_FLIGHT
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.orphans import ORPHAN_AGE


def test_a_promotion_waits_before_its_key_may_be_an_orphan() -> None:
    assert ALMOST_ORPHAN + MAX_SKEW <= ORPHAN_AGE


def test_the_wait_outlasts_a_revocation_that_was_decided() -> None:
    assert REVOKE_IN_FLIGHT > MAX_CHECK_AGE


def test_a_stale_create_is_checked_long_before_it_is_an_orphan() -> None:
    assert STALE_CREATE + REVOKE_IN_FLIGHT < ALMOST_ORPHAN
