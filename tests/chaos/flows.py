"""The flows that are disturbed: each a world and something that happens in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from rotator.emergency import Emergency, Strategy, Target
from rotator.errors import RotatorError
from rotator.manual import adopt, rotate_now
from rotator.rollback import rollback
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.model import Options
from tests.chaos.faults import Kill
from tests.world import DAY, HOUR, World


@dataclass(frozen=True)
class Flow:
    """One flow.

    :param make: the world, just before.
    :param act: what is disturbed.
    :param emergency: keys may die without grace.
    :param consumers: whether consumers must work throughout.
    """

    name: str
    make: Callable[[], World]
    act: Callable[[World], object]
    emergency: bool = False
    consumers: bool = True


def _sweep(world: World) -> object:
    return world.sweep()


def _due(options: Options | None = None) -> World:
    world = World(options=options)
    world.managed("prod/sms", left=20 * DAY, age=70 * DAY)
    world.managed("prod/voice", left=200 * DAY)
    return world


def _masked() -> World:
    return _due(Options(reveal=False))


def _slow() -> World:
    return _due(Options(reveal=False, propagation=timedelta(seconds=20)))


def _unadopted() -> World:
    world = World()
    world.managed("prod/sms", left=20 * DAY, age=70 * DAY, adopted=False)
    world.managed("prod/voice", left=200 * DAY, adopted=False, plain=True)
    return world


def _first_key() -> World:
    world = World()
    world.managed("prod/voice", left=200 * DAY)
    world.store.create_secret("prod/new", world.tags(scopes="sms:manage"))
    return world


def _killed_at(world: World, method: str, path: str) -> World:
    def kill(_request: object, _answer: object) -> None:
        raise Kill

    fault = world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method=method, path=path, hook=kill))
    with contextlib.suppress(Kill):
        world.sweep()
    assert fault.hits == 1
    world.infobip.faults.clear()
    return world


def _pending() -> World:
    world = _killed_at(_due(), "GET", "balance")
    world.pass_time(HOUR)
    return world


def _unstored() -> World:
    world = _killed_at(_due(), "POST", "api-keys")
    world.pass_time(timedelta(minutes=1))
    return world


def _orphan() -> World:
    world = _killed_at(_masked(), "POST", "api-keys")
    world.pass_time(HOUR)
    return world


def _superseded() -> World:
    world = _due()
    key = world.infobip.add_key(world.accounts["main"], "another", valid_to=world.clock.now() + 300 * DAY)
    world.ours.add(key.id)
    world.store.put_value_by_hand("prod/sms", str(key.value))
    return world


def _grace_over() -> World:
    world = _due()
    world.sweep()
    world.pass_time(72 * HOUR)
    return world


def _emergency(strategy: Strategy) -> Callable[[World], object]:
    def act(world: World) -> object:
        world.condemned |= {key.id for key in world.infobip.keys() if "prod/sms" in key.name}
        emergency = Emergency(world.services(), "leaked", "INC-1")
        (plan,) = emergency.plan(Target(secret="prod/sms"), strategy)
        return emergency.execute(plan)

    return act


def _in_grace() -> World:
    world = _due()
    world.sweep()
    world.pass_time(HOUR)
    return world


def _in_grace_for_long() -> World:
    """A key that was not due was replaced by hand: after a rollback nothing is."""
    world = World()
    world.managed("prod/sms", left=200 * DAY)
    rotate_now(world.reconciler(), "prod/sms", "test")
    world.pass_time(HOUR)
    return world


def _grace_nearly_over() -> World:
    world = _in_grace_for_long()
    world.pass_time(71 * HOUR - timedelta(minutes=1))
    return world


def _rolled_back() -> World:
    world = _in_grace_for_long()
    rollback(world.reconciler(), "prod/sms", "test")
    world.pass_time(HOUR)
    return world


def _rollback(world: World) -> object:
    return rollback(world.reconciler(), "prod/sms", "test")


def _forward(world: World) -> object:
    (newer,) = [key for key in world.live_keys() if key.id != world.current_key("prod/sms").id]
    return rollback(world.reconciler(), "prod/sms", "test", newer.id)


FLOWS = (
    Flow("rotation", _due, _sweep),
    Flow("rotation, masked reads", _masked, _sweep),
    Flow("rotation, slow propagation", _slow, _sweep),
    Flow("adoption", _unadopted, _sweep),
    Flow("adoption by hand", _unadopted, lambda world: adopt(world.reconciler(), "prod/sms")),
    Flow("first key", _first_key, _sweep),
    Flow("resume of a stored version", _pending, _sweep),
    Flow("resume of an unstored key", _unstored, _sweep),
    Flow("orphan clean-up", _orphan, _sweep),
    Flow("retirement", _superseded, _sweep),
    Flow("revocation", _grace_over, _sweep),
    Flow("rotate by hand", _due, lambda world: rotate_now(world.reconciler(), "prod/sms", "test")),
    Flow("rollback", _in_grace_for_long, _rollback),
    Flow("rollback to a key that is due", _in_grace, _rollback),
    Flow("rollback at the end of the grace", _grace_nearly_over, _rollback),
    Flow("rollback and forward again", _rolled_back, _forward),
    Flow("emergency replace-first", _in_grace, _emergency(Strategy.REPLACE_FIRST), emergency=True),
    Flow("emergency revoke-first", _in_grace, _emergency(Strategy.REVOKE_FIRST), emergency=True, consumers=False),
    Flow("emergency revoke-only", _in_grace, _emergency(Strategy.REVOKE_ONLY), emergency=True, consumers=False),
)


def run(flow: Flow, world: World) -> object:
    """Let it happen; a kill and an error of the tree are what may come of it."""
    with contextlib.suppress(Kill, RotatorError):
        return flow.act(world)
    return None
