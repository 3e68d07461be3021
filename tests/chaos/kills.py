"""Runs a flow with one fault at one of its calls, and lets sweeps go on: what broke?

The calls are found by running the flow undisturbed and noting them; a new call is covered by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from rotator.engine.emergency import EmergencyReport
from rotator.engine.sweep import Sweep
from rotator.plan import Outcome
from tests import leaks
from tests.chaos.convergence import Convergence
from tests.chaos.eleven_rules import ElevenRules
from tests.chaos.faults import AWS_FAULTS, HTTP_FAULTS, SUSPENSION, AwsFault, HttpFault, armed
from tests.chaos.flows import FLOWS, Flow, run
from tests.chaos.truth import PROBES, footprint
from tests.chaos.worlds import start

AT_AWS: tuple[AwsFault, ...] = (*AWS_FAULTS, SUSPENSION)
AT_INFOBIP: tuple[AwsFault | HttpFault, ...] = (*HTTP_FAULTS, SUSPENSION)
ACCOUNT_FAULTS = ("throttled", "401", "403")
"""Faults at Infobip that end an account's sweep, as they concern all of its secrets."""


@dataclass(frozen=True)
class Calls:
    """What an undisturbed flow calls: operations of Secrets Manager, and paths at Infobip."""

    aws: tuple[str, ...]
    infobip: tuple[str, ...]


@cache
def calls_of(flow: Flow) -> Calls:
    world = flow.make()
    world.store.calls.clear()
    before = len(world.infobip.calls)
    _, error = run(flow, world)
    assert error is None, error
    return Calls(tuple(op for op, _ in world.store.calls), tuple(c.path for c in world.infobip.calls[before:]))


def at_aws(flow: Flow, fault: AwsFault) -> list[int]:
    """The calls of Secrets Manager that can go wrong so."""
    return [index for index, op in enumerate(calls_of(flow).aws) if fault.applies(op)]


def at_infobip(flow: Flow, fault: AwsFault | HttpFault) -> list[int]:
    """The calls of Infobip that can go wrong so.

    A 403 to a probe shows that a key authenticates. Where new keys are slow, a false one can't be distinguished from a
    true one; six in a row from any call on reach the probe.
    """
    paths = calls_of(flow).infobip
    if "slow" not in flow.name or not fault.name.startswith("403"):
        return list(range(len(paths)))
    return [] if fault.name.endswith("-6") else [n for n, path in enumerate(paths) if not path.startswith(PROBES)]


def total() -> tuple[int, int, int]:
    """How many faults hit, at how many calls of how many flows; each test makes sure that its own did."""
    hits = 0
    for flow in FLOWS:
        hits += sum(len(at_aws(flow, fault)) for fault in AT_AWS)
        hits += sum(len(at_infobip(flow, fault)) for fault in AT_INFOBIP)
    return hits, sum(len(calls_of(flow).aws) + len(calls_of(flow).infobip) for flow in FLOWS), len(FLOWS)


def struck(flow: Flow, fault: AwsFault | HttpFault, index: int, *, infobip: bool) -> tuple[ElevenRules, list[str]]:
    """Run a flow with one fault. Gives its rules, and what else broke; a fault that never came did, too."""
    world = start(flow.make)
    rules = flow.rules(world, ElevenRules, pending=not flow.announced)
    rules.wrong_ids = fault.name == "wrong-id"
    with armed(world, fault, index, infobip=infobip) as hits, flow.process(rules):
        result, error = run(flow, world)
    broken = [] if hits() else ["the fault did not come"]
    if flow.strategy:
        rules.emergency_over(result if isinstance(result, EmergencyReport) else None)
    if isinstance(result, Sweep) and not fault.name.endswith("-6"):
        broken += others_went_on(result, fault)
    if leaks.find(f"{result!r} {error!r} {error} {world.events.sent}"):
        broken.append("rule 11: a secret in a result, an error or an event")
    return rules, [*rules.broken, *broken]


_after: dict[tuple[str, str], list[str]] = {}
"""What broke after a flow, by how it left the world: most faults leave it as many others do."""


def disturbed(flow: Flow, fault: AwsFault | HttpFault, index: int, *, infobip: bool) -> list[str]:
    """Run a flow with one fault, then let sweeps go on. Gives what broke."""
    rules, broken = struck(flow, fault, index, infobip=infobip)
    left = flow.name, footprint(rules.world, rules.history())
    if left not in _after:
        rules.broken.clear()
        _after[left] = Convergence(rules, flow).go()
    where = f"{flow.name}, {fault.name} at {'Infobip' if infobip else 'Secrets Manager'}'s call {index}"
    return [f"{where}: {text}" for text in dict.fromkeys((*broken, *_after[left]))]


def others_went_on(sweep: Sweep, fault: AwsFault | HttpFault) -> Iterator[str]:
    """Rule 8: one secret's failure stops no other's, unless Infobip says that it concerns them all."""
    failed = {result.action.secret for result in sweep.results if result.outcome is not Outcome.DONE}
    not_seen = [plan.error for plan in sweep.plan.accounts if plan.error is not None]
    if len(failed) > 1 and not fault.name.startswith(ACCOUNT_FAULTS):
        yield f"rule 8: {', '.join(sorted(failed))} were not done by one fault"
    if (failed or not_seen) and sweep.ok and any(result.outcome is Outcome.FAILED for result in sweep.results):
        yield "rule 8: the sweep reports success, and it failed in part"
