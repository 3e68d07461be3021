"""Operators do things, at every moment that matters: no rule is broken, and the plan says what it sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotator.plan import Outcome
from tests.chaos.operators import ACTS, OTHER, Act, NotNow
from tests.chaos.rules import Rules
from tests.chaos.truth import api_key_in
from tests.chaos.worlds import MINUTE, SMS, WORLDS, start
from tests.world import HOUR, World

MOMENTS = ("unadopted", "current", "pending since a minute", "in grace", "grace over")


def _broken_by_hand(world: World) -> bool:
    text = world.try_read(SMS)
    return text is None or not world.infobip.authenticates(api_key_in(text))


def _plan_texts(world: World) -> Iterator[tuple[str, str]]:
    for plan in world.reconciler().plan().accounts:
        yield from ((action.reason, action.detail) for action in plan.actions)
        yield from ((skip.reason, skip.detail) for skip in plan.skipped)
        yield from ((alert.kind, alert.detail) for alert in plan.alerts)


def after(act: Act, moment: str) -> list[str]:
    """Let an operator do it, then let sweeps go on past every grace. Gives what broke."""
    world = start(WORLDS[moment])
    world.account(OTHER)
    rules = Rules(world)
    rules.start()
    world.pass_time(5 * MINUTE)
    world.exempt.add(SMS)
    with rules.operator():
        act.do(world)
    if not _broken_by_hand(world):
        world.exempt.discard(SMS)  # what the operator did not break must never break
    world.pass_time(MINUTE)
    found = []
    texts = list(_plan_texts(world))
    if act.sees and not any(reason in act.sees and act.says in detail for reason, detail in texts):
        found.append(f"the plan does not report it, but {texts}")
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
    if act.fix is not None:
        with rules.operator():
            act.fix(world)
        world.pass_time(10 * MINUTE)
        world.sweep()
    last = []
    for _ in range(3):
        world.pass_time(80 * HOUR)
        last = [str(item.error) for item in world.sweep().results if item.outcome is Outcome.FAILED]
    world.exempt.discard(SMS)
    rules.check("the end")
    found += [*last, *rules.final(after_grace=True)]
    return [f"{act.name}: {text}" for text in found if not (act.unowned and "no secret holds it" in text)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_operators_break_no_rule(moment: str) -> None:
    done, broken = 0, []
    for act in ACTS:
        try:
            broken += after(act, moment)
        except NotNow:
            continue
        done += 1
    assert not broken, "\n".join(broken[:12])
    assert done > len(ACTS) / 2
