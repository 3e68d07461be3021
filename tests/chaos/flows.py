"""The flows in which something goes wrong: each a world, what happens in it, and what the result must be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from rotator.engine.adopt import adopt
from rotator.engine.emergency import Strategy
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.errors import RotatorError
from rotator.model import Policy
from rotator.policy.labels import key_label, retire_label
from rotator.sandbox.state import Options
from tests.chaos.eleven_rules import ElevenRules
from tests.chaos.faults import Kill
from tests.chaos.worlds import (
    CREATE,
    MINUTE,
    PROBE,
    SMS,
    TOKEN,
    VOICE,
    Act,
    due,
    emergency,
    four_steps,
    killed_at,
    roll_back,
    rotate,
    rotated_by_hand,
    sweep,
    swept,
)
from tests.world import DAY, HOUR, PLAIN, World

R = TypeVar("R", bound=ElevenRules)
NEW = "prod/new"
TRIES = 8
"""How often Secrets Manager calls a step that fails: for longer than any fault here lasts."""


@dataclass(frozen=True)
class Flow:
    """One flow.

    :param make: the world, just before.
    :param act: what is disturbed.
    :param renewed: secrets that must have another key than their first one within three sweeps, by it or by those.
    :param strategy: of the emergency, where it is one.
    :param secret: that an emergency is about.
    :param scheduled: whether it is a sweep, to which the limits of scheduled work apply.
    :param announced: Secrets Manager has put ``AWSPENDING`` on a version by itself, which the flow may take off.
    :param days: how many it takes, instead of three sweeps, to get everything done.
    """

    name: str
    make: Callable[[], World]
    act: Act
    renewed: tuple[str, ...] = (SMS,)
    strategy: Strategy | None = None
    secret: str = SMS
    scheduled: bool = False
    announced: bool = False
    days: int = 0

    def rules(self, world: World, kind: type[R], *, pending: bool) -> R:
        """The rules that hold meanwhile."""
        secret = self.secret if self.strategy else ""
        rules = kind(world, secret=secret, strategy=self.strategy, pending=pending)
        rules.start()
        return rules

    def process(self, rules: ElevenRules) -> AbstractContextManager[None]:
        """The process in which it happens."""
        return rules.emergency_run() if self.strategy else rules.run(scheduled=self.scheduled)


def _slow() -> World:
    return due(Options(reveal=False, propagation=timedelta(seconds=20)))


def _unadopted() -> World:
    world = World()
    world.secret(SMS, left=20 * DAY, adopted=False)
    world.secret(VOICE, left=200 * DAY, lifetime=265 * DAY, adopted=False, value=PLAIN)
    return world


def _first_key() -> World:
    world = World()
    world.secret(VOICE, left=200 * DAY, lifetime=265 * DAY)
    world.store.create_secret(NEW, world.tags(scopes="sms:manage"))
    return world


def _superseded() -> World:
    world = due()
    key = world.infobip.add_key(world.accounts["main"], "another", valid_to=world.clock.now() + 300 * DAY)
    world.ours.add(key.id)
    world.store.put_value_by_hand(SMS, str(key.value))
    return world


def _rolled_back() -> World:
    world = rotated_by_hand(HOUR)
    roll_back(world)
    world.pass_time(HOUR)
    return world


def _forward(world: World) -> object:
    (newer,) = [key for key in world.live() if key.id != world.current_key(SMS).id]
    return rollback(world.services(), SMS, "test", newer.id)


def _both() -> World:
    """A rotation and a revocation in the same sweep."""
    world = World()
    world.secret(VOICE, left=200 * DAY, lifetime=265 * DAY)
    rotate_now(world.services(), VOICE, "test")
    world.pass_time(72 * HOUR)
    world.secret(SMS, left=20 * DAY)
    return world


def _one_slot() -> World:
    """Two are due, and today's limit, less the reserve, allows one creation and one revocation."""
    world = World(policy=Policy(daily_limit=2, reserve=1))
    world.secret(SMS, left=20 * DAY)
    world.secret(VOICE, left=25 * DAY)
    return world


