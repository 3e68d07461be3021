"""One secret of the in-memory Secrets Manager, and the service's documented rules about it.

Each rule names the page of AWS's API reference or user guide that states it. Every change is checked first and made
after: what is refused leaves the secret as it was.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import PreconditionFailed, SecretNotFound, StoreRejected
from rotator.model import SecretEntry
from rotator.reasons import Reason
from rotator.secret import Secret

CURRENT: Final = "AWSCURRENT"
PREVIOUS: Final = "AWSPREVIOUS"
PENDING: Final = "AWSPENDING"
MAX_LABELS: Final = 20  # user guide, "AWS Secrets Manager quotas"
MAX_TAGS: Final = 50  # API reference, "TagResource"
MAX_VALUE: Final = 65_536  # bytes; "AWS Secrets Manager quotas"
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")  # "CreateSecret"
_TAG_EXTRA: Final = frozenset("_.:/=+-@")


@dataclass(slots=True)
class Version:
    """One version. ``text`` is ``None`` for one that ``RotateSecret`` made, without a value, or for a binary one."""

    created: datetime
    text: Secret | None
    binary: bytes | None = None
    unlabelled_since: datetime | None = None


@dataclass(slots=True)
class Record:
    """One secret. ``labels`` maps a staging label to the version that it is on: a label is never on two."""

    arn: str
    name: str
    tags: dict[str, str]
    versions: dict[str, Version] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    owning_service: str | None = None
    primary_region: str | None = None
    deleted_at: datetime | None = None
    rotation_enabled: bool | None = None
    last_changed: datetime | None = None
    rotation_function: str | None = None
    kms_denied: bool = False
    limits: bool = True

    def entry(self) -> SecretEntry:
        """What ``DescribeSecret`` says now."""
        return SecretEntry(
            arn=self.arn,
            name=self.name,
            tags=dict(self.tags),
            versions={version: self.labels_of(version) for version in self.versions if self.labels_of(version)},
            owning_service=self.owning_service,
            primary_region=self.primary_region,
            deleted_at=self.deleted_at,
            rotation_enabled=self.rotation_enabled,
            last_changed=self.last_changed,
            rotation_function=self.rotation_function,
        )

    def labels_of(self, version_id: str) -> frozenset[str]:
        """The labels on one version."""
        return frozenset(label for label, version in self.labels.items() if version == version_id)

    def put(
        self,
        version_id: str,
        text: Secret | None,
        labels: Iterable[str],
        now: datetime,
        *,
        binary: bytes | None = None,
        first_is_current: bool = True,
    ) -> None:
        """``PutSecretValue``; with neither text nor binary, the empty version that ``RotateSecret`` makes.

        "PutSecretValue": the same token with the same data does nothing, with other data it fails; a first version gets
        ``AWSCURRENT`` too; a label that is on another version moves; ``AWSPREVIOUS`` follows ``AWSCURRENT``.
        """
        wanted = tuple(labels)
        if not 32 <= len(version_id) <= 64:
            raise StoreRejected(f"{self.name}: a version id has 32 to 64 characters; nothing was stored")
        if text is not None and self.limits and not 1 <= len(text.reveal().encode()) <= MAX_VALUE:
            raise StoreRejected(f"{self.name}: a value has 1 to 65,536 bytes; nothing was stored")
        there = self.versions.get(version_id)
        if there is not None and (there.text is not None or there.binary is not None):
            if there.text is None or text is None or there.text != text:
                raise PreconditionFailed(
                    f"{self.name}: the version id is taken by another value; nothing was stored",
                    advice="The next sweep chooses another version id.",
                )
            return
        after = dict(self.labels)
        if first_is_current and not self.versions and (text is not None or binary is not None):
            wanted = (*wanted, CURRENT)
        for label in wanted:
            _attach(after, label, version_id)
        self._check_labels(after, wanted)
        created = now if there is None else there.created
        self.versions[version_id] = Version(created, text, binary)
        self._relabel(after, now)

    def move(self, label: str, to_version: str | None, from_version: str | None, now: datetime) -> None:
        """``UpdateSecretVersionStage``.

        "UpdateSecretVersionStage", RemoveFromVersionId: a label that is on another version moves only if that version
        is named, whichever label it is; ``AWSCURRENT`` can be moved and never removed.
        """
        at = self.labels.get(label)
        if to_version is not None and to_version not in self.versions:
            raise SecretNotFound(f"{self.name}: there is no version {to_version}; nothing was changed")
        if from_version is not None and from_version not in self.versions:
            raise SecretNotFound(f"{self.name}: there is no version {from_version}; nothing was changed")
        if from_version != at and not (from_version is None and at == to_version):
            raise PreconditionFailed(
                f"{self.name}: the staging label is not where it was expected; nothing was changed",
                advice="Another process changed this secret; the next sweep reads it again.",
            )
        after = dict(self.labels)
        if to_version is None:
            if label == CURRENT:
                raise StoreRejected(f"{self.name}: AWSCURRENT can be moved, never removed; nothing was changed")
            after.pop(label, None)
        elif at != to_version:
            _attach(after, label, to_version)
        self._check_labels(after, (label,))
        self._relabel(after, now)

    def forget(self, now: datetime, keep: timedelta) -> None:
        """Drop versions that have been without a label for ``keep`` or longer ("ListSecretVersionIds": deprecated)."""
        self.versions = {
            name: version
            for name, version in self.versions.items()
            if version.unlabelled_since is None or now - version.unlabelled_since < keep
        }

    def _check_labels(self, after: Mapping[str, str], named: Iterable[str]) -> None:
        if any(not 1 <= len(label) <= 256 for label in named):
            raise StoreRejected(f"{self.name}: a staging label has 1 to 256 characters; nothing was changed")
        if self.limits and len(after) > MAX_LABELS:
            raise StoreRejected(
                f"{self.name}: a secret has at most {MAX_LABELS} staging labels; nothing was changed",
                reason=Reason.LABEL_LIMIT,
            )

    def _relabel(self, after: dict[str, str], now: datetime) -> None:
        self.labels = after
        self.last_changed = now
        labelled = set(after.values())
        for name, version in self.versions.items():
            if name in labelled:
                version.unlabelled_since = None
            elif version.unlabelled_since is None:
                version.unlabelled_since = now


def _attach(labels: dict[str, str], label: str, version_id: str) -> None:
    at = labels.get(label)
    labels[label] = version_id
    if label == CURRENT and at is not None and at != version_id:
        labels[PREVIOUS] = at


def check_name(name: str) -> None:
    """Refuse a name that "CreateSecret" refuses."""
    if not _NAME.fullmatch(name):
        raise StoreRejected(f"{name!r} is not a valid name of a secret: letters, digits and /_+=.@-, at most 512")


def check_tags(name: str, tags: Mapping[str, str]) -> None:
    """Refuse tags that AWS refuses: more than 50, characters other than those of "TagResource", or too long."""
    if len(tags) > MAX_TAGS:
        raise StoreRejected(f"{name}: a secret has at most {MAX_TAGS} tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise StoreRejected(f"{name}: tag {key[:40]!r} is too long, empty or reserved")
        if not all(_tag_character(character) for character in key + value):
            raise StoreRejected(f"{name}: tag {key[:40]!r} holds more than letters, digits, spaces and + - = . _ : / @")


def _tag_character(character: str) -> bool:
    return character in _TAG_EXTRA or unicodedata.category(character)[0] in "LNZ"
