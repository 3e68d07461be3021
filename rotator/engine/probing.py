"""Uses a key until Infobip's verdict is the wanted one, because a change takes a while to be known everywhere.

So a new key is verified to work, and a revoked key to be rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import RotatorError
from rotator.ports import Clock, KeyProvider, Probe, ProbeVerdict
from rotator.secret import Secret

PROPAGATION: Final = timedelta(seconds=60)
"""How long a new or a revoked key may take to be known everywhere."""
MOST_USELESS: Final = 3


def probe_until(
    provider: KeyProvider,
    clock: Clock,
    value: Secret,
    path: str,
    wanted: ProbeVerdict,
    until: datetime,
    *,
    useless: Callable[[Probe], bool] = lambda probe: probe.lasting,
    longest: float = 8.0,
) -> Probe:
    """Probe until the verdict is the wanted one, but not after ``until``, and return the last probe.

    :param useless: which responses waiting does not change; :data:`MOST_USELESS` of them in a row end it, because
        otherwise every secret with a wrong verify path would take a minute.
    :param longest: the longest wait between two probes, in seconds.
    """
    wait, in_a_row = 0.5, 0
    while True:
        probe = provider.probe(value, path)
        in_a_row = in_a_row + 1 if useless(probe) else 0
        left = (until - clock.now()).total_seconds()
        if probe.verdict is wanted or left <= 0 or in_a_row == MOST_USELESS:
            return probe
        clock.sleep(min(wait, left))
        wait = min(wait * 2, longest)


@dataclass(frozen=True, slots=True)
class RevocationResult:
    """The outcome of the verification of a revocation.

    :param verified: Infobip lists it as disabled, and its value, if it is known, is rejected.
    :param works: whether it still works, as far as is known.
    :param note: how it was verified, or why not.
    """

    verified: bool
    works: bool
    note: str


def verify_revocation(
    provider: KeyProvider, clock: Clock, key_id: str, value: Secret | None, path: str, until: datetime, *, shown: bool
) -> RevocationResult:
    """Verify that Infobip shows a key disabled and, if its value is known, rejects it.

    :param provider: of the key's own account.
    :param path: what the probe requests.
    :param until: until when to wait for a rejection, by ``clock``; all revoked keys of a command share this time.
    :param shown: whether Infobip's response to the revocation showed the key disabled.
    """
    try:
        fetched = provider.get_key(key_id)
        shown, value = not fetched.key.enabled, value or fetched.value
        doubt = "" if shown else "Infobip still shows it enabled"
    except RotatorError as error:
        doubt = "" if shown else f"Infobip did not show it disabled: {error.message}"
    if doubt:
        return RevocationResult(False, True, f"not verified: {doubt}")
    if value is None:
        return RevocationResult(True, False, "verified: disabled at Infobip")
    # A server without a useful response must not delay the next leaked key.
    wanted = ProbeVerdict.REJECTED
    probe = probe_until(
        provider, clock, value, path, wanted, until, useless=lambda probe: probe.verdict is ProbeVerdict.INCONCLUSIVE
    )
    if probe.verdict is wanted:
        return RevocationResult(True, False, "verified: 401")
    if probe.verdict is ProbeVerdict.AUTHENTICATES:
        note = f"not verified: it STILL authenticates after {PROPAGATION.seconds} s, although it is disabled"
        return RevocationResult(False, True, note)
    note = f"not verified: Infobip lists it as disabled, but the probe was inconclusive ({probe.detail})"
    return RevocationResult(False, False, note)
