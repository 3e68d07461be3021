"""One attempt to replace a key: its data, its audit fields, and how it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import NoReturn

from rotator.engine.context import AccountContext
from rotator.engine.secret_changes import unlabel
from rotator.errors import ReplacementRejected, RotatorError
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, key_label, parse_retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.ownership import Ownership, OwnershipProof
from rotator.telemetry.consumer_events import REVOKED
from rotator.text import printable

STALE_CREATE = timedelta(minutes=10)
"""A key older than this is checked and probed again before it is promoted; the run that created it must have ended."""


@dataclass(slots=True)
class Attempt:
    """One attempt to replace one secret's key.

    :param entry: the secret as it was read when the attempt began; ``spec`` are its tags, ``life`` its labels.
    :param old: the key to replace, whose rights the replacement gets.
    :param version_id: the version that will contain the replacement.
    :param emergency: it ignores a hold and sets no retire label, because the old key is revoked next.
    :param own: whether this run created the key: then no other process is expected to work on it.
    :param staged: whether the replacement is stored in its version.
    :param asked_at: when this run asked for the key, if it did.
    :param checked_at: when this run last read the key at Infobip, or asked for it.
    :param revoked: whether this run revoked the replacement.
    """

    context: AccountContext
    entry: SecretEntry
    spec: Spec
    life: Lifecycle
    old: Key | None
    version_id: str
    reason: str
    emergency: bool = False
    own: bool = False
    staged: bool = False
    asked_at: datetime | None = None
    checked_at: datetime | None = None
    revoked: bool = False

    def now(self) -> datetime:
        """The time by Infobip's clock."""
        return self.context.now()

    def fields(self, key_id: str | None) -> dict[str, object]:
        """The audit fields of this attempt."""
        return self.entry.version_fields(self.version_id, key_id, self.reason)

    def reject(self, key: Key, why: str, advice: str = "") -> NoReturn:
        """Give up a key that must not be promoted.

        :param why: what is wrong with the key, as a verb phrase.
        :raises ReplacementRejected: always; it says whether the key is revoked.
        """
        self.give_up(key)
        why = f"the new key {key.id} for {self.entry.name} {why}"
        if self.revoked:
            raise ReplacementRejected(f"{why}; it was revoked", advice=advice)
        command = f"rotator revoke --key-id {key.id} --account {quote(printable(self.context.account))} --reason ..."
        raise ReplacementRejected(
            f"{why}; it was NOT revoked", advice=f"The next sweep tries to revoke it. To do it now: `{command}`."
        )

    def give_up(self, key: Key, *, revoke: bool = True, contested: bool = False) -> None:
        """Revoke the new key and remove its labels, unless another process works, or worked, on it.

        The next sweep completes what fails here: an unlabelled key is an orphan, a labelled one is pending.

        :param contested: another process promoted a different version during the rotation, and a third one may be about
            to finish this version. Its labels are removed first, so that it is not promoted with a revoked key.
        """
        key_id = key.id
        try:
            fresh = self.context.services.store.describe(self.entry.arn)
            labels = fresh.versions.get(self.version_id, frozenset())
            labelled = key_label(key_id) in labels
            stored_by_another = labelled and not self.staged
            if _was_promoted(labels) or stored_by_another or not (self.own or self._is_stale(key_id)):
                return
            life = read_lifecycle(fresh)
            if life.unlabelled and life.current_version != self.life.current_version:
                return  # an operator stored a value during the rotation, which may be this key
            if contested and not labelled:
                return
            unstage = self.staged
            if contested and self.context.budget.has_update():
                self.unstage(key_id)
                unstage = False
                if _was_promoted(self._labels_now()):
                    return  # just before its labels were removed; the next sweep adopts its key
            # A key that another process created only loses the labels that it got here.
            ours = self.own or self._proven_by_name(fresh, key_id)
            if revoke and ours and not self.revoke_own(key):
                return
            if unstage:
                self.unstage(key_id)
        except RotatorError:
            return  # `change` has written it to the audit

    def revoke_own(self, key: Key) -> bool:
        """Revoke a key that was created for this secret and never promoted; false if no update is left today."""
        if not self.context.use_update():
            return False
        self.context.revoke(key, self.fields(key.id))
        self.revoked = True
        self.context.publish(REVOKED, secret_arn=self.entry.arn, **self.fields(key.id))
        return True

    def unstage(self, key_id: str) -> None:
        """Remove the labels of a version that will not be promoted."""
        # AWSPENDING first: after an interruption this is a superseded version with a disabled key.
        for label in (PENDING, key_label(key_id)):
            unlabel(self.context, self.entry, label, self.version_id, self.reason)

    def _labels_now(self) -> frozenset[str]:
        return self.context.services.store.describe(self.entry.arn).versions.get(self.version_id, frozenset())

    def _proven_by_name(self, entry: SecretEntry, key_id: str) -> bool:
        ownership = Ownership(self.context.snapshot, self.context.services.policy.deployment)
        return ownership.of(entry, self.version_id, key_id) is OwnershipProof.BY_NAME

    def _is_stale(self, key_id: str) -> bool:
        """Whether the run that created a key must have ended: no rotation takes ten minutes."""
        key = self.context.snapshot.keys.get(key_id)
        made = key.valid_from if key is not None else None
        return made is None or self.now() - made > STALE_CREATE


def _was_promoted(labels: frozenset[str]) -> bool:
    return CURRENT in labels or PREVIOUS in labels or any(parse_retire_label(label) for label in labels)
