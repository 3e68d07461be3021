"""What the tests of emergencies share: a secret in grace, one command, the tape of its calls, and calm afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import EmergencyPlan, EmergencyReport, Strategy, Target
from rotator.errors import Refused, RotatorError, StoreDenied
from rotator.policy.labels import parse_key_label, parse_retire_label
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, NAME, World

REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY = Strategy.REPLACE_FIRST, Strategy.REVOKE_FIRST, Strategy.REVOKE_ONLY


CREATE, READ, UPDATE, PROBE = ("POST", "api-keys$"), ("GET", "api-keys/."), ("PUT", "api-keys/."), ("GET", "balance")
LIST = ("GET", "api-keys$")
"""Method and path of a fault."""
DENIED = StoreDenied("AccessDenied on prod/sms", action="secretsmanager:PutSecretValue")


class EmergencyWorld(World):
    """With what tests of emergencies do to one secret."""

    def fault(self, kind: FaultKind, at: tuple[str, str], count: int | None = None, **settings: Any) -> Fault:
        """Let something go wrong at Infobip from now on."""
        return self.infobip.faults.add(Fault(kind, method=at[0], path=at[1], count=count, **settings))

    def in_grace(self, name: str = NAME, **settings: Any) -> tuple[SimKey, SimKey]:
        """A secret that was rotated an hour ago: the key in grace, and the current one."""
        old = self.secret(name, left=5 * DAY, **settings)
        self.pass_time(timedelta(minutes=6))  # until the oldest listing shows it
        assert self.sweep().ok
        self.pass_time(HOUR)
        current = self.current_key(name)
        assert current.id != old.id
        return old, current

    def plan_for(self, strategy: Strategy = REPLACE_FIRST, incident: str | None = None, **target: Any) -> EmergencyPlan:
        """The one plan of a command that is only shown."""
        return self.emergency(incident).plan(Target(**target), strategy)

    def dry_run(self, strategy: Strategy = REPLACE_FIRST, **target: Any) -> EmergencyReport:
        """One command without ``--yes``; it changes nothing."""
        command, keys, labels = self.emergency(None), self.infobip.keys(), self.labels(NAME)
        report = command.dry_run(command.plan(Target(**target) if target else Target(secret=NAME), strategy))
        assert report.dry_run
        assert (self.infobip.keys(), self.labels(NAME)) == (keys, labels)
        return report

    def names_of(self, name: str = NAME) -> set[str]:
        """Every key id in a secret's labels."""
        labels = self.every_label(name)
        keys = {key_id for label in labels if (key_id := parse_key_label(label))}
        return keys | {parsed[0] for label in labels if (parsed := parse_retire_label(label))}

    def calm(self, name: str = NAME) -> None:
        """Sweeps over four days end with one live key a secret, nothing to do, and a consumer that works."""
        for wait in (timedelta(0), timedelta(minutes=31), 73 * HOUR, HOUR):
            self.pass_time(wait)
            self.sweep()
        last = self.sweep()
        assert last.results == (), last.results
        assert last.ok, [plan.alerts for plan in last.plan.accounts]
        assert self.consumer_works(name)
        assert self.names_of(name) == {self.current_key(name).id}

    def settled(
        self,
        report: EmergencyReport,
        *,
        dead: Iterable[SimKey] = (),
        kept: Iterable[SimKey] = (),
        works: bool = True,
        name: str = NAME,
    ) -> None:
        """Everything asked for was done: these keys are refused, those are not; and sweeps find nothing left to do.

        :param works: whether the consumer has a working key before the next sweep.
        """
        assert report.ok, report.errors
        assert [key.id for key in dead if self.works(key)] == []
        assert [key.id for key in kept if not self.works(key)] == []
        assert self.consumer_works(name) is works
        self.calm(name)


def refuse(operation: str, error: Exception) -> Callable[[EmergencyWorld], None]:
    """Let one operation of Secrets Manager fail for the secret concerned."""

    def arrange(world: EmergencyWorld) -> None:
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
