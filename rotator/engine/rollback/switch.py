"""Moving ``AWSCURRENT`` back. In this order, so that a kill at any call leaves what the next sweep puts right:

1. the previous key is proven to work; nothing was changed before;
2. its retire labels go (a key in ``AWSCURRENT`` must never carry one). Cut off here, it is a superseded version
   without a label, and the next sweep gives it a whole new grace;
3. where its grace was nearly over, those who may be about to revoke it are outlasted, and it is proven once more;
4. the secret is looked at again, and ``AWSCURRENT`` moves by compare-and-swap;
5. the newer version gets its retire label. Cut off before, the next sweep does it, with the full grace.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import human_duration
from rotator.engine.revoke import MAX_CHECK_AGE
from rotator.engine.rollback.previous_key import Previous, refuse_if_skipped
from rotator.engine.rotation.promote import REVOKE_IN_FLIGHT
from rotator.engine.secret_changes import move_current, require_managed, retire_version, unlabel
from rotator.errors import Changed, Refused, RotatorError
from rotator.model import SecretEntry
from rotator.policy.guards import MAX_SKEW
from rotator.policy.labels import PENDING, parse_retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.planner import make_view
from rotator.telemetry.audit import change
from rotator.telemetry.consumer_events import ROTATED
from rotator.text import printable

NEARLY_OVER: Final = 2 * MAX_SKEW
"""A grace that ends within this may be over by another machine's clock, and its key be about to be revoked there."""
_REPEAT: Final = "Look at it with `rotator status`, and repeat the command if it is still wanted."


@dataclass(slots=True)
class Switch:
    """One secret's way back.

    :param life: the secret's labels when it was looked at first.
    """

    proof: Previous
    life: Lifecycle

    def carry_out(self) -> datetime | None:
        """Go back; gives when the newer key is to be revoked, or ``None`` where the next sweep has to say so.

        :raises RotatorError: consumers get the same key as before; at most the previous key's grace begins anew.
        """
        proof, clock = self.proof, self.proof.context.services.clock
        left = proof.item.revoke_at - clock.now()
        if left <= timedelta(0):
            name = printable(proof.entry.name)
            raise Refused(
                f"{name} can't go back to key {proof.item.key_id}: its grace ended {human_duration(-left)} ago, and a "
                "sweep may be revoking it at this moment",
                advice=f"Make a new key instead: `rotator rotate {name}`.",
            )
        hurried = left < NEARLY_OVER
        value = proof.value()
        proof.verify(value)
        self._take_pending()
        self._take_retire_labels(proof.entry)
        if hurried:
            clock.sleep(REVOKE_IN_FLIGHT.total_seconds())
        if hurried or clock.now() - proof.verified_at > MAX_CHECK_AGE:
            proof.verify(value)
        fresh = self._look_again()
        self._promote()
        return self._afterwards(fresh)

    def _take_pending(self) -> None:
        """No version is left pending: not the newer one, which an emulator of AWS could show as never promoted.

        Before the retire labels: a version with ``AWSPENDING`` and without such a label could be taken for a new one.
        """
        entry = self.proof.entry
        for version in (self.proof.item.version_id, self.life.current_version):
            if version is not None and PENDING in entry.versions.get(version, ()):
                self._unlabel(PENDING, version)

    def _take_retire_labels(self, entry: SecretEntry) -> None:
        for version, labels in sorted(entry.versions.items()):
            for label in sorted(labels):
                parsed = parse_retire_label(label)
                if parsed is not None and parsed[0] == self.proof.item.key_id:
                    self._unlabel(label, version)

    def _look_again(self) -> SecretEntry:
        """The secret, right before it changes.

        :raises RotatorError: it is not as it was.
        """
        context, item = self.proof.context, self.proof.item
        fresh = context.services.store.describe(self.proof.entry.arn)
        require_managed(fresh, context.account)
        life, name = read_lifecycle(fresh), printable(self.proof.entry.name)
        if (life.current_version, life.current_key) != (self.life.current_version, self.life.current_key):
            raise Changed(f"{name} was given another current version meanwhile", advice=_REPEAT)
        if life.holders.get(item.key_id) != item.version_id:
            raise Changed(f"the label of key {item.key_id} in {name} went meanwhile", advice=_REPEAT)
        refuse_if_skipped(make_view(context.snapshot, fresh), context.services.clock.now())
        return fresh

    def _promote(self) -> None:
        """Move ``AWSCURRENT``.

        :raises RotatorError: consumers get what they got before (or, after a lost answer, perhaps the previous key).
        """
        store, item = self.proof.context.services.store, self.proof.item
        audit, before = self.proof.context.services.audit, self.life.current_version
        with change(audit, "secret.rolled_back", **self.proof.fields(), from_key_id=self.life.current_key):
            move_current(store, self.proof.entry, item.version_id, before, advice=_REPEAT)

    def _afterwards(self, fresh: SecretEntry) -> datetime | None:
        """Tell consumers, retire the newer version. The rollback is done: what fails here is left to the next sweep."""
        proof, version, key_id = self.proof, self.life.current_version, self.life.current_key
        assert version is not None
        assert key_id is not None
        until = proof.context.now() + proof.spec.grace
        if until.microsecond:
            until = until.replace(microsecond=0) + timedelta(seconds=1)  # as the label says it, which holds no parts
        retired: datetime | None = until
        # Before the retire label: cut off here, the next sweep tells it once more.
        proof.context.publish(ROTATED, {"secret_arn": proof.entry.arn, **proof.fields(), "rolled_back_from": key_id})
        try:
            retire_version(proof.context, proof.entry, version, key_id, until, proof.audit_reason)
        except RotatorError:
            retired = None
        with contextlib.suppress(RotatorError):  # a stale label, which every sweep takes off
            self._take_retire_labels(fresh)  # what a sweep put on between the two looks
        return retired

    def _unlabel(self, label: str, version: str) -> None:
        unlabel(self.proof.context, self.proof.entry, label, version, self.proof.audit_reason)
