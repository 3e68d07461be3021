"""What a rollback refuses, with what advice, and that nothing was changed then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.engine.manual import rotate_now
from rotator.engine.rollback import rollback
from rotator.errors import ConfigurationError, ProviderUnavailable, Refused, SecretNotFound
from rotator.policy.labels import parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import SimKey
from tests.emergencies import revoke
from tests.test_rollback import MINUTE, NAME, back, rotated
from tests.world import HOUR, World


def nothing_in_grace(world: World) -> None:
    world.pass_time(72 * HOUR)
    world.sweep()


def _retiring(world: World) -> SimKey:
    (item,) = read_lifecycle(world.store.peek(NAME)).retiring
    return world.infobip.key(item.key_id)


def _end_within_an_hour(world: World) -> None:
    world.infobip.portal_prolong(_retiring(world).id, world.clock.now() + timedelta(minutes=59))


def _ended(world: World) -> None:
    world.infobip.portal_prolong(_retiring(world).id, world.clock.now() - MINUTE)


def _drop_retire_label(world: World) -> None:
    for version, labels in world.labels(NAME).items():
        for label in labels:
            if parse_retire_label(label):
                world.store.label_by_hand(NAME, label, None, version)


def _pending_of_ours(world: World) -> None:
    """A rotation that was killed before it could promote: its probe could not be answered."""
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path="balance", status=500, count=None))
    rotate_now(world.reconciler(), NAME, "test")
    world.infobip.faults.clear()
    assert read_lifecycle(world.store.peek(NAME)).pending_version is not None


def _drop_key_label(world: World) -> None:
    key_id = _retiring(world).id
    version = read_lifecycle(world.store.peek(NAME)).holders[key_id]
    world.store.label_by_hand(NAME, f"rotator:key:{key_id}", None, version)


REFUSED: dict[str, tuple[Callable[[World], object], str]] = {
    "nothing in grace": (nothing_in_grace, "no key of it is in grace.*rotator rotate prod/sms"),
    "its label is missing": (_drop_retire_label, "no retire label yet.*rotator run --secret prod/sms"),
    "its key's label is missing": (_drop_key_label, "no label says which version holds it.*rotator rotate"),
    "its grace is over": (lambda world: world.pass_time(71 * HOUR), "its grace ended 0 s ago.*rotator rotate"),
    "disabled": (lambda world: world.infobip.portal_disable(_retiring(world).id), "it is disabled.*rotator rotate"),
    "gone": (lambda world: world.infobip.portal_delete(_retiring(world).id), "does not list it.*rotator rotate"),
    "expired": (_ended, "it ended .* UTC.*rotator rotate"),
    "ends soon": (_end_within_an_hour, "within an hour.*rotator rotate"),
    "does not authenticate": (
        lambda world: world.infobip.portal_restrict(_retiring(world).id, ("10.0.0.0/8",)),
        "does not authenticate.*rotator:verify=skip",
    ),
    "held": (lambda world: world.store.tag(NAME, world.tags(hold="audit freeze")), "on hold.*Remove the tag"),
    "misconfigured": (lambda world: world.store.tag(NAME, world.tags(grace="soon")), "misconfigured.*rotator:grace"),
    "another rotation": (lambda world: world.store.start_rotation(NAME, "f" * 32), "rotation-in-progress"),
    "a rotation of ours": (_pending_of_ours, "not finished.*rotator run --secret prod/sms"),
    "put by hand": (lambda world: world.store.put_value_by_hand(NAME, "x" * 32), "rotator adopt prod/sms"),
    "being deleted": (lambda world: world.store.delete(NAME), "pending-deletion"),
}


@pytest.mark.parametrize(("arrange", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_with_advice_and_nothing_changed(arrange: Callable[[World], object], said: str) -> None:
    world, _, _ = rotated()
    arrange(world)
    before, keys = world.labels(NAME), world.infobip.keys()
    with pytest.raises(Refused, match=said) as caught:
        back(world)
    assert str(caught.value).isprintable()
    assert (world.labels(NAME), world.infobip.keys()) == (before, keys)
    assert not world.events_named("secret.rolled_back", "attempt")


def test_a_named_key_without_a_retire_label_gets_one_from_a_sweep() -> None:
    """As a rollback leaves it that is killed before it moves ``AWSCURRENT``."""
    world, old, _ = rotated()
    _drop_retire_label(world)
    with pytest.raises(Refused, match=f"key {old.id} of {NAME} has no retire label yet.*rotator run --secret {NAME}"):
        rollback(world.reconciler(), NAME, "test", old.id)
    assert world.sweep().ok
    rollback(world.reconciler(), NAME, "test", old.id)
    assert world.current_key(NAME).id == old.id


def test_a_secret_without_a_value_or_without_tags() -> None:
    world = World()
    world.account()
    world.store.create_secret(NAME, world.tags(scopes="sms:manage"))
    world.store.create_secret("prod/other", {})
    with pytest.raises(Refused, match="has no value"):
        back(world)
    with pytest.raises(ConfigurationError, match="is not managed"):
        rollback(world.reconciler(), "prod/other", "test")
    with pytest.raises(SecretNotFound):
        rollback(world.reconciler(), "prod/none", "test")


def test_a_probe_without_a_verdict_changes_nothing() -> None:
    world, _, new = rotated()
    before = world.labels(NAME)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path="balance", status=500, count=None))
    with pytest.raises(ProviderUnavailable, match=r"is not known.*Repeat the command"):
        back(world)
    assert world.labels(NAME) == before
    assert world.current_key(NAME).id == new.id


def test_a_version_that_holds_another_key_than_its_label_says() -> None:
    world, old, _ = rotated()
    stranger = world.infobip.add_key(world.accounts["main"], "somebody's")
    version = next(v for v, labels in world.labels(NAME).items() if f"rotator:key:{old.id}" in labels)
    (retire,) = [label for label in world.labels(NAME)[version] if parse_retire_label(label)]
    world.store.label_by_hand(NAME, f"rotator:key:{old.id}", None, version)
    world.store.label_by_hand(NAME, retire, None, version)
    world.store.label_by_hand(NAME, f"rotator:key:{stranger.id}", version)
    world.store.label_by_hand(NAME, retire.replace(old.id, stranger.id), version)
    with pytest.raises(Refused, match=f"labelled with key {stranger.id} and holds key {old.id}"):
        back(world, stranger.id)


def test_never_back_to_a_key_that_an_emergency_replaced() -> None:
    world, old, leaked = rotated()
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", path="api-keys/.", status=500, count=None))
    report = revoke(world, Strategy.REPLACE_FIRST, incident="INC-1", secret=NAME)
    assert not report.ok  # neither old key could be ended: they wait for the next sweep
    world.infobip.faults.clear()
    rotate_now(world.reconciler(), NAME, "after the incident")
    for key in (old, leaked):
        with pytest.raises(Refused, match=r"emergency revocation replaced it.*rotator rotate"):
            back(world, key.id)
