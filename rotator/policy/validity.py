"""Replacements that would all end on one day are given ends that differ, so that clusters dissolve in a few cycles."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

from rotator.model import Spec

MOST: Final = 0.1
"""How much of a replacement's lifetime may be taken off."""


def lifetime(spec: Spec, secret: str) -> timedelta:
    """How long a replacement shall live: ``spec.validity`` less up to a tenth of it, told by the secret's name alone.

    Never so short that a key would be due at once, or that its grace would not fit into what is left of it then.

    :param secret: the secret's name; the same name always gets the same share.
    :returns: whole seconds.
    """
    before = spec.rotate_before
    if isinstance(before, timedelta):
        shortest = spec.validity - (spec.validity - before) * MOST
    else:
        shortest = max(spec.validity * (1 - MOST), spec.grace / before) if before else spec.validity
    room = max(spec.validity - shortest, timedelta(0))
    return timedelta(seconds=round((spec.validity - room * share(secret)).total_seconds()))


def share(secret: str) -> float:
    """A number in ``[0, 1)`` that a name has by itself: the same on every machine and in every run."""
    digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
