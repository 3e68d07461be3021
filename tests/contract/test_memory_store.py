"""What AWS documents and moto does not do, so that only the strict store in memory shows it; and that store's hooks.

Pages are of the Secrets Manager API reference unless said otherwise. The rest is in the contract of both stores.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.errors import PreconditionFailed, SecretNotFound, StoreDenied, StoreOutcomeUnknown, StoreRejected
from rotator.reasons import Reason
from rotator.sandbox.clocks import VirtualClock
from rotator.secret import Secret
from tests.contract.test_store_contract import LABEL, NEW, OLD, staged
from tests.contract.worlds import KEY_TAGS, MemoryWorld, MotoWorld, new_version
from tests.doubles.memory_store import MemoryStore

NAME = "prod/sms"


@pytest.fixture
def store(memory_world: MemoryWorld) -> MemoryStore:
    return memory_world.memory


@pytest.fixture
def versions(memory_world: MemoryWorld) -> tuple[str, str]:
    """The current and the pending version of a secret that has both."""
    return staged(memory_world, NAME)


def test_moto_read_is_of_current_version(moto_world: MotoWorld) -> None:
    """Without a stage moto alone reads the version that was current before; the sandbox corrects it."""
    old, new = staged(moto_world, NAME)
    moto_world.store.promote(NAME, new, old)
    assert moto_world.client.get_secret_value(SecretId=NAME)["SecretString"] == NEW
    assert moto_world.store.read_current(NAME).text == Secret(NEW)


def test_put_by_hand_after_promotion(store: MemoryStore, versions: tuple[str, str]) -> None:
    """PutSecretValue: AWSCURRENT moves to the new version, AWSPREVIOUS to the one that it was on."""
    old, new = versions
    store.promote(NAME, new, old)
    third = store.put_value_by_hand(NAME, "third-value")
    assert store.describe(NAME).versions == {third: {"AWSCURRENT"}, new: {"AWSPREVIOUS", "AWSPENDING", LABEL}}


def test_another_value_under_pending_version(store: MemoryStore, versions: tuple[str, str]) -> None:
    """PutSecretValue, ClientRequestToken: with other data than the version's the operation fails."""
    with pytest.raises(PreconditionFailed, match=NAME):
        store.stage(NAME, versions[1], Secret("third-value"), ("AWSPENDING",))
    assert store.read_version(NAME, versions[1]).text == Secret(NEW)


def test_failed_promotion_changes_nothing(store: MemoryStore, versions: tuple[str, str]) -> None:
    """UpdateSecretVersionStage; moto takes the label off first."""
    with pytest.raises(SecretNotFound, match=NAME):
        store.promote(NAME, new_version(), versions[0])
    assert store.consumer_read(NAME) == OLD


@pytest.mark.parametrize("label", ["AWSPENDING", LABEL])
def test_label_moves_only_from_its_place(store: MemoryStore, versions: tuple[str, str], label: str) -> None:
    """UpdateSecretVersionStage, RemoveFromVersionId: it must be given where the label is on another version."""
    old, new = versions
    with pytest.raises(PreconditionFailed, match=NAME):
        store.add_label(NAME, label, old)
    assert label in store.describe(NAME).versions[new]


def test_current_label_is_never_removed(store: MemoryStore, versions: tuple[str, str]) -> None:
    """UpdateSecretVersionStage answers that AWSCURRENT can only be moved."""
    with pytest.raises(StoreRejected, match=NAME):
        store.remove_label(NAME, "AWSCURRENT", versions[0])
    assert store.consumer_read(NAME) == OLD


def test_promotion_with_nothing_current(store: MemoryStore) -> None:
    """UpdateSecretVersionStage: RemoveFromVersionId is needed only where the label is on another version."""
    store.create_secret(NAME, KEY_TAGS)
    store.promote(NAME, store.start_rotation(NAME, value=NEW), None)
    assert store.consumer_read(NAME) == NEW


