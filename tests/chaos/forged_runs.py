"""Runs in which a label writer forges something between two calls, and what must hold whatever it forges.

Run every forgery at every call of every run by hand with ``python -m tests.chaos.forged_runs`` (half an hour).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.errors import RotatorError
from rotator.model import SecretEntry
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.sandbox.state import Options, SimKey
from tests.chaos.eleven_rules import ElevenRules
from tests.chaos.faults import at_calls
from tests.chaos.flows import Flow
from tests.chaos.label_writer import DISABLED, FORGERIES, UNMANAGED, LabelWriter, forge
from tests.chaos.truth import named_for
from tests.chaos.worlds import PROBE, SMS, TOKEN, VOICE, emergency, four_steps, killed_at, start, sweep
from tests.world import DAY, HOUR, World

PUSH, OURS, DUE = "prod/push", "dev/a", "dev/b"
"""A pending version, beside SMS, a key in grace, and VOICE, a due rotation; and two that the label writer may write."""
PROTECTED = (SMS, VOICE, PUSH)
WRITABLE = frozenset({OURS, DUE})


@dataclass
class ForgeryRules(ElevenRules):
    """The eleven rules for all but the label writer's own secrets: what happens to their keys is its own affair."""

    writable: frozenset[str] = WRITABLE

    def _is_writers(self, key: SimKey) -> bool:
        """Whether a key was made for a secret that it may write, and no other secret ever had it."""
        mine = named_for(self.world, key.name) in self.writable
        mine = mine or any(self.world.first_keys[name].id == key.id for name in self.writable)
        return mine and self._holder.get(key.id, next(iter(self.writable))) in self.writable

    def _check_promotion(self, entry: SecretEntry, current: str, when: str) -> None:
        if entry.name not in self.writable:
            super()._check_promotion(entry, current, when)

    def _check_revocation(self, key_id: str, name: str, now: datetime, when: str) -> None:
        if self._is_writers(self.world.infobip.key(key_id)):
            if self._scheduled and key_id in self._enabled_before:
                self._check_share(key_id, when)
            return
        super()._check_revocation(key_id, name, now, when)

    def _check_sequence(self, key: SimKey, secret: str, when: str) -> None:
        if secret not in self.writable:
            super()._check_sequence(key, secret, when)

    def _check_order(self, due: dict[str, datetime]) -> None:
        """Retire labels that were forged are due since whenever it likes."""


def make(options: Options | None = None, grace_over: bool = True) -> World:
    """The world, before anything is forged."""
    world = World(options=options)
    world.secret(SMS, left=200 * DAY, lifetime=265 * DAY)
    world.secret(OURS, left=200 * DAY, lifetime=265 * DAY)
    account, begin = world.accounts["main"], world.clock.now() - 30 * DAY
    world.infobip.add_key(account, UNMANAGED, scopes=("voice:manage",), valid_from=begin)
    admin = world.infobip.add_key(account, DISABLED, scopes=("account-management:manage",), valid_from=begin)
    world.infobip.change_key(admin.id, enabled=False)
    rotate_now(world.services(), SMS, "test")
    rotate_now(world.services(), OURS, "test")
    world.pass_time(71 * HOUR if grace_over else HOUR)
    world.secret(PUSH, left=20 * DAY)
    killed_at(world, PROBE, HOUR)
    world.secret(VOICE, left=20 * DAY)
    world.secret(DUE, left=21 * DAY)
    world.exempt |= WRITABLE
    return world


def _announced() -> World:
    world = make()
    world.store.start_rotation(VOICE, TOKEN)
    return world


def _in_emergency(secret: str, strategy: Strategy) -> Flow:
    return Flow(f"{strategy} of {secret}", make, emergency(strategy, secret), secret=secret, strategy=strategy)


def _in_grace() -> World:
    return make(grace_over=False)


RUNS = (
    Flow("sweep", make, sweep, scheduled=True),
    Flow("sweep, masked values", lambda: make(Options(reveal=False)), sweep, scheduled=True),
    Flow("sweep in grace", _in_grace, sweep, scheduled=True),
    Flow("rotation of a protected secret", make, lambda world: rotate_now(world.services(), VOICE, "test")),
    Flow("rotation of the writer's secret", make, lambda world: rotate_now(world.services(), DUE, "test")),
    Flow("four steps", _announced, lambda world: four_steps(world, VOICE, tries=2)),
    Flow("rollback of a protected secret", _in_grace, lambda world: rollback(world.services(), SMS, "test")),
    Flow("rollback of the writer's secret", _in_grace, lambda world: rollback(world.services(), OURS, "test")),
    *(_in_emergency(secret, strategy) for secret in (SMS, OURS) for strategy in Strategy),
)


