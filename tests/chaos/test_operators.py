"""Operators do things, at every moment that matters: no rule is broken, and the plan says what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from rotator.model import Outcome
from tests.chaos import scenes
from tests.chaos.observer import Observer
from tests.chaos.operator_acts import ACTS
from tests.chaos.operators import NAME, OTHER, Act, NotNow
from tests.chaos.rules import api_key_in
from tests.world import HOUR, World

MINUTE = timedelta(minutes=1)


def _current() -> World:
    world = World()
    world.managed(NAME)
    return world


MOMENTS: dict[str, Callable[[], World]] = {
    "before adoption": scenes.unadopted,
    "while current": _current,
    "pending": scenes.fresh_pending,
    "in grace": scenes.in_grace,
    "right before a revocation": scenes.grace_over,
}


def _broken_by_hand(world: World) -> bool:
    text = world.try_read(NAME)
    return text is None or not world.infobip.authenticates(api_key_in(text))


def _said(world: World) -> Iterator[tuple[str, str]]:
    for plan in world.reconciler().plan().accounts:
        yield from ((action.reason, action.detail) for action in plan.actions)
        yield from ((skip.reason, skip.detail) for skip in plan.skipped)
        yield from ((alert.kind, alert.detail) for alert in plan.alerts)


def after(act: Act, make: Callable[[], World]) -> list[str]:
    """Let somebody do it, then let sweeps go on past every grace. Gives what broke."""
    world = make()
    world.account(OTHER)
    observer = Observer(world)
    observer.start()
    world.pass_time(5 * MINUTE)
    world.exempt.add(NAME)
    with observer.hands():
        act.do(world)
    if not _broken_by_hand(world):
        world.exempt.discard(NAME)  # what the operator did not break must never break
    world.pass_time(MINUTE)
    found = []
    said = list(_said(world))
    if act.sees and not any(reason in act.sees and act.says in detail for reason, detail in said):
        found.append(f"the plan does not say so, but {said}")
    for _ in range(3):
        world.pass_time(HOUR)
        world.sweep()
    if act.fix is not None:
        with observer.hands():
            act.fix(world)
        world.pass_time(10 * MINUTE)
        world.sweep()
    last = []
    for _ in range(3):
        world.pass_time(80 * HOUR)
        last = [str(item.error) for item in world.sweep().results if item.outcome is Outcome.FAILED]
    world.exempt.discard(NAME)
    observer.look("the end")
    found += [*last, *observer.final(graced=True)]
    return [f"{act.name}: {text}" for text in found if not (act.strands and "nobody holds it" in text)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_an_operator_does(moment: str) -> None:
    done, broken = 0, []
    for act in ACTS:
        try:
            broken += after(act, MOMENTS[moment])
        except NotNow:
            continue
        done += 1
    assert not broken, "\n".join(broken[:12])
    assert done > len(ACTS) / 2
