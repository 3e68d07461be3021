"""The flows that are disturbed: each a world, something that happens in it, and what must have come of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.manual import adopt, rotate_now
from rotator.engine.reconcile import Reconciler
from rotator.engine.rollback import rollback
from rotator.engine.rotation.four_steps import Step, run_step
from rotator.errors import RotatorError
from rotator.model import Policy
from rotator.policy.labels import key_label, retire_label
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from rotator.telemetry.audit import Trigger
from tests.chaos.faults import Kill
from tests.world import DAY, HOUR, World

SMS, VOICE, NEW = "prod/sms", "prod/voice", "prod/new"


@dataclass(frozen=True)
class Flow:
    """One flow.

    :param make: the world, just before.
    :param act: what is disturbed.
    :param renewed: secrets that must have another key than their first one within three sweeps, by it or by those.
    :param strategy: of the emergency, where it is one; all are about :data:`SMS`.
    :param scheduled: whether it is a sweep, which the limits of scheduled work bind.
    :param announced: Secrets Manager has put ``AWSPENDING`` on a version by itself, which the flow may take off.
    :param days: how many it takes, instead of three sweeps, to get everything done.
    """

    name: str
    make: Callable[[], World]
    act: Callable[[World], object]
    renewed: tuple[str, ...] = (SMS,)
    strategy: Strategy | None = None
    scheduled: bool = False
    announced: bool = False
    days: int = 0


def _sweep(world: World) -> object:
    return world.sweep()


def _due(options: Options | None = None, auth: str = "basic") -> World:
    world = World(options=options)
    world.account(auth=auth)
    world.managed(SMS, left=20 * DAY, age=70 * DAY)
    world.managed(VOICE, left=200 * DAY)
    return world


def _masked() -> World:
    return _due(Options(reveal=False))


def _slow() -> World:
    return _due(Options(reveal=False, propagation=timedelta(seconds=20)))


def _unadopted() -> World:
    world = World()
    world.managed(SMS, left=20 * DAY, age=70 * DAY, adopted=False)
    world.managed(VOICE, left=200 * DAY, adopted=False, plain=True)
    return world


def _first_key() -> World:
    world = World()
    world.managed(VOICE, left=200 * DAY)
    world.store.create_secret(NEW, world.tags(scopes="sms:manage"))
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
    world.store.put_value_by_hand(SMS, str(key.value))
    return world


def _grace_over() -> World:
    world = _due()
    world.sweep()
    world.pass_time(72 * HOUR)
    return world


def _emergency(strategy: Strategy) -> Callable[[World], object]:
    def act(world: World) -> object:
        emergency = Emergency(world.services(), "leaked", "INC-1")
        (plan,) = emergency.plan(Target(secret=SMS), strategy)
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
    world.managed(SMS, left=200 * DAY)
    rotate_now(world.reconciler(), SMS, "test")
    world.pass_time(HOUR)
    return world


def _grace_nearly_over() -> World:
    world = _in_grace_for_long()
    world.pass_time(71 * HOUR - timedelta(minutes=1))
    return world


def _rolled_back() -> World:
    world = _in_grace_for_long()
    rollback(world.reconciler(), SMS, "test")
    world.pass_time(HOUR)
    return world


def _rollback(world: World) -> object:
    return rollback(world.reconciler(), SMS, "test")


def _forward(world: World) -> object:
    (newer,) = [key for key in world.live_keys() if key.id != world.current_key(SMS).id]
    return rollback(world.reconciler(), SMS, "test", newer.id)


def _both() -> World:
    """A rotation and a revocation in the same sweep."""
    world = World()
    world.managed(VOICE, left=200 * DAY)
    rotate_now(world.reconciler(), VOICE, "test")
    world.pass_time(72 * HOUR)
    world.managed(SMS, left=20 * DAY, age=70 * DAY)
    return world


def _no_room() -> World:
    """Two are due, and today's limit, less the reserve, allows one creation and one revocation."""
    world = World(policy=Policy(daily_limit=2, reserve=1))
    world.managed(SMS, left=20 * DAY, age=70 * DAY)
    world.managed(VOICE, left=25 * DAY, age=65 * DAY)
    return world


def _many_at_once() -> World:
    """More revocations are due than one sweep makes."""
    world = World()
    world.managed(SMS, left=200 * DAY)
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
    world = _due()
    world.store.start_rotation(SMS, TOKEN)
    return world


TOKEN = "5ec2e75a-0000-4000-8000-000000000001"
TRIES = 8
"""How often Secrets Manager calls a step that fails: for longer than any fault here lasts."""


def _by_secrets_manager(world: World) -> object:
    """Its four steps, each of them again where it failed or its process died."""
    for step in Step:
        for again in reversed(range(TRIES)):
            try:
                run_step(Reconciler(world.services(Trigger.SECRETSMANAGER)), SMS, TOKEN, step)
                break
            except (Kill, RotatorError):
                if not again:
                    raise
                world.pass_time(timedelta(minutes=1))
    return None


FLOWS = (
    Flow("rotation", _due, _sweep, scheduled=True),
    Flow("rotation, masked reads", _masked, _sweep, scheduled=True),
    Flow("rotation, slow propagation", _slow, _sweep, scheduled=True),
    Flow("rotation, IBSSO", lambda: _due(auth="ibsso"), _sweep, scheduled=True),
    Flow("rotation, OAuth 2.0", lambda: _due(auth="oauth2"), _sweep, scheduled=True),
    Flow("rotation by Secrets Manager", _announced, _by_secrets_manager, announced=True),
    Flow("rotation and revocation", _both, _sweep, renewed=(SMS, VOICE), scheduled=True),
    Flow("rotation at the daily limit", _no_room, _sweep, renewed=(SMS, VOICE), scheduled=True, days=6),
    Flow("adoption", _unadopted, _sweep, scheduled=True),
    Flow("adoption by hand", _unadopted, lambda world: adopt(world.reconciler(), SMS)),
    Flow("first key", _first_key, _sweep, renewed=(NEW,), scheduled=True),
    Flow("resume of a stored version", _pending, _sweep, scheduled=True),
    Flow("resume of an unstored key", _unstored, _sweep, scheduled=True),
    Flow("orphan clean-up", _orphan, _sweep, scheduled=True),
    Flow("retirement", _superseded, _sweep, renewed=(), scheduled=True),
    Flow("revocation", _grace_over, _sweep, scheduled=True),
    Flow("revocation of many", _many_at_once, _sweep, renewed=(), scheduled=True),
    Flow("rotate by hand", _due, lambda world: rotate_now(world.reconciler(), SMS, "test")),
    Flow("rollback", _in_grace_for_long, _rollback, renewed=()),
    Flow("rollback to a key that is due", _in_grace, _rollback),
    Flow("rollback at the end of the grace", _grace_nearly_over, _rollback, renewed=()),
    Flow("rollback and forward again", _rolled_back, _forward, renewed=()),
    Flow("emergency replace-first", _in_grace, _emergency(Strategy.REPLACE_FIRST), strategy=Strategy.REPLACE_FIRST),
    Flow("emergency revoke-first", _in_grace, _emergency(Strategy.REVOKE_FIRST), strategy=Strategy.REVOKE_FIRST),
    Flow("emergency revoke-only", _in_grace, _emergency(Strategy.REVOKE_ONLY), strategy=Strategy.REVOKE_ONLY),
)


def run(flow: Flow, world: World) -> tuple[object, BaseException | None]:
    """Let it happen: what it gave, or the kill or the error of the tree that came of it."""
    try:
        return flow.act(world), None
    except (Kill, RotatorError) as error:
        return None, error
