"""What the tests of emergencies share: a secret in grace, one command, the tape of its calls, and calm afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rotator.audit import Trigger
from rotator.core.labels import parse_key_label, parse_retire_label
from rotator.core.secret import Secret
from rotator.emergency import Emergency, EmergencyPlan, EmergencyReport, Strategy, Target
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.model import SimKey
from rotator.sandbox.wire import Request, Response
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
REASON = "pasted in a ticket"
REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY = Strategy.REPLACE_FIRST, Strategy.REVOKE_FIRST, Strategy.REVOKE_ONLY


class Killed(BaseException):
    """``kill -9``: nothing may catch it."""


def emergency(world: World, incident: str | None = "INC-1") -> Emergency:
    """A command's emergency, over services of its own."""
    return Emergency(world.services(Trigger.EMERGENCY), REASON, incident)


def plan_for(
    world: World, strategy: Strategy = REPLACE_FIRST, incident: str | None = None, **target: Any
) -> EmergencyPlan:
    """The one plan of a command that is only shown."""
    (plan,) = emergency(world, incident).plan(Target(**target), strategy)
    return plan


def revoke(
    world: World, strategy: Strategy = REPLACE_FIRST, *, incident: str | None = None, **target: Any
) -> EmergencyReport:
    """One command with ``--yes``."""
    command = emergency(world, incident)
    (plan,) = command.plan(Target(**target) if target else Target(secret=NAME), strategy)
    return command.execute(plan)


def leaked(key: SimKey) -> Secret:
    """A key's value, as it was found somewhere."""
    return Secret(str(key.value))


def in_grace(world: World, name: str = NAME, **settings: Any) -> tuple[SimKey, SimKey]:
    """A secret that was rotated an hour ago: the key in grace, and the current one."""
    old = world.managed(name, left=5 * DAY, age=85 * DAY, **settings)
    assert world.sweep().ok
    world.pass_time(HOUR)
    return old, world.current_key(name)


def alive(world: World, key: SimKey) -> bool:
    """Whether a key authenticates."""
    return world.infobip.authenticates(key.value)


def names_of(world: World, name: str = NAME) -> set[str]:
    """Every key id in a secret's labels."""
    labels = [label for labels in world.labels(name).values() for label in labels]
    keys = {key_id for label in labels if (key_id := parse_key_label(label))}
    return keys | {parsed[0] for label in labels if (parsed := parse_retire_label(label))}


def calm(world: World, name: str = NAME) -> None:
    """Sweeps over four days end with one live key a secret, nothing to do, and a consumer that works."""
    for wait in (timedelta(0), timedelta(minutes=31), 73 * HOUR, HOUR):
        world.pass_time(wait)
        world.sweep()
    last = world.sweep()
    assert last.results == (), last.results
    assert last.ok, [plan.alerts for plan in last.plan.accounts]
    assert world.consumer_works(name)
    assert names_of(world, name) == {world.current_key(name).id}


@dataclass
class Tape:
    """Every call of a run, at both far ends, in order; ``stop`` may raise before or after the one that it likes."""

    world: World
    calls: list[str] = field(default_factory=list)
    stop: Callable[[str, int, str], None] | None = None

    def __enter__(self) -> Tape:
        self.world.store.before = lambda operation, _: self._before(operation)
        self.world.store.after = lambda operation, _: self._after(operation)
        every: dict[str, Any] = {"path": "", "count": None}
        self.world.infobip.faults.add(Fault(FaultKind.HOOK_BEFORE, hook=self._infobip_before, **every))
        self.world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, hook=self._infobip_after, **every))
        return self

    def __exit__(self, *_: object) -> None:
        self.world.store.before = self.world.store.after = None
        self.world.infobip.faults.clear()

    def _before(self, what: str) -> None:
        self.calls.append(what)
        if self.stop is not None:
            self.stop("before", len(self.calls), what)

    def _after(self, what: str) -> None:
        if self.stop is not None:
            self.stop("after", len(self.calls), what)

    def _infobip_before(self, request: Request, _answer: Response | None) -> None:
        self._before(_short(request))

    def _infobip_after(self, request: Request, _answer: Response | None) -> None:
        self._after(_short(request))

    def until_kill(self) -> list[str]:
        """The calls up to the one that ends the first key, with it."""
        return self.calls[: self.calls.index("PUT key") + 1]


def _short(request: Request) -> str:
    path = request.path
    if path.startswith("/settings/2/api-keys/"):
        return f"{request.method} key"
    if path == "/settings/2/api-keys":
        return f"{request.method} keys" + "".join(f" by {name}" for name in sorted(request.query) if "Secret" in name)
    return "probe"
