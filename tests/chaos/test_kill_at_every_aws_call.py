"""Every flow, every call of Secrets Manager, every fault: the rules hold after every call, and the world converges."""

from __future__ import annotations

import pytest

from tests.chaos.faults import AwsFault
from tests.chaos.flows import FLOWS, Flow
from tests.chaos.kills import AT_AWS, at_aws, disturbed


@pytest.mark.parametrize("fault", AT_AWS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_secrets_manager(flow: Flow, fault: AwsFault) -> None:
    broken = [text for index in at_aws(flow, fault) for text in disturbed(flow, fault, index, infobip=False)]
    assert not broken, "\n".join(broken[:12])
