"""Verifies a revocation: Infobip shows the key disabled, and its value, if it is known, is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.engine.context import InfobipClock
from rotator.engine.emergency.targets import Located
from rotator.engine.probing import PROPAGATION, probe_until
from rotator.errors import RotatorError
from rotator.ports import KeyProvider, Probe, ProbeVerdict


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
    # A server without a useful response must not delay the next leaked key.
    wanted = ProbeVerdict.REJECTED
    probe = probe_until(provider, clock, value, path, wanted, until, useless=_shows_nothing)
    if probe.verdict is wanted:
        return Verification(True, False, "verified: 401")
    if probe.verdict is ProbeVerdict.AUTHENTICATES:
        note = f"not verified: it STILL authenticates after {PROPAGATION.seconds} s, although it is disabled"
        return Verification(False, True, note)
    note = f"not verified: Infobip lists it as disabled, but the probe was inconclusive ({probe.detail})"
    return Verification(False, False, note)


def _shows_nothing(probe: Probe) -> bool:
    return probe.verdict is ProbeVerdict.INCONCLUSIVE
