"""Where moto does not do what AWS documents: the strict store does; moto's behaviour is pinned beside it.

A pin that fails after an upgrade of moto is good news: move that test into the contract. Pages are of the Secrets
Manager API reference unless said otherwise.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from moto.secretsmanager.models import secretsmanager_backends

from rotator.errors import PreconditionFailed, SecretNotFound, StoreOutcomeUnknown, StoreRejected
from rotator.secret import Secret
from tests.contract.test_store_contract import LABEL, NEW, OLD, staged
from tests.contract.worlds import MemoryWorld, MotoWorld, new_version

NAME = "prod/sms"


class TestAReadWithoutAStage:
    """GetSecretValue: without VersionStage and VersionId the AWSCURRENT version is returned."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, new = staged(memory_world)
        memory_world.store.promote(NAME, new, old)
        assert memory_world.memory.consumer_read(NAME) == NEW

    def test_moto_returns_the_version_that_was_current_before(self, moto_world: MotoWorld) -> None:
        old, new = staged(moto_world)
        moto_world.store.promote(NAME, new, old)
        assert moto_world.client.get_secret_value(SecretId=NAME)["SecretString"] == OLD
        assert moto_world.store.read_current(NAME).text == Secret(NEW)


class TestAPlainPutAfterAPromotion:
    """PutSecretValue: AWSCURRENT moves to the new version, AWSPREVIOUS to the one that it was on."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, new = staged(memory_world)
        memory_world.store.promote(NAME, new, old)
        third = memory_world.memory.put_value_by_hand(NAME, "third-value")
        versions = memory_world.store.describe(NAME).versions
        assert versions == {third: {"AWSCURRENT"}, new: {"AWSPREVIOUS", "AWSPENDING", LABEL}}

    def test_moto_leaves_two_current_versions(self, moto_world: MotoWorld) -> None:
        old, new = staged(moto_world)
        moto_world.store.promote(NAME, new, old)
        moto_world.client.put_secret_value(SecretId=NAME, SecretString="third-value")
        versions = moto_world.store.describe(NAME).versions
        assert sum("AWSCURRENT" in labels for labels in versions.values()) == 2


class TestAnotherValueUnderAPendingVersion:
    """PutSecretValue, ClientRequestToken: with other data than the version's the operation fails."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        _, new = staged(memory_world)
        with pytest.raises(PreconditionFailed, match=NAME):
            memory_world.store.stage(NAME, new, Secret("third-value"), ("AWSPENDING",))
        assert memory_world.store.read_version(NAME, new).text == Secret(NEW)

    def test_moto_overwrites_it(self, moto_world: MotoWorld) -> None:
        _, new = staged(moto_world)
        moto_world.store.stage(NAME, new, Secret("third-value"), ("AWSPENDING",))
        assert moto_world.store.read_version(NAME, new).text == Secret("third-value")


class TestAPromotionToAnUnknownVersion:
    """UpdateSecretVersionStage: an operation that fails changes nothing."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, _ = staged(memory_world)
        with pytest.raises(SecretNotFound, match=NAME):
            memory_world.store.promote(NAME, new_version(), old)
        assert memory_world.memory.consumer_read(NAME) == OLD

    def test_moto_takes_the_label_off_first(self, moto_world: MotoWorld) -> None:
        old, _ = staged(moto_world)
        with pytest.raises(SecretNotFound, match=NAME):
            moto_world.store.promote(NAME, new_version(), old)
        with pytest.raises(SecretNotFound):
            moto_world.store.read_current(NAME)


@pytest.mark.parametrize("label", ["AWSPENDING", LABEL])
class TestMovingALabelWithoutSayingFromWhere:
    """UpdateSecretVersionStage, RemoveFromVersionId: it must be given where the label is on another version."""

    def test_documented(self, memory_world: MemoryWorld, label: str) -> None:
        old, new = staged(memory_world)
        with pytest.raises(PreconditionFailed, match=NAME):
            memory_world.store.add_label(NAME, label, old)
        assert label in memory_world.store.describe(NAME).versions[new]

    def test_moto_puts_it_on_both(self, moto_world: MotoWorld, label: str) -> None:
        old, new = staged(moto_world)
        moto_world.store.add_label(NAME, label, old)
        versions = moto_world.store.describe(NAME).versions
        assert label in versions[old]
        assert label in versions[new]


class TestRemovingTheCurrentLabel:
    """UpdateSecretVersionStage answers that AWSCURRENT can only be moved, never removed."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, _ = staged(memory_world)
        with pytest.raises(StoreRejected, match=NAME):
            memory_world.store.remove_label(NAME, "AWSCURRENT", old)
        assert memory_world.memory.consumer_read(NAME) == OLD

    def test_moto_removes_it(self, moto_world: MotoWorld) -> None:
        old, _ = staged(moto_world)
        moto_world.store.remove_label(NAME, "AWSCURRENT", old)
        assert moto_world.store.describe(NAME).versions[old] == {"AWSPREVIOUS"}


