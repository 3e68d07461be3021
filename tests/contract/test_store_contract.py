"""What both stores do alike: the strict one in memory, and boto over HTTP with moto."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, timedelta

import pytest

from rotator.errors import BadSecretValue, PreconditionFailed, SecretNotFound, StoreRejected
from rotator.model import SecretEntry
from rotator.ports import SecretStore
from rotator.reasons import Reason
from rotator.secret import Secret
from tests.contract.worlds import KEY_TAGS, PRIMARY_REGION, World, new_version

LABEL = "rotator:key:5737AB"
OLD, NEW = "old-value-1", "new-value-2"


def current(entry: SecretEntry) -> str:
    [version] = [version for version, labels in entry.versions.items() if "AWSCURRENT" in labels]
    return version


def staged(world: World, name: str = "prod/sms") -> tuple[str, str]:
    """A secret with a current and a staged version: their ids."""
    world.create(name, OLD)
    version = new_version()
    world.store.stage(name, version, Secret(NEW), ("AWSPENDING", LABEL))
    return current(world.store.describe(name)), version


def test_lists_only_secrets_with_role_tag(world: World) -> None:
    world.create("b", OLD)
    world.create("a", tags={"rotator:role": "management"})
    world.create("other", OLD, tags={"owner": "team"})
    world.create("prefix", OLD, tags={"rotator:role-of": "key"})  # AWS's filter lets a longer tag key through
    entries = world.store.list_secrets()
    assert [entry.name for entry in entries] == ["a", "b"]
    world.create("named", OLD, tags={"rotator:role": "key", "owner": "management"})
    assert world.store.list_secrets("management") == entries[:1]
    assert entries[0].tags == {"rotator:role": "management"}
    assert entries[0].versions == {}
    assert entries[1].tags == KEY_TAGS
    assert list(entries[1].versions.values()) == [frozenset({"AWSCURRENT"})]


def test_listing_and_description_say_same(world: World) -> None:
    staged(world)
    [listed] = world.store.list_secrets()
    assert listed == world.store.describe("prod/sms")
    assert listed == world.store.describe(listed.arn)
    assert listed.region == "eu-central-1"
    assert listed.last_changed is not None
    assert listed.last_changed.utcoffset() == timedelta(0)
    assert not listed.rotation_enabled
    assert listed.deleted_at is None
    assert listed.owning_service is None
    assert listed.primary_region is None


def test_pending_deletion_is_listed(world: World) -> None:
    world.create("prod/sms", OLD)
    world.delete("prod/sms")
    [listed] = world.store.list_secrets()
    assert listed.deleted_at is not None
    assert listed.deleted_at.tzinfo is UTC
    assert world.store.describe("prod/sms").deleted_at == listed.deleted_at


def test_pending_deletion_has_no_value(world: World) -> None:
    world.create("prod/sms", OLD)
    world.delete("prod/sms")
    with pytest.raises(StoreRejected, match="prod/sms: ") as caught:
        world.store.read_current("prod/sms")
    assert caught.value.reason is Reason.DELETED


CALLS: dict[str, Callable[[SecretStore], object]] = {
    "describe": lambda store: store.describe("gone"),
    "read_current": lambda store: store.read_current("gone"),
    "read_version": lambda store: store.read_version("gone", new_version()),
    "stage": lambda store: store.stage("gone", new_version(), Secret(NEW), ("AWSPENDING",)),
    "promote": lambda store: store.promote("gone", new_version(), new_version()),
    "add_label": lambda store: store.add_label("gone", LABEL, new_version()),
    "remove_label": lambda store: store.remove_label("gone", LABEL, new_version()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_secret_that_is_not_there_is_named(world: World, call: Callable[[SecretStore], object]) -> None:
    with pytest.raises(SecretNotFound, match="gone"):
        call(world.store)


def test_read_value_is_taught_to_redactor(world: World) -> None:
    text = json.dumps({"api_key": "k", "note": "ž€𝄞\n"}, ensure_ascii=False)
    world.create("prod/sms", text)
    stored = world.store.read_current("prod/sms")
    assert stored.text.reveal() == text
    assert stored.labels == {"AWSCURRENT"}
    assert stored.version_id == current(world.store.describe("prod/sms"))
    assert world.learned == [text]
    assert text not in repr(stored)
    assert world.store.read_version("prod/sms", stored.version_id) == stored


def test_secret_without_value(world: World) -> None:
    world.create("prod/sms")
    assert world.store.describe("prod/sms").versions == {}
    assert world.store.version_dates("prod/sms") == {}
    with pytest.raises(SecretNotFound, match="prod/sms"):
        world.store.read_current("prod/sms")


def test_missing_version(world: World) -> None:
    world.create("prod/sms", OLD)
    with pytest.raises(SecretNotFound, match="prod/sms"):
        world.store.read_version("prod/sms", new_version())


def test_binary_value_is_refused_by_name(world: World) -> None:
    world.create("prod/sms", OLD)
    world.put_binary("prod/sms")
    with pytest.raises(BadSecretValue, match="prod/sms"):
        world.store.read_current("prod/sms")


def test_staging_leaves_consumers_alone(world: World) -> None:
    old, new = staged(world)
    assert world.store.describe("prod/sms").versions == {
        old: frozenset({"AWSCURRENT"}),
        new: frozenset({"AWSPENDING", LABEL}),
    }
    assert world.store.read_current("prod/sms").text == Secret(OLD)
    assert world.store.read_version("prod/sms", new).text == Secret(NEW)


def test_staging_same_again_does_nothing(world: World) -> None:
    old, new = staged(world)
    world.store.promote("prod/sms", new, old)
    world.store.remove_label("prod/sms", "AWSPENDING", new)
    before = world.store.describe("prod/sms").versions
    world.store.stage("prod/sms", new, Secret(NEW), ("AWSPENDING", LABEL))
    assert world.store.describe("prod/sms").versions == before


def test_version_id_keeps_its_value(world: World) -> None:
    world.create("prod/sms", OLD)
    version = new_version()
    world.store.stage("prod/sms", version, Secret(NEW), (LABEL,))
    with pytest.raises(PreconditionFailed, match="prod/sms"):
        world.store.stage("prod/sms", version, Secret("third-value"), (LABEL,))
    assert world.store.read_version("prod/sms", version).text == Secret(NEW)


def test_staging_moves_labels(world: World) -> None:
    _, first = staged(world)
    second = new_version()
    world.store.stage("prod/sms", second, Secret("third-value"), ("AWSPENDING", "rotator:key:2"))
    versions = world.store.describe("prod/sms").versions
    assert versions[first] == {LABEL}
    assert versions[second] == {"AWSPENDING", "rotator:key:2"}


def test_first_version_is_current_at_once(world: World) -> None:
    world.create("prod/sms")
    version = new_version()
    world.store.stage("prod/sms", version, Secret(NEW), ("AWSPENDING", LABEL))
    assert world.store.describe("prod/sms").versions == {version: {"AWSPENDING", "AWSCURRENT", LABEL}}
    assert world.store.read_current("prod/sms").text == Secret(NEW)


@pytest.mark.parametrize(
    ("version", "labels"), [("short", ("AWSPENDING",)), (new_version(), ())], ids=["version id", "no labels"]
)
def test_failed_staging_changes_nothing(world: World, version: str, labels: tuple[str, ...]) -> None:
    world.create("prod/sms", OLD)
    before = world.store.describe("prod/sms").versions
    with pytest.raises(StoreRejected, match="prod/sms") as caught:
        world.store.stage("prod/sms", version, Secret(NEW), labels)
    assert NEW not in str(caught.value)
    assert world.store.describe("prod/sms").versions == before


def test_promotion_moves_two_labels(world: World) -> None:
    old, new = staged(world)
    world.store.promote("prod/sms", new, old)
    assert world.store.read_current("prod/sms").text == Secret(NEW)
    assert world.store.describe("prod/sms").versions == {
        old: {"AWSPREVIOUS"},
        new: {"AWSCURRENT", "AWSPENDING", LABEL},
    }


def test_promotion_can_be_taken_back(world: World) -> None:
    old, new = staged(world)
    world.store.promote("prod/sms", new, old)
    world.store.promote("prod/sms", old, new)
    assert world.store.read_current("prod/sms").text == Secret(OLD)
    assert world.store.describe("prod/sms").versions[old] == {"AWSCURRENT"}
    assert "AWSPREVIOUS" in world.store.describe("prod/sms").versions[new]


@pytest.mark.parametrize("expected", ["pending", None], ids=["another version", "none"])
def test_promotion_is_compare_and_swap(world: World, expected: str | None) -> None:
    _, new = staged(world)
    other = new_version()
    world.store.stage("prod/sms", other, Secret("third-value"), ("rotator:key:2",))
    before = world.store.describe("prod/sms").versions
    with pytest.raises(PreconditionFailed, match="prod/sms"):
        world.store.promote("prod/sms", new, other if expected else None)
    assert world.store.describe("prod/sms").versions == before


def test_second_promotion_loses(world: World) -> None:
    old, new = staged(world)
    other = new_version()
    world.store.stage("prod/sms", other, Secret("third-value"), ("rotator:key:2",))
    world.store.promote("prod/sms", other, old)
    with pytest.raises(PreconditionFailed):
        world.store.promote("prod/sms", new, old)
    assert world.store.read_current("prod/sms").text == Secret("third-value")


def test_labels_are_added_moved_and_removed(world: World) -> None:
    old, new = staged(world)
    retire = "rotator:retire:5737AB:20261126T100000Z"
    world.store.add_label("prod/sms", retire, old)
    assert world.store.describe("prod/sms").versions[old] == {"AWSCURRENT", retire}
    world.store.add_label("prod/sms", retire, new, remove_from=old)
    assert world.store.describe("prod/sms").versions == {old: {"AWSCURRENT"}, new: {"AWSPENDING", LABEL, retire}}
    world.store.remove_label("prod/sms", retire, new)
    assert world.store.describe("prod/sms").versions[new] == {"AWSPENDING", LABEL}


def test_moving_absent_label_is_refused(world: World) -> None:
    old, new = staged(world)
    with pytest.raises(PreconditionFailed, match="prod/sms"):
        world.store.add_label("prod/sms", LABEL, old, remove_from=old)
    assert LABEL in world.store.describe("prod/sms").versions[new]


def test_removing_label_that_is_gone_is_fine(world: World) -> None:
    old, new = staged(world)
    before = world.store.describe("prod/sms").versions
    world.store.remove_label("prod/sms", "rotator:key:unknown", new)
    world.store.remove_label("prod/sms", LABEL, old)  # it is on the other version, and stays there
    world.store.remove_label("prod/sms", LABEL, new_version())
    assert world.store.describe("prod/sms").versions == before


def test_every_version_with_value_has_date(world: World) -> None:
    old, new = staged(world)
    dates = world.store.version_dates("prod/sms")
    assert set(dates) == {old, new}
    assert all(date.tzinfo is UTC for date in dates.values())


def test_replica_is_read_but_not_written(world: World) -> None:
    arn = world.create_replica("prod/sms", OLD)
    entry = world.store.describe(arn)
    assert (entry.primary_region, entry.region) == (PRIMARY_REGION, "eu-central-1")
    assert [each.arn for each in world.store.list_secrets()] == [arn]
    assert world.store.read_current(arn).text == Secret(OLD)
    with pytest.raises(StoreRejected) as caught:
        world.store.stage(arn, new_version(), Secret(NEW), ("AWSPENDING",))
    assert caught.value.reason is Reason.REPLICA


def test_many_values_are_read_at_once_by_arn(world: World) -> None:
    arns = [world.create(f"s{number:02}", f"value-{number:02}") for number in range(45)]
    found = world.store.read_many(arns)
    assert {arn: revealed(found[arn]) for arn in arns} == {arn: f"value-{n:02}" for n, arn in enumerate(arns)}
    assert set(found) == set(arns)
    assert sorted(set(world.learned)) == sorted(f"value-{number:02}" for number in range(45))
    assert world.store.read_many([]) == {}


def test_binary_value_among_many_is_read(world: World) -> None:
    arns = [world.create("a", OLD), world.create("b", OLD)]
    world.put_binary("b")
    found = world.store.read_many(arns)
    assert [revealed(found[arn]) for arn in arns] == [OLD, "\x00\x01"]


def test_secret_without_value_among_many(world: World) -> None:
    empty, full = world.create("a"), world.create("b", OLD)
    gone = full.replace("secret:b", "secret:gone")
    found = world.store.read_many([empty, full, gone])
    assert {arn: revealed(content) for arn, content in found.items()} == {full: OLD}


def test_unreadable_one_stops_none_of_many(world: World) -> None:
    arns = [world.create(f"s{number:02}", f"value-{number:02}") for number in range(25)]
    world.delete("s07")
    found = world.store.read_many(arns)
    assert isinstance(found[arns[7]], StoreRejected)
    assert "s07" in str(found[arns[7]])
    assert sum(isinstance(content, Secret) for content in found.values()) == 24


def test_many_are_read_as_they_are_current(world: World) -> None:
    old, new = staged(world)
    arn = world.store.describe("prod/sms").arn
    assert revealed(world.store.read_many([arn])[arn]) == OLD
    world.store.promote("prod/sms", new, old)
    assert revealed(world.store.read_many([arn])[arn]) == NEW


def revealed(content: object) -> str:
    assert isinstance(content, Secret)
    return content.reveal()
