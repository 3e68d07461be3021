"""Create, find and delete the secrets of rehearsals; nothing else in the program may do that.

Their names begin with :data:`~rotator.ports.REHEARSAL_PREFIX`; the IAM policy ``docs/iam/rehearsal.json`` is limited
to such names.
"""

from __future__ import annotations

from collections.abc import Mapping

from rotator.aws.secretsmanager import SecretsManagerStore, entries_of
from rotator.errors import Refused, SecretNotFound
from rotator.model import SecretEntry
from rotator.ports import REHEARSAL_PREFIX, REHEARSAL_TAG


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


def _checked(name: str) -> str:
    if not name.startswith(REHEARSAL_PREFIX):
        raise Refused(f"{name} is not a rehearsal's secret; nothing was changed")
    return name
