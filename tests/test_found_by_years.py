"""What the simulation of two years found, each as its shortest story."""

from __future__ import annotations

from datetime import timedelta

from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from tests.world import DAY, HOUR, World


def test_a_key_that_one_listing_does_not_show_keeps_its_grace() -> None:
    world = World()
    for number in range(8):
        world.managed(f"s/{number}", left=200 * DAY, age=10 * DAY)
    old = world.managed("prod/sms", left=20 * DAY, age=70 * DAY)
    world.sweep()
    world.pass_time(HOUR)

    def mangle(_request: Request, answer: Response | None) -> None:
        assert answer is not None
        object.__setattr__(answer, "body", answer.body.replace(old.id.encode(), old.id[::-1].encode()))

    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method="GET", path="/settings/2/api-keys$", hook=mangle))
    assert world.sweep().results == ()  # it was read by its id
    assert world.infobip.authenticates(str(old.value))
    assert any(f"rotator:retire:{old.id}" in label for labels in world.labels("prod/sms").values() for label in labels)
    world.pass_time(72 * HOUR)
    assert world.sweep().ok
    assert not world.infobip.authenticates(str(old.value))


def test_a_key_that_is_not_probed_is_given_time_before_it_is_promoted() -> None:
    world = World(options=Options(propagation=timedelta(seconds=20)))
    world.managed("prod/sms", left=20 * DAY, age=70 * DAY, verify="skip")
    broken: list[str] = []

    def look(operation: str, _secret: str) -> None:
        if not world.consumer_works("prod/sms"):
            broken.append(operation)

    world.store.after = look
    assert world.sweep().ok
    assert len(world.infobip.keys()) == 2
    assert not broken


def test_other_accounts_labelled_values_are_not_read() -> None:
    world = World()
    world.managed("a", account="one")
    world.managed("b", account="two")
    world.managed("c", account="two", adopted=False)
    world.store.calls.clear()
    world.sweep(account="one")
    read = [secret for operation, secret in world.store.calls if operation == "read_current"]
    assert read[0] == "infobip/one"
    assert "b" not in read
