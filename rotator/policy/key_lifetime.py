"""How long a new key lives. Pure."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

from rotator.model import Spec

MOST: Final = 0.1
"""The largest share of a replacement's lifetime that may be taken off."""


def lifetime(spec: Spec, secret: str) -> timedelta:
    """Return a replacement's lifetime: ``spec.validity`` less up to a tenth of it, by the secret's name alone.

    It is long enough that the key is not due at once, and that its grace fits into the time left when it is due.

    :param secret: the secret's name; the same name always gets the same share.
    :returns: whole seconds.
    """
    before = spec.rotate_before
    if isinstance(before, timedelta):
        shortest = spec.validity - (spec.validity - before) * MOST
    else:
        shortest = max(spec.validity * (1 - MOST), spec.grace / before) if before else spec.validity
    spread = max(spec.validity - shortest, timedelta(0))
    return timedelta(seconds=round((spec.validity - spread * share(secret)).total_seconds()))


def share(secret: str) -> float:
    """Return a name's number in ``[0, 1)``, the same on every machine and in every run."""
    digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