def _many_at_once() -> World:
    """More revocations are due than one sweep makes."""
    world = World()
    world.secret(SMS, left=200 * DAY, lifetime=265 * DAY)
    now, last = world.clock.now(), world.store.consumer_read(SMS)
    for number in range(6):
        key = world.infobip.add_key(world.accounts["main"], f"by hand: {number}", valid_from=now - 65 * DAY)
        world.ours.add(key.id)
        version = world.store.put_value_by_hand(SMS, str(key.value), world.new_id())
        world.store.label_by_hand(SMS, key_label(key.id), version)
        world.store.label_by_hand(SMS, retire_label(key.id, now - HOUR), version)
    held = world.first_keys[SMS].id
    first = next(version for version, labels in world.labels(SMS).items() if key_label(held) in labels)
    world.store.label_by_hand(SMS, key_label(held), world.store.put_value_by_hand(SMS, last, world.new_id()), first)
    return world


def _announced() -> World:
    world = due()
    world.store.start_rotation(SMS, TOKEN)
    return world


def _by_secrets_manager(world: World) -> None:
    four_steps(world, SMS, tries=TRIES, pause=MINUTE)


FLOWS = (
    Flow("rotation", due, sweep, scheduled=True),
    Flow("rotation, masked reads", lambda: due(Options(reveal=False)), sweep, scheduled=True),
    Flow("rotation, slow propagation", _slow, sweep, scheduled=True),
    Flow("rotation, IBSSO", lambda: due(auth="ibsso"), sweep, scheduled=True),
    Flow("rotation, OAuth 2.0", lambda: due(auth="oauth2"), sweep, scheduled=True),
    Flow("rotation by Secrets Manager", _announced, _by_secrets_manager, announced=True),
    Flow("rotation and revocation", _both, sweep, renewed=(SMS, VOICE), scheduled=True),
    Flow("rotation at the daily limit", _one_slot, sweep, renewed=(SMS, VOICE), scheduled=True, days=6),
    Flow("adoption", _unadopted, sweep, scheduled=True),
    Flow("adoption by hand", _unadopted, lambda world: adopt(world.services(), SMS)),
    Flow("first key", _first_key, sweep, renewed=(NEW,), scheduled=True),
    Flow("resume of a stored version", lambda: killed_at(due(), PROBE, HOUR), sweep, scheduled=True),
    Flow("resume of an unstored key", lambda: killed_at(due(), CREATE, MINUTE), sweep, scheduled=True),
    Flow("orphan clean-up", lambda: killed_at(due(Options(reveal=False)), CREATE, HOUR), sweep, scheduled=True),
    Flow("retirement", _superseded, sweep, renewed=(), scheduled=True),
    Flow("revocation", lambda: swept(due(), 72 * HOUR), sweep, scheduled=True),
    Flow("revocation of many", _many_at_once, sweep, renewed=(), scheduled=True),
    Flow("rotate by hand", due, rotate),
    Flow("rollback", lambda: rotated_by_hand(HOUR), roll_back, renewed=()),
    Flow("rollback to a key that is due", lambda: swept(due(), HOUR), roll_back),
    Flow("rollback at the end of the grace", lambda: rotated_by_hand(72 * HOUR - MINUTE), roll_back, renewed=()),
    Flow("rollback and forward again", _rolled_back, _forward, renewed=()),
    *(
        Flow(f"emergency {strategy}", lambda: swept(due(), HOUR), emergency(strategy), strategy=strategy)
        for strategy in Strategy
    ),
)


def run(flow: Flow, world: World) -> tuple[object, BaseException | None]:
    """Let it happen: its result, or the kill or the project's own error that it ended with."""
    try:
        return flow.act(world), None
    except (Kill, RotatorError) as error:
        return None, error
