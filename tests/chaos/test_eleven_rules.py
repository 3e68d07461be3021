"""The harness notices one mistake of each sort, made as if by the rotator."""

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
from rotator.secret import Secret
from tests import leaks
from tests.chaos.convergence import Convergence
from tests.chaos.eleven_rules import ElevenRules
from tests.chaos.faults import AWS_FAULTS, HTTP_FAULTS
from tests.chaos.flows import FLOWS, Flow
from tests.chaos.kills import at_aws, at_infobip, struck
from tests.chaos.truth import footprint
from tests.chaos.worlds import MINUTE, SMS, VOICE, due
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World


class WrongRotator:
    """Makes the rotator's calls, in a wrong way."""

    def __init__(self, world: World) -> None:
        self.world, self.store = world, world.store
        self.current = next(v for v, labels in world.labels(SMS).items() if "AWSCURRENT" in labels)
        client = world.connect(world.store.peek("rotator/main"), Secret(world.store.consumer_read("rotator/main")))
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

    def revoke(self, key_id: str) -> None:
        self.client.revoke_key(self.client.get_key(key_id).key, self.world.clock.now())

    def rotate(self, *, probe: bool = True, pause: timedelta = timedelta(0), scopes: str = "sms:manage") -> None:
        key = self.create(scopes=(scopes,))
        self.store_it(key)
        if probe:
            self.probe(key)
        self.world.pass_time(pause)
        self.promote()


def revokes_the_current_key(wrong: WrongRotator) -> None:
    wrong.revoke(wrong.world.current_key(SMS).id)


def revokes_the_old_key_early(wrong: WrongRotator) -> None:
    old = wrong.world.current_key(SMS).id
    wrong.rotate()
    wrong.world.pass_time(71 * HOUR)
    wrong.revoke(old)


def revokes_the_old_key_blindly(wrong: WrongRotator) -> None:
    old = wrong.world.current_key(SMS).id
    wrong.rotate()
    wrong.world.pass_time(73 * HOUR)
    wrong.client.list_keys()
    wrong.store.describe(SMS)
    wrong.revoke(old)


def revokes_another_key(wrong: WrongRotator) -> None:
    world = wrong.world
    world.by_operator = True
    key = world.infobip.add_key(world.accounts["main"], "another team's")
    world.store.after("by hand", "")  # type: ignore[misc]
    world.by_operator = False
    wrong.revoke(key.id)


def creates_twice(wrong: WrongRotator) -> None:
    wrong.create()
    wrong.create(wrong.world.new_id())


def creates_under_one_name(wrong: WrongRotator) -> None:
    wrong.create()
    wrong.client.list_keys()
    wrong.create()


def revokes_what_another_run_makes(wrong: WrongRotator) -> None:
    key, _ = wrong.create()
    wrong.world.pass_time(20 * MINUTE)
    with RUNS[-1].run(scheduled=True):
        wrong.revoke(key)


def leaves_an_orphan(wrong: WrongRotator) -> None:
    wrong.world.infobip.options.reveal = False
    wrong.create("0" * 8 + wrong.world.new_id()[8:])
    wrong.world.policy = replace(wrong.world.policy, daily_limit=8)  # sweeps have no update left for it


def goes_on_after_a_429(wrong: WrongRotator) -> None:
    wrong.world.infobip.faults.add(Fault(FaultKind.THROTTLE, method="POST"))
    with contextlib.suppress(ProviderThrottled):
        wrong.create()
    wrong.create()


def creates_too_many(wrong: WrongRotator) -> None:
    for _ in range(33):
        wrong.client.list_keys()
        key, _ = wrong.create(wrong.world.new_id())
        wrong.revoke(key)


def revokes_too_many(wrong: WrongRotator) -> None:
    made = []
    for _ in range(6):
        wrong.client.list_keys()
        made.append(wrong.create(wrong.world.new_id())[0])
    wrong.world.pass_time(HOUR)
    with RUNS[-1].run(scheduled=True):
        for key_id in made:
            wrong.revoke(key_id)


def writes_a_secret(wrong: WrongRotator) -> None:
    wrong.world.stream.write(f'{{"detail": "{wrong.world.current_value(SMS)}"}}\n')
    wrong.store.describe(SMS)


