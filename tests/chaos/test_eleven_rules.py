"""The harness would notice: one thing of each sort that must not happen, as if the rotator had done it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.errors import ProviderThrottled
from rotator.infobip.client import InfobipClient
from rotator.policy.labels import key_label, key_name, retire_label
from rotator.ports import KeyRequest
from rotator.sandbox.faults import Fault, FaultKind
from rotator.secret import Secret
from tests import leaks
from tests.chaos.convergence import Convergence
from tests.chaos.eleven_rules import ElevenRules
from tests.chaos.faults import AWS_FAULTS, HTTP_FAULTS
from tests.chaos.flows import FLOWS, SMS, VOICE, Flow
from tests.chaos.kills import at_aws, at_infobip, played
from tests.world import DAY, HOUR, World

MINUTE = timedelta(minutes=1)


class Hand:
    """The rotator's hand, used wrongly."""

    def __init__(self, world: World) -> None:
        self.world, self.store = world, world.store
        self.current = next(v for v, labels in world.labels(SMS).items() if "AWSCURRENT" in labels)
        client = world.connect(world.store.peek("infobip/main"), Secret(world.store.consumer_read("infobip/main")))
        assert isinstance(client, InfobipClient)
        self.client = client
        self.version = world.new_id()

    def create(self, version: str = "", scopes: tuple[str, ...] = ("sms:manage",)) -> tuple[str, Secret]:
        name = key_name(SMS, self.store.peek(SMS).arn, "default", version or self.version)
        made = self.client.create_key(KeyRequest(name, self.world.clock.now() + 90 * DAY, frozenset(scopes)))
        assert made.value is not None
        return made.key.id, made.value

    def store_it(self, key: tuple[str, Secret]) -> None:
        text = Secret(json.dumps({"api_key": key[1].reveal()}))
        self.store.stage(SMS, self.version, text, ("AWSPENDING", key_label(key[0])))

    def probe(self, key: tuple[str, Secret]) -> None:
        self.client.probe(key[1], "/account/1/balance")

    def promote(self) -> None:
        self.store.promote(SMS, self.version, self.current)

    def end(self, key_id: str) -> None:
        self.client.revoke_key(key_id, self.world.clock.now())

    def rotate(self, *, probe: bool = True, pause: timedelta = timedelta(0), scopes: str = "sms:manage") -> None:
        key = self.create(scopes=(scopes,))
        self.store_it(key)
        if probe:
            self.probe(key)
        self.world.pass_time(pause)
        self.promote()


def ends_the_current_key(hand: Hand) -> None:
    hand.end(hand.world.current_key(SMS).id)


def ends_the_old_key_early(hand: Hand) -> None:
    old = hand.world.current_key(SMS).id
    hand.rotate()
    hand.world.pass_time(71 * HOUR)
    hand.end(old)


def ends_the_old_key_blindly(hand: Hand) -> None:
    old = hand.world.current_key(SMS).id
    hand.rotate()
    hand.world.pass_time(73 * HOUR)
    hand.client.list_keys()
    hand.store.describe(SMS)
    hand.end(old)


def ends_another_key(hand: Hand) -> None:
    world = hand.world
    world.by_portal = True
    key = world.infobip.add_key(world.accounts["main"], "somebody's")
    world.store.after("by hand", "")  # type: ignore[misc]
    world.by_portal = False
    hand.end(key.id)


def creates_twice(hand: Hand) -> None:
    hand.create()
    hand.create(hand.world.new_id())


def creates_under_one_name(hand: Hand) -> None:
    hand.create()
    hand.client.list_keys()
    hand.create()


def ends_what_another_run_makes(hand: Hand) -> None:
    key, _ = hand.create()
    hand.world.pass_time(20 * MINUTE)
    with RUNS[-1].run(scheduled=True):
        hand.end(key)


def leaves_an_orphan(hand: Hand) -> None:
    hand.world.infobip.options.reveal = False
    hand.create("0" * 8 + hand.world.new_id()[8:])
    hand.world.policy = replace(hand.world.policy, daily_limit=8)  # sweeps have no update left for it


def goes_on_after_a_429(hand: Hand) -> None:
    hand.world.infobip.faults.add(Fault(FaultKind.THROTTLE, method="POST"))
    with contextlib.suppress(ProviderThrottled):
        hand.create()
    hand.create()


def creates_too_many(hand: Hand) -> None:
    for _ in range(33):
        hand.client.list_keys()
        key, _ = hand.create(hand.world.new_id())
        hand.end(key)


def ends_too_many(hand: Hand) -> None:
    made = []
    for _ in range(6):
        hand.client.list_keys()
        made.append(hand.create(hand.world.new_id())[0])
    hand.world.pass_time(HOUR)
    with RUNS[-1].run(scheduled=True):
        for key_id in made:
            hand.end(key_id)


def writes_a_secret(hand: Hand) -> None:
    hand.world.stream.write(f'{{"detail": "{hand.world.current_value(SMS)}"}}\n')
    hand.store.describe(SMS)


