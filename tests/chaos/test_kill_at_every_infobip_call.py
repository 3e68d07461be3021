"""Every flow, every call of Infobip, every fault: the rules hold after every call, and the world converges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import AWS_FAULTS, HTTP_FAULTS, HttpFault
from tests.chaos.flows import FLOWS, Flow
from tests.chaos.kills import calls_of, disturbed


@pytest.mark.parametrize("fault", HTTP_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_infobip(flow: Flow, fault: HttpFault) -> None:
    if "slow propagation" in flow.name and fault.name.startswith("403"):
        pytest.skip("a 403 is the proof that a key authenticates: a false one can't be told from a true one")
    broken = [text for index in range(calls_of(flow)[1]) for text in disturbed(flow, fault, index)]
    assert not broken, "\n".join(broken[:12])


def test_there_is_something_to_disturb() -> None:
    total = sum(calls_of(flow)[0] * len(AWS_FAULTS) + calls_of(flow)[1] * len(HTTP_FAULTS) for flow in FLOWS)
    said = f"{total:,} faults at {sum(sum(calls_of(flow)) for flow in FLOWS)} calls of {len(FLOWS)} flows"
    print(said)
    assert total > 2000
    assert said in (Path(__file__).parents[2] / "README.md").read_text()