def retires_for_good(wrong: WrongRotator) -> None:
    """The end of the grace is written down too late."""
    old = wrong.world.current_key(SMS).id
    wrong.rotate()
    wrong.store.add_label(SMS, retire_label(old, wrong.world.clock.now() + 100 * HOUR), wrong.current)


def announces_for_good(wrong: WrongRotator) -> None:
    wrong.store.start_rotation(SMS, wrong.world.new_id())


RUNS: list[ElevenRules] = []


def after(act: Callable[[WrongRotator], None], **settings: object) -> str:
    """What is found when that was done in a scheduled run, and sweeps went on."""
    world = due()
    rules = ElevenRules(world, **settings)  # type: ignore[arg-type]
    RUNS[:] = [rules]
    rules.start()
    with rules.emergency_run() if rules.secret else rules.run(scheduled=True):
        act(WrongRotator(world))
    if rules.secret:
        rules.emergency_over(None)
    world.infobip.faults.clear()
    return "\n".join(Convergence(rules, Flow("spoilt", due, act)).go())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (revokes_the_current_key, "rule 1: prod/sms has no working key"),
        (revokes_the_current_key, "it is the current key"),
        (lambda wrong: wrong.rotate(probe=False), "rule 2: prod/sms got key"),
        (lambda wrong: wrong.rotate(scopes="voice:manage"), "whose scopes differ"),
        (revokes_the_old_key_early, "2 days, 23:00:00 after it was replaced"),
        (revokes_the_old_key_blindly, "without a fresh read (GET"),
        (revokes_another_key, "rule 4: key"),
        (creates_twice, "without a search for the first"),
        (creates_under_one_name, "rule 5: a second key was made under the name"),
        (lambda wrong: wrong.rotate(pause=11 * MINUTE), "not read again"),
        (revokes_what_another_run_makes, "by another run when it was 0:20:00 old"),
        (leaves_an_orphan, "is an orphan"),
        (creates_too_many, "rule 7: 33 creates"),
        (goes_on_after_a_429, "after a 429"),
        (revokes_too_many, "rule 9: 6 of"),
        (writes_a_secret, "rule 11: 1 secrets"),
        (retires_for_good, "is enabled two sweeps after its grace period"),
        (announces_for_good, "AWSPENDING is left"),
        (announces_for_good, "prod/sms was due, and was never rotated"),
    ],
)
def test_it_notices(act: Callable[[WrongRotator], None], found: str) -> None:
    assert found in after(act)


def revokes_a_key_of_another_secret(wrong: WrongRotator) -> None:
    wrong.revoke(wrong.world.current_key(VOICE).id)


def revokes_what_it_made(wrong: WrongRotator) -> None:
    wrong.rotate()
    wrong.revoke(wrong.world.current_key(SMS).id)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("act", [revokes_a_key_of_another_secret, revokes_what_it_made])
def test_emergency_revokes_old_keys_only(act: Callable[[WrongRotator], None], strategy: Strategy) -> None:
    text = after(act, secret=SMS, strategy=strategy)
    assert "rule 1" in text
    assert "it is the current key" in text


def test_rules_notice_current_revoked_first() -> None:
    assert "before it was replaced" in after(revokes_the_current_key, secret=SMS, strategy=Strategy.REPLACE_FIRST)
    assert after(revokes_the_current_key, secret=SMS, strategy=Strategy.REVOKE_FIRST) == ""


def test_consumers_values_are_searched_for() -> None:
    world = due()
    assert leaks.find(world.current_value(SMS))


@pytest.mark.parametrize("flow", FLOWS[::3], ids=lambda flow: flow.name)
def test_skipped_sweeps_would_do_nothing(flow: Flow) -> None:
    http = next(fault for fault in HTTP_FAULTS if fault.name == "killed-after")
    aws = next(fault for fault in AWS_FAULTS if fault.name == "killed-before")
    for fault, index, infobip in ((aws, at_aws(flow, aws)[-1], False), (http, at_infobip(flow, http)[-1], True)):
        (some, _), (every, _) = (struck(flow, fault, index, infobip=infobip) for _ in range(2))
        assert footprint(some.world, some.history()) == footprint(every.world, every.history())
        quick, whole = Convergence(some, flow), Convergence(every, flow, every=True)
        assert quick.go() == whole.go() == []
        assert footprint(some.world) == footprint(every.world)
        assert quick.sweeps < whole.sweeps
