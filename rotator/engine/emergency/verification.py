"""Verifies a revocation: Infobip shows the key disabled, and its value, if it is known, is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import InfobipClock
from rotator.engine.emergency.targets import Located
from rotator.errors import RotatorError
from rotator.ports import KeyProvider, Probe, ProbeVerdict
from rotator.secret import Secret

VERIFY_TIMEOUT: Final = timedelta(seconds=60)
"""How long a revocation may take to propagate."""
LONGEST_PROBE_WAIT: Final = 8.0
MOST_INCONCLUSIVE: Final = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of a verification.

    :param verified: Infobip lists it as disabled, and its value, if it is known, is rejected.
    :param works: whether it still works, as far as is known.
    :param note: how it was verified, or why not.
    """

    verified: bool
    works: bool
    note: str


def verify(
    provider: KeyProvider, clock: InfobipClock, located: Located, path: str, until: datetime, *, shown: bool
) -> Verification:
    """Verify one revocation.

    :param provider: of the key's own account, and ``clock`` that account's.
    :param path: what the probe requests.
    :param until: until when to wait for a rejection; all revoked keys of a command share this time.
    :param shown: whether Infobip's response to the revocation showed the key disabled.
    """
    value = located.value
    try:
        fetched = provider.get_key(located.id)
        shown, value = not fetched.key.enabled, value or fetched.value
        doubt = "" if shown else "Infobip still shows it enabled"
    except RotatorError as error:
        doubt = "" if shown else f"Infobip did not show it disabled: {error.message}"
    if doubt:
        return Verification(False, True, f"not verified: {doubt}")
    if value is None:
        return Verification(True, False, "verified: disabled at Infobip")
    probe = _probed(provider, clock, value, path, until)
    if probe.verdict is ProbeVerdict.REJECTED:
        return Verification(True, False, "verified: 401")
    if probe.verdict is ProbeVerdict.AUTHENTICATES:
        note = f"not verified: it STILL authenticates after {VERIFY_TIMEOUT.seconds} s, although it is disabled"
        return Verification(False, True, note)
    note = f"not verified: Infobip lists it as disabled, but the probe was inconclusive ({probe.detail})"
    return Verification(False, False, note)


def _probed(provider: KeyProvider, clock: InfobipClock, value: Secret, path: str, until: datetime) -> Probe:
    wait, inconclusive = 0.5, 0
    while True:
        probe = provider.probe(value, path)
        left = (until - clock.now()).total_seconds()
        inconclusive += probe.verdict is ProbeVerdict.INCONCLUSIVE
        # A server without a useful response must not delay the next leaked key.
        if probe.verdict is ProbeVerdict.REJECTED or left <= 0 or inconclusive == MOST_INCONCLUSIVE:
            return probe
        clock.sleep(min(wait, left))
        wait = min(wait * 2, LONGEST_PROBE_WAIT)