def test_writes_to_secret_pending_deletion(store: MemoryStore, versions: tuple[str, str]) -> None:
    """InvalidRequestException of PutSecretValue and UpdateSecretVersionStage: the secret is scheduled for deletion."""
    old, new = versions
    store.delete(NAME)
    with pytest.raises(StoreRejected) as moved:
        store.promote(NAME, new, old)
    with pytest.raises(StoreRejected) as stored:
        store.stage(NAME, new_version(), Secret(NEW), ("AWSPENDING",))
    assert {moved.value.reason, stored.value.reason} == {Reason.DELETED}
    store.restore(NAME)
    assert store.consumer_read(NAME) == OLD


def test_twenty_labels(store: MemoryStore, versions: tuple[str, str]) -> None:
    """User guide, "AWS Secrets Manager quotas": 20 staging labels across all versions of a secret."""
    for number in range(17):  # there are three
        store.add_label(NAME, f"rotator:key:{number}", versions[0])
    before = store.describe(NAME)
    with pytest.raises(StoreRejected) as moved:
        store.add_label(NAME, "rotator:key:one-more", versions[0])
    with pytest.raises(StoreRejected) as stored:
        store.stage(NAME, new_version(), Secret(NEW), ("rotator:key:one-more",))
    assert {moved.value.reason, stored.value.reason} == {Reason.LABEL_LIMIT}
    assert store.describe(NAME) == before


BAD_TAGS = {
    "percent": {"rotator:rotate-before": "33%"},
    "comma": {"rotator:scopes": "a,b"},
    "quotes": {"note": '"x"'},
    "51 tags": {f"t{number}": "x" for number in range(51)},
    "long value": {"rotator:scopes": "x" * 257},
}


@pytest.mark.parametrize("tags", BAD_TAGS.values(), ids=BAD_TAGS)
def test_tags(store: MemoryStore, tags: dict[str, str]) -> None:
    """TagResource: 50 tags, 256 characters, letters, digits, spaces and + - = . _ : / @."""
    store.create_secret(NAME, {"owner": "Žarko +-=._:/@"})
    with pytest.raises(StoreRejected, match=NAME):
        store.tag(NAME, tags)
    assert store.describe(NAME).tags == {"owner": "Žarko +-=._:/@"}


def test_size_of_value(store: MemoryStore) -> None:
    """PutSecretValue, SecretString: at most 65,536 bytes."""
    store.create_secret(NAME, KEY_TAGS, OLD)
    store.stage(NAME, new_version(), Secret("x" * 65_536), ("AWSPENDING",))
    with pytest.raises(StoreRejected, match=NAME):
        store.stage(NAME, new_version(), Secret("é" * 32_769), ("AWSPENDING",))


def test_version_without_labels_is_deleted(store: MemoryStore, versions: tuple[str, str]) -> None:
    """User guide, "What's in a Secrets Manager secret?"."""
    old, new = versions
    store.promote(NAME, new, old)
    store.remove_label(NAME, "AWSPREVIOUS", old)
    with pytest.raises(SecretNotFound, match=NAME):
        store.read_version(NAME, old)


def test_unlabelled_version_stays_for_hours() -> None:
    clock = VirtualClock()
    store = MemoryStore(clock, keep_unlabelled=timedelta(hours=24))
    store.create_secret(NAME, KEY_TAGS, OLD)
    first = next(iter(store.peek(NAME).versions))
    for value in (NEW, "third-value"):
        store.put_value_by_hand(NAME, value)
    assert first not in store.describe(NAME).versions
    assert first in store.version_dates(NAME)
    assert store.read_version(NAME, first).text == Secret(OLD)
    clock.advance(timedelta(hours=24))
    with pytest.raises(SecretNotFound):
        store.read_version(NAME, first)
    assert first not in store.version_dates(NAME)


def test_date_of_version(memory_world: MemoryWorld, versions: tuple[str, str]) -> None:
    """ListSecretVersionIds, CreatedDate: when the version was created; moto lists the present."""
    created = memory_world.clock.now()
    memory_world.clock.advance(timedelta(days=3))
    assert memory_world.store.version_dates(NAME)[versions[0]] == created


