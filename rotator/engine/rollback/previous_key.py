"""What must hold before a secret is rolled back: it may be touched at all, and the previous key works."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import datetime

from rotator.engine.context import AccountContext
from rotator.engine.evidence import ownership_proof
from rotator.errors import BadSecretValue, KeyNotFound, ProviderUnavailable, Refused, StoreError
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.lifecycle import Retiring
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rollback_target import check_usable
from rotator.policy.rules import SKIP_WHEN, View, first
from rotator.policy.tags import RESERVED_FIELDS
from rotator.policy.values import changed_fields, decode
from rotator.ports import ProbeVerdict
from rotator.secret import Secret
from rotator.text import printable


def refuse_if_skipped(view: View, now: datetime) -> Spec:
    """The secret's spec, where nothing stands against a rollback.

    :raises Refused: something does: it is held, misconfigured, being rotated, not adopted, or not ours to change.
    """
    name, life = printable(view.entry.name), view.life
    if life.current_version is None:
        raise Refused(f"{name} has no value, so there is nothing to roll back")
    if view.spec is not None and view.spec.hold is not None:
        raise Refused(
            f'{name} is on hold: "{printable(view.spec.hold)}"',
            advice="Remove the tag rotator:hold, roll back, and put it on again to keep the key that is then current.",
        )
    if life.problem is None and life.current_key is None:
        raise Refused(
            f"nobody knows yet which key {name} holds now, so it can't be retired",
            advice=f"Take it under management first: `rotator adopt {name}`.",
        )
    left = first(SKIP_WHEN, view, now)
    if left is not None:
        raise Refused(f"{name} is not rolled back: {left.reason}: {left.detail}")
    if life.pending_version is not None:
        raise Refused(
            f"a rotation of {name} is not finished: key {life.pending_key} is stored and not promoted",
            advice=f"Finish it with `rotator run --secret {name}`, then roll back.",
        )
    assert view.spec is not None  # misconfigured ones are skipped
    return view.spec


@dataclass(slots=True)
class Previous:
    """That one key in grace works: by Infobip's word, and by using it once.

    :param item: the superseded version to go back to.
    :param audit_reason: the operator's own words.
    :param key: as Infobip showed it last.
    :param verified_at: when that was.
    :param changed: the names of fields, beside the key's own, in which its value differs from the current one.
    """

    context: AccountContext
    entry: SecretEntry
    spec: Spec
    item: Retiring
    audit_reason: str
    key: Key = field(init=False)
    verified_at: datetime = field(init=False)
    changed: tuple[str, ...] = field(default=(), init=False)

    def value(self) -> Secret:
        """The previous version's key, which is what its label says.

        :raises RotatorError: it can't be read, or is another key.
        """
        stored = self.context.services.store.read_version(self.entry.arn, self.item.version_id)
        value = decode(stored.text, self.spec.value_field, self.entry.name).key
        self._compare(stored.text)
        proof = ownership_proof(self.context, self.entry, self.item.version_id, self.item.key_id)
        if proof is OwnershipProof.NONE and self.item.key_id in self.context.snapshot.keys:
            held = self.context.snapshot.held[(self.entry.arn, self.item.version_id)].key_id
            raise self._mislabelled(f"holds key {held}" if held else "holds another value")
        return value

    def _compare(self, text: Secret) -> None:
        """Which other fields go back with the key. Only to be said: what can't be compared stands in no one's way."""
        with contextlib.suppress(BadSecretValue, StoreError):
            current = self.context.services.store.read_current(self.entry.arn).text
            own = {self.spec.value_field, *RESERVED_FIELDS}
            self.changed = tuple(name for name in changed_fields(text, current) if name not in own)

    def verify(self, value: Secret) -> None:
        """The key is enabled, lives long enough, and authenticates.

        :raises RotatorError: it does not, or that can't be told.
        """
        name, key_id, provider = printable(self.entry.name), self.item.key_id, self.context.provider
        now = self.context.services.clock.now()
        try:
            fetched = provider.get_key(key_id)
        except KeyNotFound:
            fetched = None
        key = check_usable(self.entry, self.item, fetched.key if fetched else None, now)
        if fetched is not None and fetched.value is not None and fetched.value != value:
            raise self._mislabelled("holds another value")
        self.key, self.verified_at = key, now
        audit, fields = self.context.services.audit, self.fields()
        if not self.spec.verify:
            audit.emit("key.verified", "success", **fields, detail="not probed: rotator:verify=skip")
            return
        probe = provider.probe(value, self.spec.verify_path)
        if probe.verdict is ProbeVerdict.AUTHENTICATES:
            audit.emit("key.verified", "success", **fields, detail=probe.detail)
            return
        audit.emit("key.verified", "failure", **fields, error=probe.detail)
        if probe.verdict is ProbeVerdict.REJECTED:
            raise Refused(
                f"{name} is not rolled back: its previous key {key_id} does not authenticate ({probe.detail})",
                advice="If its allowedIPs shut this machine out, tag the secret rotator:verify=skip.",
            )
        raise ProviderUnavailable(
            f"{name} is not rolled back: whether its previous key {key_id} works can't be told ({probe.detail})",
            advice="Repeat the command; check rotator:verify-path if this stays.",
        )

    def fields(self) -> dict[str, object]:
        """The audit fields of this rollback."""
        return {
            "account": self.context.account,
            "secret": self.entry.name,
            "version_id": self.item.version_id,
            "key_id": self.item.key_id,
            "reason": self.audit_reason,
        }

    def _mislabelled(self, what: str) -> Refused:
        return Refused(
            f"version {self.item.version_id} of {printable(self.entry.name)} is labelled with key {self.item.key_id} "
            f"and {what}",
            advice="Look at it with `aws secretsmanager describe-secret` and take the wrong label off.",
        )
