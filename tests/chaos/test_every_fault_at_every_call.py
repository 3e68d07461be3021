"""Every flow, every call of either server, every fault: the rules hold after every call, and the world converges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import AwsFault, HttpFault
from tests.chaos.flows import FLOWS, Flow
from tests.chaos.kills import AT_AWS, AT_INFOBIP, at_aws, at_infobip, disturbed, total


@pytest.mark.parametrize("fault", AT_AWS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_secrets_manager(flow: Flow, fault: AwsFault) -> None:
    broken = [text for index in at_aws(flow, fault) for text in disturbed(flow, fault, index, infobip=False)]
    assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("fault", AT_INFOBIP, ids=lambda fault: fault.name)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_infobip(flow: Flow, fault: AwsFault | HttpFault) -> None:
    broken = [text for index in at_infobip(flow, fault) for text in disturbed(flow, fault, index, infobip=True)]
    assert not broken, "\n".join(broken[:12])


def test_documents_say_how_much_is_tried() -> None:
    """Each fault that is counted here hits its call: one that does not come fails its own test."""
    hits, calls, flows = total()
    text = f"{hits:,} faults at {calls} calls of {flows} flows"
    print(text)
    assert hits > 6000
    assert text in (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