def test_empty_pending_version(store: MemoryStore) -> None:
    """DescribeSecret: it lists versions without a value too; ListSecretVersionIds and GetSecretValue do not."""
    store.create_secret(NAME, KEY_TAGS, OLD)
    pending = store.start_rotation(NAME)
    entry = store.describe(NAME)
    assert entry.rotation_enabled
    assert entry.versions[pending] == {"AWSPENDING"}
    assert pending not in store.version_dates(NAME)
    with pytest.raises(SecretNotFound, match=NAME):
        store.read_version(NAME, pending)
    store.stage(NAME, pending, Secret(NEW), ("AWSPENDING", LABEL))
    assert store.read_version(NAME, pending).text == Secret(NEW)


def test_only_listing_is_stale(memory_world: MemoryWorld) -> None:
    """ListSecrets: it is eventually consistent, "changes in the last five minutes might not appear"."""
    store, clock = memory_world.memory, memory_world.clock
    for name in (NAME, "prod/gone"):
        store.create_secret(name, KEY_TAGS, OLD)
    clock.advance(timedelta(minutes=10))
    store.staleness = timedelta(minutes=5)
    store.tag(NAME, {"rotator:hold": "audit"})
    store.create_secret("prod/new", KEY_TAGS)
    store.force_delete("prod/gone")
    assert [(entry.name, entry.tags) for entry in store.list_secrets()] == [("prod/gone", KEY_TAGS), (NAME, KEY_TAGS)]
    assert store.describe(NAME).tags == {**KEY_TAGS, "rotator:hold": "audit"}
    with pytest.raises(SecretNotFound, match="prod/gone"):
        store.describe("prod/gone")
    clock.advance(timedelta(minutes=5))
    assert [entry.name for entry in store.list_secrets()] == ["prod/new", NAME]
    assert store.list_secrets()[1] == store.describe(NAME)
    store.staleness = timedelta(minutes=6)
    with pytest.raises(ValueError, match="5 minutes"):
        store.list_secrets()


def test_denied_kms_refuses_values_only(store: MemoryStore, versions: tuple[str, str]) -> None:
    old, new = versions
    store.deny_kms(NAME)
    for call, action in (
        (lambda: store.read_current(NAME), "kms:Decrypt"),
        (lambda: store.read_version(NAME, old), "kms:Decrypt"),
        (lambda: store.stage(NAME, new_version(), Secret("third"), ("x",)), "kms:GenerateDataKey"),
    ):
        with pytest.raises(StoreDenied, match=NAME) as caught:
            call()
        assert caught.value.action == action
    store.promote(NAME, new, old)
    store.deny_kms(NAME, denied=False)
    assert store.consumer_read(NAME) == NEW


def test_other_services_secret_is_read_only(store: MemoryStore, versions: tuple[str, str]) -> None:
    store.set_owning_service(NAME, "rds")
    assert store.describe(NAME).owning_service == "rds"
    with pytest.raises(StoreRejected, match="rds"):
        store.stage(NAME, new_version(), Secret("third"), ("AWSPENDING",))
    with pytest.raises(StoreRejected, match="rds"):
        store.add_label(NAME, "x", versions[0])


@pytest.mark.usefixtures("versions")
def test_error_before_call_stops_it(store: MemoryStore) -> None:
    def fail(operation: str, secret: str) -> None:
        raise StoreOutcomeUnknown(f"{secret}: {operation} got no answer")

    store.before = fail
    with pytest.raises(StoreOutcomeUnknown, match="stage"):
        store.stage(NAME, "w" * 32, Secret("third"), ("x",))
    assert "w" * 32 not in store.peek(NAME).versions
    store.before, store.after = None, fail
    with pytest.raises(StoreOutcomeUnknown, match="stage"):
        store.stage(NAME, "w" * 32, Secret("third"), ("x",))
    assert "w" * 32 in store.peek(NAME).versions
    store.after = None
    store.stage(NAME, "w" * 32, Secret("third"), ("x",))
