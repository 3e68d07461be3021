"""Whether this machine's clock is right enough to judge expiry and grace periods. Pure."""

from __future__ import annotations

from datetime import timedelta

from rotator.message import Message
from rotator.model import AccountSnapshot

MAX_SKEW = timedelta(minutes=5)
"""With a larger skew, expiry and grace can't be judged. AWS refuses requests at the same skew."""


def clock_skew(snapshot: AccountSnapshot) -> Message | None:
    """Return what is wrong with this machine's clock, if it is too far from Infobip's."""
    if snapshot.skew is None or abs(snapshot.skew) <= MAX_SKEW:
        return None
    direction = "behind" if snapshot.skew > timedelta(0) else "ahead of"
    return Message.of(
        "this machine's clock is {skew} {direction} Infobip's, so expiry and grace periods can't be evaluated; nothing "
        "is changed; sync the clock with NTP",
        skew=abs(snapshot.skew),
        direction=direction,
    )
