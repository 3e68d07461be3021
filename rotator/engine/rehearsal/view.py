"""Secrets Manager as the rehearsed engine sees it: one management secret, and the rehearsal's secret as a managed one.

The real secret has no ``rotator:role``, so no sweep takes it for a managed secret. Here it has the tags that
the rehearsal wants, so the engine's own code runs on it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from rotator.errors import SecretNotFound, StoreError
from rotator.model import SecretEntry
from rotator.policy.tags import ACCOUNT_TAG, ROLE_TAG
from rotator.ports import RehearsalStore, StoredValue
from rotator.secret import Secret


@dataclass
class RehearsalView:
    """A :class:`rotator.ports.SecretStore` that shows these two secrets, and changes only the rehearsal's.

    :param tags: what the rehearsal's secret is tagged with here, besides role and account.
    """

    store: RehearsalStore
    management: SecretEntry
    account: str
    name: str
    arn: str
    tags: dict[str, str] = field(default_factory=dict)

    def list_secrets(self, role: str = "") -> tuple[SecretEntry, ...]:
        """Both secrets; never stale."""
        both = self.management, self.describe(self.arn)
        return tuple(entry for entry in both if role in ("", entry.tags[ROLE_TAG]))

    def describe(self, secret_id: str) -> SecretEntry:
        """Describe one of the two."""
        if secret_id in (self.management.arn, self.management.name):
            return self.management
        entry = self.store.describe(self._own(secret_id))
        return replace(entry, tags={ROLE_TAG: "key", ACCOUNT_TAG: self.account, **self.tags})

    def read_current(self, secret_id: str) -> StoredValue:
        """Read the value behind ``AWSCURRENT`` of one of the two."""
        return self.store.read_current(secret_id if secret_id == self.management.arn else self._own(secret_id))

    def read_version(self, secret_id: str, version_id: str) -> StoredValue:
        """Read one version's value."""
        return self.store.read_version(self._own(secret_id), version_id)

    def read_content(self, secret_id: str, version_id: str) -> Secret:
        """Read one version's content."""
        return self.store.read_content(self._own(secret_id), version_id)

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """Read the content behind ``AWSCURRENT``."""
        return self.store.read_many([self._own(each) for each in secret_ids])

    def version_dates(self, secret_id: str) -> Mapping[str, datetime]:
        """Return when each version was created."""
        return self.store.version_dates(self._own(secret_id))

    def stage(self, secret_id: str, version_id: str, text: Secret, labels: tuple[str, ...]) -> None:
        """Store a new version."""
        self.store.stage(self._own(secret_id), version_id, text, labels)

    def promote(self, secret_id: str, to_version: str, from_version: str | None) -> None:
        """Move ``AWSCURRENT``."""
        self.store.promote(self._own(secret_id), to_version, from_version)

    def add_label(self, secret_id: str, label: str, version_id: str, *, remove_from: str | None = None) -> None:
        """Put a label on a version."""
        self.store.add_label(self._own(secret_id), label, version_id, remove_from=remove_from)

    def remove_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Remove a label."""
        self.store.remove_label(self._own(secret_id), label, version_id)

    def _own(self, secret_id: str) -> str:
        """The ARN of the rehearsal's secret.

        :raises SecretNotFound: another secret was named; a rehearsal never touches one.
        """
        if secret_id not in (self.arn, self.name):
            raise SecretNotFound(f"{secret_id} is not this rehearsal's secret")
        return self.arn
