"""Create, find and delete the secrets of rehearsals; nothing else in the program may do that.

Their names begin with :data:`~rotator.ports.REHEARSAL_PREFIX`; the IAM policy ``docs/iam/rehearsal.json`` is limited
to such names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rotator.aws.secretsmanager import SecretsManagerStore, entries_of
from rotator.errors import Refused, SecretNotFound
from rotator.model import SecretEntry
from rotator.policy.tags import ACCOUNT_TAG, ROLE_TAG
from rotator.ports import REHEARSAL_PREFIX, REHEARSAL_TAG, Listing, SecretStore


class RehearsalSecrets(SecretsManagerStore):
    """Secrets Manager, with the calls that only a rehearsal needs (see :class:`rotator.ports.RehearsalStore`)."""

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a secret without a value and return its ARN."""
        request = {
            "Name": _checked(name),
            "Description": "A rehearsal of the Infobip key rotator; `rotator rehearse --clean` deletes it.",
            "Tags": [{"Key": tag, "Value": text} for tag, text in tags.items()],
        }
        return self._call("CreateSecret", name, request, lambda raw: str(raw["ARN"]), write=True)

    def delete(self, entry: SecretEntry) -> None:
        """Delete a rehearsal's secret without a recovery window. It is no error if it does not exist."""
        request = {"SecretId": entry.arn, "ForceDeleteWithoutRecovery": True}
        _checked(entry.name)
        try:
            self._call("DeleteSecret", entry.arn, request, lambda _: None, write=True)
        except SecretNotFound:
            return

    def rehearsals(self) -> tuple[SecretEntry, ...]:
        """List the secrets of rehearsals, by name and tag; up to 5 minutes stale."""
        query = {"Filters": [{"Key": "name", "Values": [REHEARSAL_PREFIX]}]}
        found = {entry.arn: entry for page in self._pages("ListSecrets", "", query, entries_of) for entry in page}
        return tuple(
            entry
            for entry in found.values()
            if entry.name.startswith(REHEARSAL_PREFIX) and REHEARSAL_TAG in entry.tags and entry.deleted_at is None
        )

    def view(self, management: SecretEntry, arn: str, name: str, tags: Mapping[str, str]) -> SecretStore:
        """Return the store that the rehearsed engine sees."""
        view = _View(self._client, self._redactor)
        view.management, view.arn, view.name, view.tags = management, arn, name, tags
        return view


class _View(SecretsManagerStore):
    """Shows the management secret, and a rehearsal's secret as a managed one, with these tags. Changes only that.

    The real secret has no ``rotator:role``, so no sweep takes it for a managed one.
    """

    management: SecretEntry
    arn: str
    name: str
    tags: Mapping[str, str]

    def list_secrets(self, role: str = "") -> Listing:
        """Both secrets; never stale."""
        both = self.management, self.describe(self.arn)
        return Listing(entry for entry in both if role in ("", entry.tags[ROLE_TAG]))

    def describe(self, secret_id: str) -> SecretEntry:
        """Describe one of the two."""
        if secret_id == self.management.arn:
            return self.management
        entry, account = super().describe(secret_id), self.management.tags[ACCOUNT_TAG]
        return replace(entry, tags={ROLE_TAG: "key", ACCOUNT_TAG: account, **self.tags})

    def _call(self, operation: str, secret_id: str, *args: Any, write: bool = False) -> Any:
        if secret_id not in ("", self.arn, self.name) and (write or secret_id != self.management.arn):
            raise SecretNotFound(f"{secret_id} is not this rehearsal's secret")
        return super()._call(operation, secret_id, *args, write=write)


def _checked(name: str) -> str:
    if not name.startswith(REHEARSAL_PREFIX):
        raise Refused(f"{name} is not a rehearsal's secret; nothing was changed")
    return name
