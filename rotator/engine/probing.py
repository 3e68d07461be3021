"""Uses a key until Infobip's verdict is the wanted one, because a change takes a while to be known everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

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
