"""Every flow, every call of Secrets Manager, every fault: the rules hold after every call, and the world converges."""

from __future__ import annotations

import pytest

from tests.chaos.faults import AWS_FAULTS, AwsFault
from tests.chaos.flows import FLOWS, Flow
from tests.chaos.kills import calls_of, disturbed


@pytest.mark.parametrize("fault", AWS_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_secrets_manager(flow: Flow, fault: AwsFault) -> None:
    broken = [text for index in range(calls_of(flow)[0]) for text in disturbed(flow, fault, index)]
    assert not broken, "\n".join(broken[:12])
