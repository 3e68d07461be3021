"""Runs in which a person does something between two calls, and what must hold whatever it is.

Run every act at every call of every flow by hand with ``python -m tests.chaos.people_runs``.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from itertools import product

from rotator.engine.emergency import EmergencyReport
from rotator.errors import RotatorError
from rotator.policy.lifecycle import read_lifecycle
from tests.chaos.account_rules import AccountRules
from tests.chaos.faults import Kill, at_calls
from tests.chaos.people import ACTS, Act
from tests.chaos.truth import footprint
from tests.chaos.two_accounts import FLOWS, Flow, TwoAccounts, sweep
from tests.chaos.worlds import SMS, start
from tests.world import DAY, HOUR

SECOND = timedelta(seconds=1)
SWEEPS = Flow("sweeps", TwoAccounts, sweep)


@cache
def _make(flow: Flow, parent: bool) -> partial[TwoAccounts]:
    """One and the same object each time: a world that took sweeps to make is made once."""
    return partial(flow.make, parent=parent)


@cache
def calls_of(flow: Flow, parent: bool) -> tuple[str, ...]:
    """The calls that a flow makes where nobody meddles."""
    world = start(_make(flow, parent))
    with at_calls(world) as calls:
        flow.act(world)
    return tuple(calls)


@dataclass(frozen=True)
class Case:
    """One act ahead of one call of one flow.

    :param killed: the process of the flow is killed there, too.
    """

    flow: Flow
    act: Act
    index: int
    parent: bool = False
    killed: bool = False

    def __str__(self) -> str:
        call = calls_of(self.flow, self.parent)[self.index]
        world = "parent" if self.parent else "two accounts"
        what = f"a person {self.act.name}{' and it is killed' if self.killed else ''}"
        return f"{self.flow.name} ({world}): {what} before call {self.index}, {call}"

    def broken(self) -> list[str]:
        """Play it, then let sweeps go on. Gives what broke."""
        world = start(_make(self.flow, self.parent))
        rules = AccountRules(world)
        rules.start()

        def meddle() -> None:
            pause = 2 * SECOND if self.act.slow else timedelta(0)
            world.pass_time(pause)
            with rules.by_hand():
                self.act.do(world)
            world.pass_time(pause)
            if self.killed:
                raise Kill

        report: object = None
        if self.index == 0 and not self.killed:
            meddle()  # before the run, so what it leaves is what the run begins with
        acts = [(self.index, meddle)] if self.index or self.killed else []
        with at_calls(world, *acts), rules.run(self.flow), contextlib.suppress(RotatorError, Kill):
            report = self.flow.act(world)
        world.infobip.faults.clear()
        if self.flow.strategy is not None and not self.killed:
            done = report if isinstance(report, EmergencyReport) else None
            rules.emergency_over(done, reachable=not self.act.credentials)
        broken = list(rules.broken)
        left = self.parent, self.act, footprint(world, rules.history())
        if left not in _after:
            rules.broken.clear()
            _after[left] = _later(world, rules, self.act)
        world.infobip.check()
        return [f"{self}: {text}" for text in dict.fromkeys((*broken, *_after[left]))]


_after: dict[tuple[object, ...], list[str]] = {}
"""What broke after a run, by how it left the world: most leave it as others do."""


def _later(world: TwoAccounts, rules: AccountRules, act: Act) -> list[str]:
    """Sweeps go on past every grace period; then the person corrects it, and they go on again."""
    found = _sweeps(world, rules)
    if not found and not _is_in_order(world, rules):
        rules.broken.append(f"{SMS} is not managed by its account, and no plan says so")
    if act.fix is not None:
        with rules.by_hand():
            act.fix(world)
        found = _sweeps(world, rules)
    life, key = read_lifecycle(world.store.peek(SMS)), rules.tagged_key(SMS)
    if key is None or not world.infobip.authenticates(key.value):
        rules.broken.append(f"{SMS} has no working key at the end: {found}")
    elif life.current_key != key.id:
        rules.broken.append(f"{SMS} is not adopted at the end: {life}; {found}")
    return rules.broken


def _is_in_order(world: TwoAccounts, rules: AccountRules) -> bool:
    """Whether the tagged account is that of the key, and the key is labelled."""
    entry, key = world.store.peek(SMS), rules.tagged_key(SMS)
    tagged = world.accounts.get(entry.tags["rotator:account"])
    mine = key is not None and tagged in (key.account_id, world.infobip.state.accounts[key.account_id].parent)
    return mine and key is not None and read_lifecycle(entry).current_key == key.id


def _sweeps(world: TwoAccounts, rules: AccountRules) -> list[str]:
    """Three by the hour, then past every grace period, by the day. Gives what the next plan says about the secret."""
    for every_, time in (*(3 * [(HOUR, HOUR)]), *(2 * [(DAY, 80 * HOUR), (DAY, DAY)])):
        world.policy = replace(world.policy, sweep_every=every_)
        world.pass_time(time)
        with rules.run(SWEEPS):
            sweep(world)
    plans = world.reconciler().plan().accounts
    said = [f"{skip.reason}: {skip.detail}" for plan in plans for skip in plan.skipped if skip.secret == SMS]
    return said + [f"{alert.kind}: {alert.detail}" for plan in plans for alert in plan.alerts if alert.secret == SMS]


def every(step: int = 1) -> Iterator[Case]:
    """Every act at every call of every flow, or each ``step``-th of these."""
    number = 0
    for flow, parent, killed, act in product(FLOWS, (False, True), (False, True), ACTS):
        for index in range(len(calls_of(flow, parent))):
            if number % step == 0:
                yield Case(flow, act, index, parent, killed)
            number += 1


def main() -> int:
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    runs, failed = 0, Counter[tuple[str, str]]()
    for case in every(step):
        runs += 1
        texts = case.broken()
        for text in texts:
            print(text)
        if texts:
            failed[case.flow.name, case.act.name] += 1
    for (flow, act), count in sorted(failed.items()):
        print(f"{count:5} {flow}: a person {act}")
    print(f"{runs} runs, {sum(failed.values())} broke a rule, of {len(_after)} states")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
