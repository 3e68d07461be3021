"""A few runs of each kind of chaos, for ``make test``; all of them are in the other files."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos import people_runs
from tests.chaos.concurrency import Case
from tests.chaos.flows import FLOWS, Flow
from tests.chaos.forged_runs import every, forged
from tests.chaos.interleave import two_switches
from tests.chaos.kills import AT_AWS, AT_INFOBIP, at_aws, at_infobip, disturbed
from tests.chaos.operators import ACTS, NotNow
from tests.chaos.test_operators import after
from tests.chaos.test_two_at_once import PAIRS
from tests.chaos.two_years import run

SOME = [flow for flow in FLOWS if flow.name in ("rotation", "emergency replace-first")]


@pytest.mark.parametrize("flow", SOME, ids=lambda flow: flow.name)
def test_every_fault_at_one_call(flow: Flow) -> None:
    broken = []
    for number, fault in enumerate(AT_AWS):
        calls = at_aws(flow, fault)
        broken += disturbed(flow, fault, calls[number % len(calls)], infobip=False)
    for number, other in enumerate(AT_INFOBIP):
        calls = at_infobip(flow, other)
        broken += disturbed(flow, other, calls[number % len(calls)], infobip=True)
    assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("case", PAIRS[::8], ids=lambda case: case.name)
def test_orders_of_two_at_once(case: Case) -> None:
    for switches in islice(two_switches(case.calls()), 0, None, 15):
        _, broken, _ = case.run(switches.order())
        assert not broken, "\n".join(broken[:12])


def test_operators() -> None:
    for act in ACTS[::9]:
        try:
            assert after(act, "in grace") == []
        except NotNow:
            continue


def test_forgeries() -> None:
    assert [text for case in every(9001) for text in forged(*case)] == []


def test_people() -> None:
    assert [text for case in people_runs.every(1201) for text in case.broken()] == []


def test_days_of_300_secrets() -> None:
    assert run(4, 2).violations == []
