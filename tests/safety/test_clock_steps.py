"""Grace is measured by one clock, Infobip's: neither a step nor two wrong machines make it shorter."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.safety.harness import DAY, HOUR, Region

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("step", [-72 * HOUR, -30 * HOUR])
def test_clock_step_shortens_no_grace(region: Region, step: timedelta) -> None:
    """Threat: the machine's clock is set during a sweep. No grace period gets shorter: it is measured by Infobip's
    clock. The machine's clock is set back between the listing and the label that says when the old key is revoked.
    """
    old = region.secret("prod/api", left=20 * DAY)

    region.faults.before_create(lambda: region.system.machine.be_wrong_by(step))
    region.sweep()
    region.system.machine.be_wrong_by(timedelta(0))
    region.sweeps(3, every=23 * HOUR)
    assert region.works(old), "revoked before its grace period of 72 h was over"
    region.sweeps(4, every=DAY)
    assert not region.works(old)


def test_clock_far_ahead_revokes_nothing(region: Region) -> None:
    old = region.secret("prod/api", left=20 * DAY)
    region.sweep()
    region.pass_time(DAY)
    region.system.machine.be_wrong_by(60 * HOUR)
    ran = region.sweep()
    assert region.works(old)
    assert ran.code == 1


def test_two_wrong_clocks_shorten_no_grace(region: Region) -> None:
    """Threat: two machines with different clocks. No grace period gets shorter. One machine's clock is four minutes
    behind and writes the label, another's is four minutes ahead and revokes.
    """
    region.system.machine.be_wrong_by(-4 * MINUTE)
    old = region.secret("prod/api", left=20 * DAY, grace="1h")
    region.sweep()
    region.system.machine.be_wrong_by(4 * MINUTE)
    region.sweeps(1, every=59 * MINUTE)
    assert region.works(old), "revoked before its grace period of 1 h was over"
    region.sweeps(1, every=2 * MINUTE)
    assert not region.works(old)
