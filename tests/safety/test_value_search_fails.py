"""Infobip may ignore the search by a key's value, refuse it or show masks: nothing is lost, and names still prove."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.harness import DAY, Region


def ignored(region: Region) -> None:
    region.system.faults.ignore_value_search()


def refused(region: Region) -> None:
    region.system.faults.refuse_value_search(503)


def masked(region: Region) -> None:
    region.system.faults.show_masks()


def masked_and_ignored(region: Region) -> None:
    masked(region)
    ignored(region)


def masked_and_refused(region: Region) -> None:
    masked(region)
    refused(region)


FAULTS = [ignored, refused, masked, masked_and_ignored, masked_and_refused]
NO_PROOF_BY_VALUE = [fault for fault in FAULTS if fault is not masked]
"""The answer to a search by value must be one key alone: a filter that is ignored or refused proves nothing."""


@pytest.mark.parametrize("fault", FAULTS)
def test_keys_proven_by_name_go_on(region: Region, fault: Callable[[Region], None]) -> None:
    region.secret("prod/api", left=20 * DAY)
    first = region.rotate("prod/api")
    region.sweeps(4, every=DAY)
    fault(region)
    region.system.advance(70 * DAY)
    region.sweep()
    assert region.current_key("prod/api").id != first.id
    region.sweeps(4, every=DAY)
    assert not region.works(first)
    assert region.works(region.current_key("prod/api"))


@pytest.mark.parametrize("fault", NO_PROOF_BY_VALUE)
def test_unproven_hand_made_key_is_kept(region: Region, fault: Callable[[Region], None]) -> None:
    by_hand = region.secret("prod/api", left=20 * DAY)
    region.rotate("prod/api")
    fault(region)
    region.sweeps(5, every=DAY)
    assert region.works(by_hand)


def test_masked_hand_made_key_is_revoked(region: Region) -> None:
    masked(region)
    by_hand = region.secret("prod/api", left=20 * DAY)
    region.sweeps(5, every=DAY)
    assert region.current_key("prod/api").id != by_hand.id
    assert not region.works(by_hand)


@pytest.mark.parametrize("fault", NO_PROOF_BY_VALUE)
def test_unproven_key_passes_on_no_scopes(region: Region, fault: Callable[[Region], None]) -> None:
    key = region.secret("prod/api", left=20 * DAY)
    region.key("admin", scopes=("account-management:manage",))
    fault(region)
    region.sweeps(3)
    assert [made for made in region.system.rotator_keys() if made.scopes != key.scopes] == []
    assert region.works(key)


@pytest.mark.parametrize("fault", FAULTS)
def test_forged_labels_stay_without_effect(region: Region, fault: Callable[[Region], None]) -> None:
    """Threat: forged labels while Infobip ignores, rejects or masks the search by value. Nothing is revoked and no
    scopes are inherited without a proof.
    """
    victim = region.secret("prod/api")
    unmanaged = region.key("of another team")
    region.secret("dev/api")
    fault(region)
    past = f"{region.system.clock.now() - DAY:%Y%m%dT%H%M%SZ}"
    region.put("dev/api", "any-text", ["AWSPENDING", f"rotator:key:{victim.id}"])
    region.put("dev/api", "any-text", [f"rotator:key:{unmanaged.id}", f"rotator:retire:{unmanaged.id}:{past}"])
    region.sweeps(3)
    assert (region.works(victim), region.works(unmanaged)) == (True, True)