def retires_for_good(hand: Hand) -> None:
    """The end of the grace is written down too late."""
    old = hand.world.current_key(SMS).id
    hand.rotate()
    hand.store.add_label(SMS, retire_label(old, hand.world.clock.now() + 100 * HOUR), hand.current)


def announces_for_good(hand: Hand) -> None:
    hand.store.start_rotation(SMS, hand.world.new_id())


RUNS: list[ElevenRules] = []


def fresh() -> World:
    world = World()
    world.managed(SMS, left=20 * DAY, age=70 * DAY)
    world.managed(VOICE, left=200 * DAY)
    return world


def after(act: Callable[[Hand], None], **settings: object) -> str:
    """What is found when that was done in a scheduled run, and sweeps went on."""
    world = fresh()
    watch = ElevenRules(world, **settings)  # type: ignore[arg-type]
    RUNS[:] = [watch]
    watch.start()
    with watch.emergency_run() if watch.secret else watch.run(scheduled=True):
        act(Hand(world))
    if watch.secret:
        watch.emergency_over(None)
    world.infobip.faults.clear()
    rest = Convergence(world, watch, Flow("spoilt", fresh, act))  # type: ignore[arg-type]
    rest.go()
    return "\n".join((*watch.broken, *rest.broken))


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (ends_the_current_key, "rule 1: prod/sms has no working key"),
        (ends_the_current_key, "rule 3: the current key"),
        (lambda hand: hand.rotate(probe=False), "rule 2: prod/sms got key"),
        (lambda hand: hand.rotate(scopes="voice:manage"), "whose scopes differ"),
        (ends_the_old_key_early, "2 days, 23:00:00 after it was replaced"),
        (ends_the_old_key_blindly, "without a fresh read (GET"),
        (ends_another_key, "rule 4: key"),
        (creates_twice, "without a search for the first"),
        (creates_under_one_name, "rule 5: a second key was made under the name"),
        (lambda hand: hand.rotate(pause=11 * MINUTE), "not read again"),
        (ends_what_another_run_makes, "by another run when it was 0:20:00 old"),
        (leaves_an_orphan, "is an orphan"),
        (creates_too_many, "rule 7: 33 creates"),
        (goes_on_after_a_429, "after a 429"),
        (ends_too_many, "rule 9: 6 of"),
        (writes_a_secret, "rule 11: 1 secrets"),
        (retires_for_good, "is enabled two sweeps after its grace period"),
        (announces_for_good, "AWSPENDING is left"),
        (announces_for_good, "prod/sms was due, and was never rotated"),
    ],
)
def test_it_notices(act: Callable[[Hand], None], found: str) -> None:
    assert found in after(act)


def ends_a_key_of_another_secret(hand: Hand) -> None:
    hand.end(hand.world.current_key(VOICE).id)


def ends_what_it_made(hand: Hand) -> None:
    hand.rotate()
    hand.end(hand.world.current_key(SMS).id)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("act", [ends_a_key_of_another_secret, ends_what_it_made])
def test_an_emergency_ends_its_secrets_old_keys_and_no_other(act: Callable[[Hand], None], strategy: Strategy) -> None:
    said = after(act, secret=SMS, strategy=strategy)
    assert "rule 1" in said
    assert "rule 3: the current key" in said


def test_replace_first_may_not_end_the_current_key_first() -> None:
    assert "before it was replaced" in after(ends_the_current_key, secret=SMS, strategy=Strategy.REPLACE_FIRST)
    assert after(ends_the_current_key, secret=SMS, strategy=Strategy.REVOKE_FIRST) == ""


def test_what_is_looked_for_in_the_output_is_known() -> None:
    world = fresh()
    assert leaks.find(world.current_value(SMS))


def state(world: World) -> tuple[object, ...]:
    """Both far ends, but for ids: these are drawn anew in each run."""
    keys = [(key.created_at, key.valid_to, key.enabled, key.scopes) for key in world.infobip.keys()]
    labels = [
        (name, sorted(sorted(label[:14] for label in labels) for labels in world.labels(name).values()))
        for name in world.names()
    ]
    return sorted(keys, key=str), labels


@pytest.mark.parametrize("flow", FLOWS[::3], ids=lambda flow: flow.name)
def test_sweeps_that_are_passed_over_would_have_done_nothing(flow: Flow) -> None:
    http = next(fault for fault in HTTP_FAULTS if fault.name == "killed-after")
    aws = next(fault for fault in AWS_FAULTS if fault.name == "killed-before")
    for fault, index, infobip in ((aws, at_aws(flow, aws)[-1], False), (http, at_infobip(flow, http)[-1], True)):
        some, broken = played(flow, fault, index, infobip=infobip)
        every, found = played(flow, fault, index, infobip=infobip, every=True)
        assert broken == found == []
        assert state(some.world) == state(every.world)
        assert some.sweeps < every.sweeps
