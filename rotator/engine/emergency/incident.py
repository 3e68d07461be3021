"""The replacements of one incident, which the version ids show: so a command can be repeated, and nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.emergency.facts import Facts
from rotator.engine.emergency.targets import KeyRole, Suspect
from rotator.errors import Refused, StoreError
from rotator.model import SecretEntry
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.emergency_ids import emergency_version_id, is_retry, made_for_incident, made_in_emergency
from rotator.policy.labels import CURRENT, PREVIOUS, parse_retire_label
from rotator.policy.tags import account_of
from rotator.reasons import Reason
from rotator.text import printable

RECENT: Final = timedelta(minutes=10)
"""For this long after an emergency created a key, a command without an incident number is treated as a retry."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The replacement that an earlier run promoted, if a command is a retry.

    :param version: the version that contains its key.
    :param created: when that key was created.
    """

    version: str
    created: datetime
    note: str


@dataclass
class Incident:
    """The versions that this run creates for an incident, and the one that a run created that it repeats.

    :param number: the incident number, if there is one.
    :param chosen: whether a person chose it. If not, a command that follows another within minutes is treated as a
        retry.
    """

    facts: Facts
    number: str | None = None
    chosen: bool = False
    _made: set[str] = field(default_factory=set)

    def new_version_id(self, arn: str, seed: str) -> str:
        """Choose the version id of a replacement."""
        version_id = emergency_version_id(arn, self.number, seed)
        self._made.add(version_id)
        return version_id

    def resume(self, repeated: Repeated) -> None:
        """Count the replacement of an earlier run as this run's."""
        self._made.add(repeated.version)

    def made_keys(self, entry: SecretEntry) -> set[str]:
        """The keys that this run, or one that it repeats, created. Their versions also contain other fields' keys."""
        made = [each for each in entry.versions if each in self._made or self._made_for(entry, each)]
        return set().union(*(self._own(entry, each) for each in made))

    def repeated(self, entry: SecretEntry, keys: Sequence[Suspect], now: datetime) -> Repeated | None:
        """The replacement that an earlier run for this incident promoted, if this is a retry.

        Without an incident number: the current version, if an emergency created it within the last minutes.

        :param keys: every key of the secret.
        :raises Refused: the replacement is too old for a retry: a reused number must not spare the current key.
        """
        mine = [
            version
            for version, labels in sorted(entry.versions.items())
            if self._made_for(entry, version)
            # An interrupted run stored the others and never promoted them.
            and (labels & {CURRENT, PREVIOUS} or any(map(parse_retire_label, labels)))
        ]
        made = [(created, version) for version in mine if (created := self._created(entry, version)) is not None]
        if made:
            created, version = min(made)
            if not is_retry(created, now):
                raise self._too_old(entry, keys, created)
            note = f"{entry.title} already got a new key for incident {self.number}; only older keys are revoked"
        else:
            recent = None if self.chosen else self._recent(entry, keys, now)
            if recent is None:
                return None
            created, version = recent
            note = (
                f"{entry.title} got a new key in an emergency within the last {RECENT.seconds // 60} minutes; only "
                "older keys are revoked; if the new key leaked too, specify it by its id, or use --incident"
            )
        return Repeated(version, created, note)

    def _recent(self, entry: SecretEntry, keys: Sequence[Suspect], now: datetime) -> tuple[datetime, str] | None:
        """The version with the current key and that key's creation, if an emergency created it minutes ago."""
        # Another process may have changed another field since: then the new key is in both versions.
        own = {suspect.key.id for suspect in keys if suspect.role == KeyRole.CURRENT}
        emergencies = [version for version in sorted(entry.versions) if made_in_emergency(entry.arn, version)]
        version = next((each for each in emergencies if self._own(entry, each) & own), None)
        changed = entry.last_changed
        if version is None or (changed and self.facts.accounts.services.clock.now() - changed > RECENT + MAX_SKEW):
            return None
        created = self._created(entry, version)
        return (created, version) if created is not None and now - created <= RECENT else None

    def _too_old(self, entry: SecretEntry, keys: Sequence[Suspect], created: datetime) -> Refused:
        current = next((suspect for suspect in keys if suspect.role == KeyRole.CURRENT), None)
        account = printable(current.account if current else account_of(entry.tags) or "ACCOUNT", 60)
        return Refused(
            f"{entry.title} already got a new key for incident {printable(self.number or '', 60)} at "
            f"{created:%Y-%m-%d %H:%M} UTC; the same incident counts as a retry for 24 hours only",
            advice="Nothing was changed. Use a different incident number, or specify the key: "
            f"`--key-id {current.key.id if current is not None else 'ID'} --account {account}`.",
            reason=Reason.EMERGENCY,
        )

    def _made_for(self, entry: SecretEntry, version: str) -> bool:
        """Whether a run for this incident created a version."""
        return made_for_incident(entry.arn, self.number, version)

    def _own(self, entry: SecretEntry, version: str) -> set[str]:
        """The keys in the tagged field of a version."""
        found = self.facts.version_keys(entry, version).keys
        return {suspect.key.id for suspect in found if suspect.role != KeyRole.OTHER_FIELD}

    def _created(self, entry: SecretEntry, version: str) -> datetime | None:
        """When a version's key was created by Infobip's clock, else when AWS stored the version."""
        for suspect in self.facts.version_keys(entry, version).keys:
            if suspect.role != KeyRole.OTHER_FIELD and suspect.key.valid_from is not None:
                return suspect.key.valid_from
        with suppress(StoreError):
            return self.facts.accounts.services.store.version_dates(entry.arn).get(version)
        return None
