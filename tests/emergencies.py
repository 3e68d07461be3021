"""What the tests of emergencies share: a secret in grace, one command, the tape of its calls, and calm afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Emergency, EmergencyPlan, EmergencyReport, Strategy, Target
from rotator.errors import Refused, RotatorError, StoreDenied
from rotator.policy.labels import parse_key_label, parse_retire_label
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from rotator.telemetry.audit import Trigger
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
REASON = "pasted in a ticket"
REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY = Strategy.REPLACE_FIRST, Strategy.REVOKE_FIRST, Strategy.REVOKE_ONLY


CREATE, READ, UPDATE, PROBE = ("POST", "api-keys$"), ("GET", "api-keys/."), ("PUT", "api-keys/."), ("GET", "balance")
LIST = ("GET", "api-keys$")
"""Method and path of a fault."""
DENIED = StoreDenied("AccessDenied on prod/sms", action="secretsmanager:PutSecretValue")


def fault(world: World, kind: FaultKind, at: tuple[str, str], count: int | None = None, **settings: Any) -> Fault:
    """Let something go wrong at Infobip from now on."""
    return world.infobip.faults.add(Fault(kind, method=at[0], path=at[1], count=count, **settings))


def refuse(operation: str, error: Exception) -> Callable[[World], None]:
    """Let one operation of Secrets Manager fail for the secret concerned."""

    def arrange(world: World) -> None:
        def before(called: str, name: str) -> None:
            if called == operation and name == NAME:
                raise error

        world.store.before = before

    return arrange


@contextmanager
def refused(reason: Reason | None, *facts: str, kind: type[RotatorError] = Refused) -> Iterator[None]:
    """Expect an error with this reason, whose text has these names, ids, tags or commands."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.reason is reason
    assert [fact for fact in facts if fact not in str(caught.value)] == []


class Killed(BaseException):
    """``kill -9``: nothing may catch it."""


def emergency(world: World, incident: str | None = "INC-1") -> Emergency:
    """A command's emergency, over services of its own."""
    return Emergency(world.services(Trigger.EMERGENCY), REASON, incident)


def plan_for(
    world: World, strategy: Strategy = REPLACE_FIRST, incident: str | None = None, **target: Any
) -> EmergencyPlan:
    """The one plan of a command that is only shown."""
    plan = emergency(world, incident).plan(Target(**target), strategy)
    return plan


def revoke(
    world: World, strategy: Strategy = REPLACE_FIRST, *, incident: str | None = None, **target: Any
) -> EmergencyReport:
    """One command with ``--yes``."""
    command = emergency(world, incident)
    plan = command.plan(Target(**target) if target else Target(secret=NAME), strategy)
    return command.execute(plan)


def dry_run(world: World, strategy: Strategy = REPLACE_FIRST, **target: Any) -> EmergencyReport:
    """One command without ``--yes``; it changes nothing."""
    command, keys, labels = emergency(world, None), world.infobip.keys(), world.labels(NAME)
    report = command.dry_run(command.plan(Target(**target) if target else Target(secret=NAME), strategy))
    assert report.dry_run
    assert (world.infobip.keys(), world.labels(NAME)) == (keys, labels)
    return report


def leaked(key: SimKey) -> Secret:
    """A key's value, as it was found somewhere."""
    return Secret(str(key.value))


def named(by: str, key: SimKey) -> dict[str, Any]:
    """One of the three ways to say what is meant."""
    ways: dict[str, dict[str, Any]] = {
        "secret": {"secret": NAME},
        "key": {"key_id": key.id, "account": "main"},
        "value": {"leaked": leaked(key)},
    }
    return ways[by]


def in_grace(world: World, name: str = NAME, **settings: Any) -> tuple[SimKey, SimKey]:
    """A secret that was rotated an hour ago: the key in grace, and the current one."""
    old = world.secret(name, left=5 * DAY, **settings)
    world.pass_time(timedelta(minutes=6))  # until the oldest listing shows it
    assert world.sweep().ok
    world.pass_time(HOUR)
    current = world.current_key(name)
    assert current.id != old.id
    return old, current


def alive(world: World, key: SimKey) -> bool:
    """Whether a key authenticates."""
    return world.infobip.authenticates(key.value)


def dead(world: World, *keys: SimKey) -> bool:
    """Whether none of them authenticates."""
    return not any(alive(world, key) for key in keys)


def names_of(world: World, name: str = NAME) -> set[str]:
    """Every key id in a secret's labels."""
    labels = [label for labels in world.labels(name).values() for label in labels]
    keys = {key_id for label in labels if (key_id := parse_key_label(label))}
    return keys | {parsed[0] for label in labels if (parsed := parse_retire_label(label))}


def revoked(document: dict[str, Any], outcome: str = "done") -> list[str]:
    """The ids of keys with that outcome, in ``revoke --json`` or the handler's answer."""
    return [key["key_id"] for key in document["keys"] if key["outcome"] == outcome]


def replaced(document: dict[str, Any], outcome: str = "done") -> list[str]:
    """The secrets whose replacement has that outcome."""
    return [each["secret"] for each in document["replacements"] if each["outcome"] == outcome]


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


def settled(
    world: World,
    report: EmergencyReport,
    *,
    dead: Iterable[SimKey] = (),
    kept: Iterable[SimKey] = (),
    works: bool = True,
    name: str = NAME,
) -> None:
    """Everything asked for was done: these keys are refused, those are not; and the sweeps find nothing left to do.

    :param works: whether the consumer has a working key before the next sweep.
    """
    assert report.ok, report.errors
    assert [key.id for key in dead if alive(world, key)] == []
    assert [key.id for key in kept if not alive(world, key)] == []
    assert world.consumer_works(name) is works
    calm(world, name)


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