class TestAPromotionWithNothingCurrent:
    """UpdateSecretVersionStage: RemoveFromVersionId is needed only where the label is on another version."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        memory_world.create(NAME)
        version = memory_world.memory.start_rotation(NAME, value=NEW)
        memory_world.store.promote(NAME, version, None)
        assert memory_world.memory.consumer_read(NAME) == NEW

    def test_moto_fails_inside(self, moto_world: MotoWorld) -> None:
        old, new = staged(moto_world)
        moto_world.store.remove_label(NAME, "AWSCURRENT", old)
        with pytest.raises(StoreOutcomeUnknown, match=NAME):
            moto_world.store.promote(NAME, new, None)


class TestWritesToASecretPendingDeletion:
    """InvalidRequestException of PutSecretValue and UpdateSecretVersionStage: the secret is scheduled for deletion."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, new = staged(memory_world)
        memory_world.delete(NAME)
        with pytest.raises(StoreRejected, match="deletion"):
            memory_world.store.promote(NAME, new, old)
        with pytest.raises(StoreRejected, match="deletion"):
            memory_world.store.stage(NAME, new_version(), Secret(NEW), ("AWSPENDING",))

    def test_moto_accepts_them(self, moto_world: MotoWorld) -> None:
        old, new = staged(moto_world)
        moto_world.delete(NAME)
        moto_world.store.promote(NAME, new, old)
        moto_world.store.stage(NAME, new_version(), Secret(NEW), ("AWSPENDING",))
        assert "AWSCURRENT" in moto_world.store.describe(NAME).versions[new]


class TestTwentyLabels:
    """User guide, "AWS Secrets Manager quotas": 20 staging labels across all versions of a secret."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, _ = staged(memory_world)  # three labels
        for number in range(17):
            memory_world.store.add_label(NAME, f"rotator:key:{number}", old)
        before = memory_world.store.describe(NAME)
        with pytest.raises(StoreRejected, match="20"):
            memory_world.store.add_label(NAME, "rotator:key:one-more", old)
        with pytest.raises(StoreRejected, match="20"):
            memory_world.store.stage(NAME, new_version(), Secret(NEW), ("rotator:key:one-more",))
        assert memory_world.store.describe(NAME) == before

    def test_moto_has_no_limit(self, moto_world: MotoWorld) -> None:
        old, _ = staged(moto_world)
        for number in range(18):
            moto_world.store.add_label(NAME, f"rotator:key:{number}", old)
        assert sum(map(len, moto_world.store.describe(NAME).versions.values())) == 21


BAD_TAGS = {
    "percent": {"rotator:rotate-before": "33%"},
    "comma": {"rotator:scopes": "a,b"},
    "quotes": {"note": '"x"'},
    "51 tags": {f"t{number}": "x" for number in range(51)},
    "long value": {"rotator:scopes": "x" * 257},
}


@pytest.mark.parametrize("tags", BAD_TAGS.values(), ids=BAD_TAGS)
class TestTags:
    """TagResource: 50 tags, 256 characters, letters, digits, spaces and + - = . _ : / @."""

    def test_documented(self, memory_world: MemoryWorld, tags: dict[str, str]) -> None:
        memory_world.create(NAME, tags={"owner": "Žarko +-=._:/@"})
        with pytest.raises(StoreRejected, match=NAME):
            memory_world.memory.tag(NAME, tags)
        assert memory_world.store.describe(NAME).tags == {"owner": "Žarko +-=._:/@"}

    def test_moto_takes_any(self, moto_world: MotoWorld, tags: dict[str, str]) -> None:
        moto_world.create(NAME, tags=tags)
        assert moto_world.store.describe(NAME).tags == tags


class TestTheSizeOfAValue:
    """PutSecretValue, SecretString: at most 65,536 bytes."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        memory_world.create(NAME, OLD)
        memory_world.store.stage(NAME, new_version(), Secret("x" * 65_536), ("AWSPENDING",))
        with pytest.raises(StoreRejected, match=NAME):
            memory_world.store.stage(NAME, new_version(), Secret("é" * 32_769), ("AWSPENDING",))

    def test_moto_has_no_limit(self, moto_world: MotoWorld) -> None:
        moto_world.create(NAME, OLD)
        version = new_version()
        moto_world.store.stage(NAME, version, Secret("x" * 65_537), ("AWSPENDING",))
        assert version in moto_world.store.describe(NAME).versions


