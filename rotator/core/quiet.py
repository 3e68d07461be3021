"""Telling at once that the policy has nothing to say of a secret, as of nearly all secrets in nearly every sweep.

A sweep asks this of a million secrets. The policy itself stands in :mod:`rotator.core.decisions`; a property shows that
what is quiet here is left alone by none of its predicates, and made to rotate by none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from rotator.core.decisions import View

_ROUNDING: Final = 1e-6
"""Of a key's life. What is due, or not, by less than that is decided by the policy."""


def is_quiet(view: View, now: datetime) -> bool:
    """Whether a secret holds a working key that is not due, and nothing is under way, wrong or special about it.

    False says nothing: then the policy is asked.
    """
    entry, spec, key = view.entry, view.spec, view.key
    if key is None or spec is None or not key.enabled or view.life.more is not None or view.life.current_key is None:
        return False
    begin, end = key.valid_from, key.valid_to
    if begin is None or end is None or end <= begin or begin > now or spec.max_age is not None or spec.hold is not None:
        return False
    if entry.deleted_at is not None or entry.owning_service or entry.primary_region:
        return False
    if view.mislabelled is not None or view.unproven:
        return False
    left, before = end - now, spec.rotate_before
    if isinstance(before, timedelta):
        return left > before and before >= timedelta(0)
    return left / (end - begin) > before + _ROUNDING and before >= 0