@cache
def calls_of(run: Flow) -> int:
    """How many calls the run makes where nothing is forged."""
    world = start(run.make)
    with at_calls(world) as calls:
        run.act(world)
    return len(calls)


def forged(run: Flow, secret: str, forgery: str, index: int) -> list[str]:
    """Forge something before a call, and again after each of the sweeps that follow. Gives what broke."""
    return played(run, [(index, secret, forgery)])


def played(run: Flow, forgeries: list[tuple[int, str, str]]) -> list[str]:
    """The same with several: ``(call, secret, forgery)``. Those at a call that never comes happen afterwards."""
    world = start(run.make)
    rules = run.rules(world, ForgeryRules, pending=False)
    acts = [(index, _forger(world, rules, secret, forgery)) for index, secret, forgery in forgeries]
    report = None
    with at_calls(world, *acts), run.process(rules), contextlib.suppress(RotatorError):
        report = run.act(world)
    if run.strategy:
        rules.emergency_over(report if isinstance(report, EmergencyReport) and run.secret in PROTECTED else None)
        if run.secret in PROTECTED:
            rules.broken += _enabled_of(world, rules.emergency_keys)
    _sweeps(world, rules, forgeries)
    rules.broken += _final(world, rules)
    where = f"{run.name}, {', '.join(f'{name} on {secret} at call {index}' for index, secret, name in forgeries)}"
    return [f"{where}: {text}" for text in dict.fromkeys(rules.broken)]


def _forger(world: World, rules: ForgeryRules, secret: str, forgery: str) -> Callable[[], None]:
    def act() -> None:
        with rules.operator():
            forge(LabelWriter(world, secret, SMS if secret == OURS else PUSH), forgery)

    return act


def _enabled_of(world: World, emergency_keys: frozenset[str]) -> Iterator[str]:
    """An emergency that names a protected secret revokes its keys, whatever labels another secret has."""
    for key_id in sorted(emergency_keys):
        if world.infobip.key(key_id).enabled:
            yield f"key {key_id} is enabled after the emergency"


def _sweeps(world: World, rules: ForgeryRules, forgeries: list[tuple[int, str, str]]) -> None:
    """Three hours, then past every grace period; the label writer goes on."""
    for time in (HOUR, HOUR, HOUR, 80 * HOUR, HOUR, 80 * HOUR, HOUR):
        world.pass_time(time)
        begun = world.clock.now()
        with rules.run(scheduled=True):
            sweep = world.sweep()
        rules.swept_after_emergency()
        rules.swept(sweep, begun, PROTECTED)
        for _, secret, forgery in forgeries:
            _forger(world, rules, secret, forgery)()


def _final(world: World, rules: ForgeryRules) -> Iterator[str]:
    """The protected secrets hold a working key each, the only one; unmanaged keys are as they were."""
    now = world.clock.now()
    enabled = {key.id: key for key in world.infobip.keys() if key.enabled and key.valid_to > now}
    for name in PROTECTED:
        key, life = world.current_key(name), read_lifecycle(world.store.peek(name))
        stopped = name == rules.secret and rules.strategy is Strategy.REVOKE_ONLY
        if key.id not in enabled and not stopped:
            yield f"{name} holds no working key at the end"
        steady = Lifecycle(
            life.current_version,
            key.id,
            holders={key.id: life.current_version or ""},
            at_work=frozenset({key.id}),
        )
        if life != steady and not stopped:
            yield f"{name}: its labels are not in order at the end: {life}"
        mine = {each for each, key in enabled.items() if named_for(world, key.name) == name}
        mine |= enabled.keys() & {world.first_keys[name].id}
        if mine - {key.id}:
            yield f"{name}: {sorted(mine - {key.id})} are enabled at the end, besides its current key"
    if named_for(world, world.current_key(VOICE).name) != VOICE:
        yield f"{VOICE} was due, and was never rotated"
    for key in world.infobip.keys():
        if (key.name == UNMANAGED and not key.enabled) or (key.name == DISABLED and key.enabled):
            yield f"rule 4: key {key.id} ({key.name}), which is unmanaged, was changed"


def every(step: int = 1, first: int = 0) -> Iterator[tuple[Flow, str, str, int]]:
    """Every forgery at every call of every run, or each ``step``-th of these."""
    number = -first
    for run in RUNS:
        for secret in sorted(WRITABLE):
            for forgery in FORGERIES:
                for index in range(calls_of(run)):
                    if number % step == 0:
                        yield run, secret, forgery, index
                    number += 1


def main() -> int:
    runs, broken = 0, 0
    for run, secret, forgery, index in every():
        runs += 1
        for text in forged(run, secret, forgery, index):
            broken += 1
            print(text)
    print(f"{runs} runs, {broken} times a rule was broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
