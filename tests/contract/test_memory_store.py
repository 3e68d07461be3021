"""What only the strict store in memory has: staleness, limits in time, refusals that moto cannot show, and hooks."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from rotator.errors import (
    PreconditionFailed,
    SecretNotFound,
    StoreDenied,
    StoreOutcomeUnknown,
    StoreRejected,
)
from rotator.sandbox.clocks import VirtualClock
from rotator.secret import Secret
from tests.contract.worlds import KEY_TAGS, new_version
from tests.doubles.memory_store import MemoryStore

NAME = "prod/sms"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    made = MemoryStore(clock)
    made.create_secret(NAME, KEY_TAGS, "old-value-1", version_id="v" * 32)
    return made


def test_a_listing_is_as_stale_as_asked_and_a_description_never(store: MemoryStore, clock: VirtualClock) -> None:
    clock.advance(timedelta(minutes=10))
    store.staleness = timedelta(minutes=5)
    store.tag(NAME, {"rotator:hold": "audit"})
    store.create_secret("prod/new", KEY_TAGS)
    [listed] = store.list_secrets()
    assert listed.tags == KEY_TAGS
    assert store.describe(NAME).tags == {**KEY_TAGS, "rotator:hold": "audit"}
    clock.advance(timedelta(minutes=5))
    assert [entry.name for entry in store.list_secrets()] == ["prod/new", NAME]
    assert store.list_secrets()[1] == store.describe(NAME)


def test_a_stale_listing_shows_a_deleted_secret(store: MemoryStore, clock: VirtualClock) -> None:
    clock.advance(timedelta(minutes=10))
    store.staleness = timedelta(minutes=2)
    store.force_delete(NAME)
    assert [entry.name for entry in store.list_secrets()] == [NAME]
    with pytest.raises(SecretNotFound, match=NAME):
        store.describe(NAME)
    clock.advance(timedelta(minutes=2))
    assert store.list_secrets() == ()


def test_a_listing_is_never_staler_than_aws_allows(store: MemoryStore) -> None:
    store.staleness = timedelta(minutes=6)
    with pytest.raises(ValueError, match="5 minutes"):
        store.list_secrets()


def test_a_secret_that_is_made_again_has_another_arn(store: MemoryStore) -> None:
    before = store.describe(NAME).arn
    store.force_delete(NAME)
    assert store.create_secret(NAME, KEY_TAGS) != before
    with pytest.raises(SecretNotFound):
        store.describe(before)


def test_denied_kms_refuses_values_and_nothing_else(store: MemoryStore) -> None:
    store.stage(NAME, "w" * 32, Secret("new-value-2"), ("AWSPENDING",))
    store.deny_kms(NAME)
    for call, action in (
        (lambda: store.read_current(NAME), "kms:Decrypt"),
        (lambda: store.read_version(NAME, "v" * 32), "kms:Decrypt"),
        (lambda: store.stage(NAME, new_version(), Secret("third"), ("x",)), "kms:GenerateDataKey"),
    ):
        with pytest.raises(StoreDenied, match="KMS") as caught:
            call()
        assert caught.value.action == action
    store.promote(NAME, "w" * 32, "v" * 32)
    store.deny_kms(NAME, denied=False)
    assert store.consumer_read(NAME) == "new-value-2"


def test_a_secret_of_another_service_is_not_written(store: MemoryStore) -> None:
    store.set_owning_service(NAME, "rds")
    assert store.describe(NAME).owning_service == "rds"
    with pytest.raises(StoreRejected, match="rds"):
        store.stage(NAME, new_version(), Secret("new-value-2"), ("AWSPENDING",))
    with pytest.raises(StoreRejected, match="rds"):
        store.add_label(NAME, "x", "v" * 32)


def test_a_primary_with_replicas_is_written(store: MemoryStore) -> None:
    store.make_replica(NAME, primary_region="eu-central-1")
    store.add_label(NAME, "x", "v" * 32)
    store.make_replica(NAME, primary_region="us-east-1")
    with pytest.raises(StoreRejected, match="replica"):
        store.remove_label(NAME, "x", "v" * 32)


def test_pending_deletion_ends_with_a_restore(store: MemoryStore, clock: VirtualClock) -> None:
    store.delete(NAME, timedelta(days=7))
    assert store.describe(NAME).deleted_at == clock.now() + timedelta(days=7)
    with pytest.raises(StoreRejected, match="deletion"):
        store.consumer_read(NAME)
    store.restore(NAME)
    assert store.consumer_read(NAME) == "old-value-1"


def test_a_copy_holds_the_same_value_and_tags_but_no_labels(store: MemoryStore) -> None:
    store.add_label(NAME, "rotator:key:1", "v" * 32)
    store.copy_secret_with_tags(NAME, "prod/copy")
    assert store.consumer_read("prod/copy") == "old-value-1"
    copy = store.peek("prod/copy")
    assert copy.tags == KEY_TAGS
    assert list(copy.versions.values()) == [{"AWSCURRENT"}]


def test_unlabelled_versions_can_be_kept_for_a_while(clock: VirtualClock) -> None:
    store = MemoryStore(clock, keep_unlabelled=timedelta(hours=24))
    store.create_secret(NAME, KEY_TAGS, "old-value-1")
    first = next(iter(store.peek(NAME).versions))
    for value in ("new-value-2", "third-value"):
        store.put_value_by_hand(NAME, value)
    assert first not in store.describe(NAME).versions
    assert first in store.version_dates(NAME)
    assert store.read_version(NAME, first).text == Secret("old-value-1")
    clock.advance(timedelta(hours=24))
    with pytest.raises(SecretNotFound):
        store.read_version(NAME, first)
    assert first not in store.version_dates(NAME)


def test_calls_are_logged_by_name_and_others_hands_are_not(store: MemoryStore) -> None:
    arn = store.peek(NAME).arn
    store.describe(arn)
    store.consumer_read(NAME)
    store.list_secrets()
    with pytest.raises(SecretNotFound):
        store.read_current("gone")
    assert store.calls == [("describe", NAME), ("list_secrets", ""), ("read_current", "gone")]


def test_an_error_before_a_call_stops_it_and_one_after_only_loses_the_answer(store: MemoryStore) -> None:
    def fail(operation: str, secret: str) -> None:
        raise StoreOutcomeUnknown(f"{secret}: {operation} got no answer")

    store.before = fail
    with pytest.raises(StoreOutcomeUnknown, match="promote"):
        store.promote(NAME, "v" * 32, None)
    with pytest.raises(StoreOutcomeUnknown, match="stage"):
        store.stage(NAME, "w" * 32, Secret("new-value-2"), ("AWSPENDING",))
    assert set(store.peek(NAME).versions) == {"v" * 32}
    store.before, store.after = None, fail
    with pytest.raises(StoreOutcomeUnknown, match="stage"):
        store.stage(NAME, "w" * 32, Secret("new-value-2"), ("AWSPENDING",))
    assert set(store.peek(NAME).versions) == {"v" * 32, "w" * 32}
    store.after = None
    store.stage(NAME, "w" * 32, Secret("new-value-2"), ("AWSPENDING",))


def test_another_process_can_act_between_two_calls(store: MemoryStore) -> None:
    store.stage(NAME, "w" * 32, Secret("new-value-2"), ("AWSPENDING",))

    def a_person_is_faster(operation: str, secret: str) -> None:
        if operation == "promote":
            store.put_value_by_hand(secret, "by-hand-3")

    store.before = a_person_is_faster
    with pytest.raises(PreconditionFailed, match=NAME):
        store.promote(NAME, "w" * 32, "v" * 32)
    assert store.consumer_read(NAME) == "by-hand-3"


def test_of_many_promotions_at_once_one_wins(store: MemoryStore) -> None:
    versions = [f"{number:032}" for number in range(8)]
    for number, version in enumerate(versions):
        store.stage(NAME, version, Secret(f"value-{number}"), (f"rotator:key:{number}",))
    start = threading.Barrier(len(versions))
    won: list[str] = []

    def promote(version: str) -> None:
        start.wait()
        try:
            store.promote(NAME, version, "v" * 32)
        except PreconditionFailed:
            return
        won.append(version)

    threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert "AWSCURRENT" in store.peek(NAME).versions[won[0]]
    assert store.peek(NAME).versions["v" * 32] == {"AWSPREVIOUS"}


@pytest.mark.parametrize("name", ["", "has space", "x" * 513, "naïve"])
def test_names_that_aws_refuses(store: MemoryStore, name: str) -> None:
    with pytest.raises(StoreRejected):
        store.create_secret(name)


def test_a_name_is_used_once(store: MemoryStore) -> None:
    with pytest.raises(StoreRejected, match=NAME):
        store.create_secret(NAME)


def test_lenient_means_without_limits(clock: VirtualClock) -> None:
    store = MemoryStore(clock, strict=False)
    store.create_secret(NAME, {"rotator:scopes": "a,b"}, "x" * 70_000, version_id="v" * 32)
    for number in range(25):
        store.add_label(NAME, f"label-{number}", "v" * 32)
    assert len(store.peek(NAME).versions["v" * 32]) == 26
