"""Runs a flow with one fault at one of its calls, and lets sweeps go on: what broke?

The calls are found by running the flow undisturbed and counting; a new call is covered by itself.
"""

from __future__ import annotations

from rotator.emergency import EmergencyReport
from tests.chaos.faults import AwsFault, HttpFault, arm_aws, disarm
from tests.chaos.flows import Flow, run
from tests.chaos.rules import Watch
from tests.world import HOUR

_counts: dict[str, tuple[int, int]] = {}


def calls_of(flow: Flow) -> tuple[int, int]:
    """How many calls of Secrets Manager and of Infobip the undisturbed flow makes."""
    if flow.name not in _counts:
        world = flow.make()
        world.store.calls.clear()
        before = len(world.infobip.calls)
        run(flow, world)
        _counts[flow.name] = len(world.store.calls), len(world.infobip.calls) - before
    return _counts[flow.name]


def disturbed(flow: Flow, fault: AwsFault | HttpFault, index: int) -> list[str]:
    """Run a flow with one fault, then let sweeps go on. Gives what broke."""
    world = flow.make()
    watch = Watch(world, emergency=flow.emergency, consumers=flow.consumers)
    watch.start()
    calm = world.store.after
    if isinstance(fault, AwsFault):
        arm_aws(world, fault, index)
    else:
        world.infobip.faults.add(fault.make(index + 1))
    report = run(flow, world)
    if isinstance(report, EmergencyReport) and not report.replaced:
        # Asked for: the key is killed even when replacing failed, and the report says so. The next sweep replaces it.
        watch.broken = [text for text in watch.broken if not text.startswith("rule 1")]
        watch.consumers = False
    disarm(world, calm)
    watch.emergency = False
    for _ in range(2):
        world.pass_time(HOUR)
        world.sweep()
    world.pass_time(HOUR)
    last = world.sweep()
    watch.consumers = True
    watch.look("three sweeps")
    broken = watch.final(graced=False)
    broken += [f"three sweeps later: {result.error}" for result in last.results if result.error]
    for _ in range(2):
        world.pass_time(80 * HOUR)
        world.sweep()
    return [f"{flow.name}, {fault.name} at call {index}: {text}" for text in (*broken, *watch.final(graced=True))]
