"""Infobip may ignore the search by a key's value, refuse it or show masks: nothing is lost, and names still prove."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.harness import DAY
from tests.support.rotator import Rotator


def ignored(rotator: Rotator) -> None:
    rotator.faults.ignore_value_search()


def refused(rotator: Rotator) -> None:
    rotator.faults.refuse_value_search(503)


def masked(rotator: Rotator) -> None:
    rotator.faults.show_masks()


def masked_and_ignored(rotator: Rotator) -> None:
    masked(rotator)
    ignored(rotator)


def masked_and_refused(rotator: Rotator) -> None:
    masked(rotator)
    refused(rotator)


FAULTS = [ignored, refused, masked, masked_and_ignored, masked_and_refused]
NO_PROOF_BY_VALUE = [fault for fault in FAULTS if fault is not masked]
"""The answer to a search by value must be one key alone: a filter that is ignored or refused proves nothing."""


@pytest.mark.parametrize("fault", FAULTS)
def test_keys_proven_by_name_go_on(rotator: Rotator, fault: Callable[[Rotator], None]) -> None:
    rotator.secret("prod/api", left=20 * DAY)
    first = rotator.rotate("prod/api")
    rotator.sweeps(4, every=DAY)
    fault(rotator)
    rotator.pass_time(70 * DAY)
    rotator.sweep()
    assert rotator.current_key("prod/api").id != first.id
    rotator.sweeps(4, every=DAY)
    assert not rotator.works(first)
    assert rotator.works(rotator.current_key("prod/api"))


@pytest.mark.parametrize("fault", NO_PROOF_BY_VALUE)
def test_unproven_hand_made_key_is_kept(rotator: Rotator, fault: Callable[[Rotator], None]) -> None:
    by_hand = rotator.secret("prod/api", left=20 * DAY)
    rotator.rotate("prod/api")
    fault(rotator)
    rotator.sweeps(5, every=DAY)
    assert rotator.works(by_hand)


def test_masked_hand_made_key_is_revoked(rotator: Rotator) -> None:
    masked(rotator)
    by_hand = rotator.secret("prod/api", left=20 * DAY)
    rotator.sweeps(5, every=DAY)
    assert rotator.current_key("prod/api").id != by_hand.id
    assert not rotator.works(by_hand)


@pytest.mark.parametrize("fault", NO_PROOF_BY_VALUE)
def test_unproven_key_passes_on_no_scopes(rotator: Rotator, fault: Callable[[Rotator], None]) -> None:
    key = rotator.secret("prod/api", left=20 * DAY)
    rotator.key("admin", scopes=("account-management:manage",))
    fault(rotator)
    rotator.sweeps(3)
    assert [made for made in rotator.rotator_keys() if made.scopes != key.scopes] == []
    assert rotator.works(key)


@pytest.mark.parametrize("fault", FAULTS)
def test_forged_labels_stay_without_effect(rotator: Rotator, fault: Callable[[Rotator], None]) -> None:
    """Threat: forged labels while Infobip ignores, rejects or masks the search by value. Nothing is revoked and no
    scopes are inherited without a proof.
    """
    victim = rotator.secret("prod/api")
    unmanaged = rotator.key("of another team")
    rotator.secret("dev/api")
    fault(rotator)
    past = f"{rotator.clock.now() - DAY:%Y%m%dT%H%M%SZ}"
    rotator.put("dev/api", "any-text", ["AWSPENDING", f"rotator:key:{victim.id}"])
    rotator.put("dev/api", "any-text", [f"rotator:key:{unmanaged.id}", f"rotator:retire:{unmanaged.id}:{past}"])
    rotator.sweeps(3)
    assert (rotator.works(victim), rotator.works(unmanaged)) == (True, True)