class TestAVersionWithoutLabels:
    """User guide, "What's in a Secrets Manager secret?": it is deprecated and can be deleted at any time."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, new = staged(memory_world)
        memory_world.store.promote(NAME, new, old)
        memory_world.store.remove_label(NAME, "AWSPREVIOUS", old)
        with pytest.raises(SecretNotFound, match=NAME):
            memory_world.store.read_version(NAME, old)

    def test_moto_keeps_it(self, moto_world: MotoWorld) -> None:
        old, new = staged(moto_world)
        moto_world.store.promote(NAME, new, old)
        moto_world.store.remove_label(NAME, "AWSPREVIOUS", old)
        assert moto_world.store.read_version(NAME, old).text == Secret(OLD)
        with_unlabelled = moto_world.client.list_secret_version_ids(SecretId=NAME)["Versions"]
        assert old in {version["VersionId"] for version in with_unlabelled}  # AWS: only with IncludeDeprecated


class TestTheDateOfAVersion:
    """ListSecretVersionIds, CreatedDate: when the version was created."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        old, _ = staged(memory_world)
        created = memory_world.clock.now()
        memory_world.clock.advance(timedelta(days=3))
        assert memory_world.store.version_dates(NAME)[old] == created

    def test_moto_lists_the_present(self, moto_world: MotoWorld) -> None:
        old, _ = staged(moto_world)
        backend = secretsmanager_backends["123456789012"]["eu-central-1"]  # moto's server runs in this process
        backend.secrets[NAME].versions[old]["createdate"] = 1_600_000_000
        read = moto_world.client.get_secret_value(SecretId=NAME, VersionId=old)["CreatedDate"]
        assert read.timestamp() == 1_600_000_000
        assert moto_world.store.version_dates(NAME)[old] > read + timedelta(days=365)


class TestAnEmptyPendingVersion:
    """DescribeSecret: it lists versions without a value too; ListSecretVersionIds and GetSecretValue do not."""

    def test_documented(self, memory_world: MemoryWorld) -> None:
        memory_world.create(NAME, OLD)
        pending = memory_world.memory.start_rotation(NAME)
        entry = memory_world.store.describe(NAME)
        assert entry.rotation_enabled
        assert entry.versions[pending] == {"AWSPENDING"}
        assert pending not in memory_world.store.version_dates(NAME)
        with pytest.raises(SecretNotFound, match=NAME):
            memory_world.store.read_version(NAME, pending)
        memory_world.store.stage(NAME, pending, Secret(NEW), ("AWSPENDING", LABEL))
        assert memory_world.store.read_version(NAME, pending).text == Secret(NEW)

    def test_moto_cannot_rotate_without_running_a_function(self, moto_world: MotoWorld) -> None:
        moto_world.create(NAME, OLD)
        arn = "arn:aws:lambda:eu-central-1:123456789012:function:none"
        with pytest.raises(ClientError):
            moto_world.client.rotate_secret(SecretId=NAME, RotationLambdaARN=arn)
