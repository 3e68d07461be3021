"""The daily verification: in which sweep a secret's value is compared with its label. Pure.

Each secret has its own minute of the day, so that the reads are spread evenly. The sweep in whose time since the
previous one that minute lies verifies the secret. If that sweep fails or ends early, it is verified on the next day.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import DAY
from rotator.model import AccountSnapshot, SecretEntry
from rotator.policy.rules import (
    NOT_OURS,
    Decision,
    View,
    first,
    foreign_rotation,
    held,
    inconsistent,
    make_view,
    misconfigured,
)

_MINUTES: Final = 24 * 60


def minute_of(arn: str) -> int:
    """Return a secret's minute of the day in UTC, 0 to 1439; the same in every process."""
    return _number(arn) % _MINUTES


def is_time(arn: str, since: datetime, now: datetime) -> bool:
    """Whether a secret's minute lies after ``since`` and not after ``now``. A day or more contains every minute."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + timedelta(minutes=minute_of(arn))
    return (at if at <= now else at - DAY) > since


def to_verify(snapshot: AccountSnapshot, since: datetime, now: datetime) -> list[SecretEntry]:
    """Return the secrets whose value is to be compared with its label in this sweep.

    Their order differs from day to day, so that a sweep that never has time for all of them omits others each day.
    Left out are secrets that are not the rotator's to change; those without a labelled current value, whose value every
    sweep reads anyway; those whose tags or labels can't be read, which is an alert of its own; and those whose labelled
    key this account does not have, since that label must stay.
    """
    found = [entry for entry in snapshot.secrets if is_time(entry.arn, since, now)]
    labelled = [entry for entry in found if _is_labelled(make_view(snapshot, entry), now)]
    return sorted(labelled, key=lambda entry: _number(f"{now:%Y-%m-%d} {entry.arn}"))


def only_reported(view: View, now: datetime) -> Decision | None:
    """Return why a wrong label of this secret is reported and stays; ``None`` if it is removed."""
    return first((held, foreign_rotation), view, now)


def _is_labelled(view: View, now: datetime) -> bool:
    if first((*NOT_OURS, misconfigured, inconsistent), view, now) is not None:
        return False
    return view.life.current_version is not None and view.life.current_key is not None and view.key is not None


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
