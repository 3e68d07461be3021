"""A main account's user manages sub-accounts' keys: they are revoked where they are, whatever Infobip refuses."""

from __future__ import annotations

import pytest

from rotator.engine.emergency import Strategy
from rotator.sandbox.state import Options, SimKey
from tests.emergencies import REPLACE_FIRST, REVOKE_ONLY, EmergencyWorld
from tests.world import DAY, NAME


def sub_world(options: Options) -> tuple[EmergencyWorld, SimKey]:
    """A world whose managed key is a sub-account's; the main account's list includes it."""
    options.list_sub_accounts = True
    world = EmergencyWorld(options=options)
    key = world.secret(NAME, left=5 * DAY)
    sub = world.infobip.add_account("sub", parent=key.account_id)
    return world, world.infobip.change_key(key.id, account_id=sub.id)


@pytest.mark.parametrize("refuse_missing_account", [False, True])
def test_sweeps_revoke_without_move(refuse_missing_account: bool) -> None:
    """Threat: a revocation that moves a sub-account's key. The key's own account is sent."""
    world, old = sub_world(Options(refuse_missing_account=refuse_missing_account))
    for _ in range(5):
        assert world.sweep().ok
        world.pass_time(DAY)
    keys = world.infobip.keys()
    assert [key.enabled for key in keys] == [False, True]
    assert {key.account_id for key in keys} == {old.account_id}
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("refuse_past_end", [False, True])
@pytest.mark.parametrize("refuse_account", [None, 400, 403, 404])
@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_ONLY])
def test_emergency_despite_refused_fields(
    strategy: Strategy, refuse_account: int | None, refuse_past_end: bool
) -> None:
    """Threat: a field of a sub-account's key that Infobip rejects, to keep a leaked key enabled. It is revoked."""
    world, leaked = sub_world(Options(refuse_account=refuse_account, refuse_past_end=refuse_past_end))
    report = world.revoke(strategy, key_id=leaked.id, account="main")
    assert report.ok, report.errors
    (step,) = (step for step in report.steps if step.key_id == leaked.id)
    assert step.verified
    assert not world.infobip.authenticates(leaked.value)
    assert (world.infobip.key(leaked.id).account_id == leaked.account_id) == (refuse_account is None)
