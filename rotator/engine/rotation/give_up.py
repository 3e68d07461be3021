"""What every step of a rotation shares: where it works, how it is audited, and how it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.engine.context import AccountContext
from rotator.errors import Refused, RotatorError, SecretNotFound
from rotator.model import Action, SecretEntry
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, key_label, parse_retire_label, retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.ownership import Ownership, OwnershipProof
from rotator.telemetry.audit import change
from rotator.telemetry.consumer_events import RETIRED, REVOKED

STALE_CREATE = timedelta(minutes=10)
"""A create older than this is checked and probed again before it is promoted; its maker must have ended."""

ORPHAN_SOON = timedelta(minutes=25)
"""Before a key is this old nobody takes it for an orphan (they do at 30 minutes), even with clocks that differ."""
REVOKE_IN_FLIGHT = timedelta(seconds=90)
"""How long after a version was stored its key may still be ended by somebody who looked before (a minute at most)."""


@dataclass(slots=True)
class Flow:
    """One rotation under way.

    :param audit_reason: an operator's own words, which stand in the audit as the reason.
    :param own: whether this very run made the key: then nobody else is likely to be at work on it.
    :param begun: when the key was asked for, where this run did.
    :param looked: when this run last asked Infobip what the key is, or asked for it.
    """

    context: AccountContext
    action: Action
    audit_reason: str = ""
    own: bool = False
    begun: datetime | None = None
    looked: datetime | None = None

    def now(self) -> datetime:
        """The time."""
        return self.context.now()

    @property
    def reason(self) -> str:
        """What the audit says."""
        return self.audit_reason or str(self.action.reason)

    def fields(self, entry: SecretEntry, version_id: str | None, key_id: str | None) -> dict[str, object]:
        """The audit fields of this rotation."""
        return {
            "account": self.context.account,
            "secret": entry.name,
            "version_id": version_id,
            "key_id": key_id,
            "reason": self.reason,
        }

    def give_up(
        self,
        entry: SecretEntry,
        key_id: str,
        version_id: str,
        *,
        staged: bool,
        revoke: bool = True,
        contested: bool = False,
    ) -> None:
        """Revoke the new key and take its labels off, unless somebody else is, or was, at work on it.

        What fails here is found again by the next sweep: an unlabelled key is an orphan, a labelled one is pending.

        :param contested: somebody else promoted meanwhile, so a third one may be about to finish this very version:
            its labels go first, and with them the version, so that nobody promotes it once its key is dead.
        """
        try:
            fresh = self.context.services.store.describe(entry.arn)
            labels = fresh.versions.get(version_id, frozenset())
            promoted = _was_promoted(labels)
            stored_by_other = not staged and key_label(key_id) in labels
            if promoted or stored_by_other or not (self.own or self._is_stale(key_id)):
                return
            life = read_lifecycle(fresh)
            if life.unlabelled and self._is_new(entry, life):
                return  # a value stored by hand meanwhile: nobody has looked yet whether it is this very key
            if contested and staged and self.context.budget.has_update():
                self.unstage(entry, key_id, version_id)
                staged = False
                if _was_promoted(self.context.services.store.describe(entry.arn).versions.get(version_id, frozenset())):
                    return  # a moment before its labels went: the next sweep finds out which key it is
            if not (self.own or self._is_ours(fresh, version_id, key_id)):
                revoke = False  # somebody else made it: it only loses the labels that it got here
            if revoke and not self.revoke_own(entry, key_id, version_id):
                return
            if staged:
                self.unstage(entry, key_id, version_id)
        except RotatorError:
            return  # said in the audit by `change`

    def _is_ours(self, entry: SecretEntry, version_id: str, key_id: str) -> bool:
        """Whether a rotation of this very version made the key: its name says so."""
        ownership = Ownership(self.context.snapshot, self.context.services.policy.deployment)
        return ownership.proof(entry, version_id, key_id) is OwnershipProof.BY_NAME

    def _is_new(self, entry: SecretEntry, life: Lifecycle) -> bool:
        """Whether the current version is another one than this rotation began with."""
        return life.current_version != read_lifecycle(entry).current_version

    def _is_stale(self, key_id: str) -> bool:
        """Whether the run that made a key must have ended: ten minutes are more than any rotation takes."""
        key = self.context.snapshot.keys.get(key_id)
        made = key.valid_from if key is not None else None
        return made is None or self.now() - made > STALE_CREATE

    def revoke_own(self, entry: SecretEntry, key_id: str, version_id: str) -> bool:
        """Revoke a key that was made for this secret and never promoted; false where today's updates are used up."""
        if not self.context.use_update():
            return False
        with change(self.context.services.audit, "key.revoked", **self.fields(entry, version_id, key_id)):
            self.context.provider.revoke_key(key_id, self.now())
        self.context.publish(REVOKED, {"secret_arn": entry.arn, **self.fields(entry, version_id, key_id)})
        return True

    def unstage(self, entry: SecretEntry, key_id: str, version_id: str) -> None:
        """Take the labels of a version off that will not be promoted."""
        # AWSPENDING first: what then remains if this is cut off is a superseded version with a dead key.
        self.unlabel(entry, PENDING, version_id)
        self.unlabel(entry, key_label(key_id), version_id)

    def unlabel(self, entry: SecretEntry, label: str, version_id: str) -> None:
        """Take one label off."""
        unlabel(self.context, entry, label, version_id, self.reason)


def _was_promoted(labels: frozenset[str]) -> bool:
    return CURRENT in labels or PREVIOUS in labels or any(parse_retire_label(label) for label in labels)


def retire_version(
    context: AccountContext, entry: SecretEntry, version_id: str, key_id: str, revoke_at: datetime, reason: str
) -> None:
    """Say on a superseded version when its key is to be revoked.

    :raises Refused: another deployment or another secret's rotation made the key, so a sweep never revokes it.
    """
    key = context.snapshot.keys.get(key_id)
    if key is not None and Ownership(context.snapshot, context.services.policy.deployment).is_foreign(entry, key):
        raise Refused(f"key {key_id} of {entry.name} is named for another secret or deployment; it is not retired")
    fields = {"account": context.account, "secret": entry.name, "version_id": version_id, "key_id": key_id}
    with change(context.services.audit, "key.retiring", **fields, reason=reason) as out:
        context.services.store.add_label(entry.arn, retire_label(key_id, revoke_at), version_id)
        out["revoke_at"] = revoke_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {**fields, "secret_arn": entry.arn, "reason": reason, "revoke_at": out["revoke_at"]}
    context.publish(RETIRED, told)


def release_pending(context: AccountContext, entry: SecretEntry, version_id: str | None, reason: str) -> None:
    """Take ``AWSPENDING`` off a version that is about to lose its key's label, unless it is current.

    Without that label it would be another function's rotation in progress, and the secret be skipped for ever.
    """
    labels = entry.versions.get(version_id or "", frozenset())
    if version_id is not None and PENDING in labels and CURRENT not in labels:
        unlabel(context, entry, PENDING, version_id, reason)


def unlabel(context: AccountContext, entry: SecretEntry, label: str, version_id: str, reason: str) -> None:
    """Take a label off, in the audit; one that is gone already is no error."""
    fields = {"account": context.account, "secret": entry.name, "version_id": version_id, "reason": reason}
    with change(context.services.audit, "secret.unlabelled", **fields, label=label):
        try:
            context.services.store.remove_label(entry.arn, label, version_id)
        except SecretNotFound:
            return
