"""Rotation: version id first, create, compare, store, probe, promote, retire. Every step can be the last one.

What a crash leaves behind, and who finds it: a key without a version (named for it, so an orphan); a stored version
that is not promoted (pending, resumed by the next sweep); a superseded version without a retire label (labelled by
the next sweep).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.audit import change
from rotator.context import AccountContext
from rotator.core.labels import CURRENT, PENDING, PREVIOUS, key_label, key_name, parse_retire_label, retire_label
from rotator.core.lifecycle import Lifecycle, read_lifecycle
from rotator.core.model import Action, ActionKind, Key, Reason, SecretEntry, Spec
from rotator.core.secret import Secret
from rotator.core.spec import parse_spec
from rotator.core.values import decode, encode_replacement
from rotator.errors import (
    Changed,
    KeyNotFound,
    LostRace,
    OutcomeUnknown,
    PreconditionFailed,
    ProviderError,
    ProviderUnavailable,
    Refused,
    ReplacementRejected,
    RotatorError,
    SecretNotFound,
    StoreError,
)
from rotator.ports import FetchedKey, KeyRequest, ProbeVerdict, StoredValue

PROPAGATION = timedelta(seconds=60)
"""How long a new key may take to authenticate everywhere."""
STALE_CREATE = timedelta(minutes=10)
"""A create older than this is checked and probed again before it is promoted."""
LOOK_UP_WAITS = (0.0, 2.0, 5.0)
"""Seconds before each look for a key whose creation got no answer."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a rotation made."""

    key_id: str
    version_id: str
    expires_at: datetime | None


@dataclass(slots=True)
class Rotation:
    """One secret's rotation, from a fresh look at it to the old version's retire label.

    :param emergency: a hold does not stop it, and no retire label is set (the old key dies at once).
    """

    context: AccountContext
    action: Action
    trigger_reason: str = ""
    emergency: bool = False
    entry: SecretEntry | None = None
    """What was just seen of the secret, where every call counts; promotion compares and swaps in any case."""
    old_value: Secret | None = field(default=None, init=False)
    own: bool = False
    """Whether this very rotation made the key: then nobody else is likely to be at work on it."""

    # ---- entry points -----------------------------------------------------------------------------------------------

    def rotate(self, version_id: str | None = None) -> Promoted:
        """Replace the current key.

        :raises RotatorError: nothing was promoted; what was made is revoked, or found by the next sweep.
        """
        entry, spec, life = self._look()
        old = self._old_key()
        stored = self._current_value(entry, life)
        if stored is not None:
            self.old_value = decode(stored.text, spec.value_field, entry.name).key
        version_id = version_id or self.context.services.new_version_id()
        request = self._request(entry, spec, old, version_id)
        if not self.context.budget.take_create():
            raise Changed(f"today's creations are used up, {entry.name} waits", advice="The next sweep goes on.")
        created_at = self._now()
        try:
            fetched = self._create(entry, request, version_id)
        except OutcomeUnknown as error:
            fetched, version_id, request = self._recover(entry, spec, old, request, version_id, error)
        self.own = True
        self._compare(entry, spec, fetched.key, request, version_id)
        return self._store_and_promote(entry, spec, life, fetched, stored, version_id, created_at)

    def resume(self) -> Promoted:
        """Finish what a killed run began: a stored version that is not promoted, or a key that was not stored.

        :raises RotatorError: it can't be finished; what was made is revoked and its labels go.
        """
        entry, spec, life = self._look()
        key_id, version_id = self.action.key_id, self.action.version_id
        assert key_id is not None
        assert version_id is not None
        if version_id not in entry.versions:
            return self._resume_unstored(entry, spec, life, key_id, version_id)
        if life.pending_version != version_id or life.pending_key != key_id:
            raise Changed(f"{entry.name}: version {version_id} is not pending any more")
        if self._is_older_than_current(entry, life, version_id):
            self._unlabel(entry, PENDING, version_id)
            raise Changed(f"{entry.name} was given another value after version {version_id} was stored, which is retired")
        try:
            fetched = self.context.provider.get_key(key_id)
        except KeyNotFound:
            self._unstage(entry, key_id, version_id)
            raise Changed(f"key {key_id} of the pending version of {entry.name} is gone; its labels were removed") from None
        if not fetched.key.alive(self._now()):
            self._give_up(entry, fetched.key.id, version_id, staged=True, revoke=fetched.key.enabled)
            raise Changed(f"key {key_id} of the pending version of {entry.name} does not live any more; it was given up")
        self._compare(entry, spec, fetched.key, self._request(entry, spec, self._old_key(), version_id), version_id, True)
        stored = self.context.services.store.read_version(entry.arn, version_id)
        value = decode(stored.text, spec.value_field, entry.name).key
        self._probe(entry, spec, fetched.key, value, version_id, staged=True)
        return self._promote_and_retire(entry, spec, life, fetched.key, version_id)

    # ---- steps ------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self.context.services.clock.now()

    def _fields(self, entry: SecretEntry, version_id: str | None, key_id: str | None) -> dict[str, object]:
        return {
            "account": self.context.account,
            "secret": entry.name,
            "version_id": version_id,
            "key_id": key_id,
            "reason": self.trigger_reason or str(self.action.reason),
        }

    def _look(self) -> tuple[SecretEntry, Spec, Lifecycle]:
        """A fresh look: is everything still as the plan saw it?"""
        entry = self.entry or self.context.services.store.describe(self.action.arn or self.action.secret)
        spec = parse_spec(entry.tags)
        if isinstance(spec, tuple):
            raise Refused(f"{entry.name}: {spec[0].tag} {spec[0].detail}", advice=spec[0].mend)
        if spec.account != self.context.account:
            raise Changed(f"{entry.name} belongs to account {spec.account} now")
        if entry.deleted_at is not None:
            raise Changed(f"{entry.name} is scheduled for deletion")
        if spec.hold is not None and not self.emergency:
            raise Refused(f'{entry.name} is on hold: "{spec.hold}"', advice="Remove the tag rotator:hold to go on.")
        life = read_lifecycle(entry)
        if life.problem is not None:
            raise Refused(f"{entry.name}: {life.problem}")
        if life.foreign_pending and not self.emergency:
            raise Changed(f"{entry.name}: another rotation is in progress")
        if self.action.kind is ActionKind.ROTATE:
            expected = (self.action.version_id, self.action.key_id)
            if (life.current_version, life.current_key) != expected:
                raise Changed(f"{entry.name} has another current version than the plan saw")
        elif life.current_version is not None and life.current_key is None:
            raise Changed(f"{entry.name} has a current version that is not adopted yet")
        return entry, spec, life

    def _old_key(self) -> Key | None:
        """The key to be replaced. What a listing says is missing or disabled is asked for once more."""
        key_id = self.action.key_id
        if self.action.kind is ActionKind.RESUME:
            entry = next((e for e in self.context.snapshot.secrets if e.arn == self.action.arn), None)
            key_id = read_lifecycle(entry).current_key if entry else None
        if key_id is None:
            return None
        listed = self.context.snapshot.keys.get(key_id)
        if self.action.reason not in (Reason.KEY_MISSING, Reason.KEY_DISABLED):
            return listed
        try:
            fresh = self.context.provider.get_key(key_id).key
        except KeyNotFound:
            return None
        if fresh.alive(self._now()):
            raise Changed(f"key {key_id} works again")
        return fresh

    def _current_value(self, entry: SecretEntry, life: Lifecycle) -> StoredValue | None:
        if life.current_version is None:
            return None
        stored = self.context.services.store.read_current(entry.arn)
        if stored.version_id != life.current_version:
            raise Changed(f"{entry.name} was given another value meanwhile")
        return stored

    def _request(self, entry: SecretEntry, spec: Spec, old: Key | None, version_id: str) -> KeyRequest:
        """What the replacement shall be: the old key's rights, or the tagged scopes.

        :raises Refused: the scopes are not known, and Infobip would hand out every scope.
        """
        platform = old.platform if old else frozenset()
        scopes = spec.scopes or (old.scopes if old else None) or frozenset()
        if platform:
            scopes = frozenset()
        elif not scopes:
            raise Refused(
                f"{entry.name}: the scopes of the old key are not known, and a key made without scopes gets every scope",
                advice="Tag the secret rotator:scopes.",
            )
        return KeyRequest(
            name=key_name(entry.name, self.context.services.policy.deployment, version_id),
            valid_to=(self._now() + spec.validity).replace(microsecond=0),
            scopes=scopes,
            permissions=frozenset() if platform or old is None else old.permissions or frozenset(),
            allowed_ips=old.allowed_ips if old else frozenset(),
            platform=platform,
            account_id=old.account_id if old else None,
        )

    def _create(self, entry: SecretEntry, request: KeyRequest, version_id: str) -> FetchedKey:
        with change(self.context.services.audit, "key.created", **self._fields(entry, version_id, None)) as out:
            fetched = self.context.provider.create_key(request)
            out["key_id"] = fetched.key.id
        return fetched

    def _recover(
        self, entry: SecretEntry, spec: Spec, old: Key | None, request: KeyRequest, version_id: str, error: OutcomeUnknown
    ) -> tuple[FetchedKey, str, KeyRequest]:
        """After a creation without an answer: look for the name; adopt what can be read, else revoke it and make another.

        Nothing found is no proof (it may arrive late): then the rotation fails and the next sweep decides.
        """
        found: tuple[Key, ...] = ()
        for wait in LOOK_UP_WAITS:
            self.context.services.clock.sleep(wait)
            try:
                found = self.context.provider.find_by_name(request.name)
            except ProviderError:
                raise error from None
            if found:
                break
        if not found:
            raise error
        for key in found:
            fetched = self.context.provider.get_key(key.id)
            if fetched.value is not None:
                fields = self._fields(entry, version_id, key.id)
                self.context.services.audit.emit("key.created", "success", **fields, detail="found by its name")
                return fetched, version_id, request
        for key in found:
            self._revoke_own(entry, key.id, version_id)
        if not self.context.budget.take_create():
            raise error
        version_id = self.context.services.new_version_id()
        request = self._request(entry, spec, old, version_id)
        return self._create(entry, request, version_id), version_id, request

    def _compare(
        self, entry: SecretEntry, spec: Spec, key: Key, request: KeyRequest, version_id: str, staged: bool = False
    ) -> None:
        """Field by field: a replacement that may do more, or less, is never promoted."""
        differences = differing_fields(key, request, compare_end=not staged)
        if not key.enabled:
            differences.append("enabled")
        if not differences:
            return
        what = ", ".join(differences)
        error = f"key {key.id} differs from what was asked in: {what}"
        self.context.services.audit.emit(
            "key.rejected", "failure", **self._fields(entry, version_id, key.id), error=f"ReplacementRejected: {error}"
        )
        self._give_up(entry, key.id, version_id, staged=staged)
        raise ReplacementRejected(
            f"the replacement for {entry.name} was rejected and revoked: {error}",
            advice="Compare the user's own rights and the account's settings at Infobip with the old key.",
        )

    def _store_and_promote(
        self,
        entry: SecretEntry,
        spec: Spec,
        life: Lifecycle,
        fetched: FetchedKey,
        stored: StoredValue | None,
        version_id: str,
        created_at: datetime,
    ) -> Promoted:
        key = fetched.key
        value = fetched.value
        if value is None:
            # An answer without the value: whatever it is, a consumer could not use it.
            value = self.context.provider.get_key(key.id).value
        if value is None:
            self._give_up(entry, key.id, version_id, staged=False)
            raise ReplacementRejected(f"Infobip did not tell the value of the new key {key.id}; it was revoked")
        if stored is None:
            # AWS makes a secret's very first version current by itself: it has to be proven before it is stored.
            self._probe(entry, spec, key, value, version_id, staged=False)
        text = encode_replacement(
            stored.text if stored else None,
            spec.value_field,
            key=value,
            key_id=key.id,
            expires_at=key.valid_to,
            base_url=self.context.provider.base_url,
        )
        self._stage(entry, version_id, key, text)
        if stored is not None:
            self._probe(entry, spec, key, value, version_id, staged=True)
        if self._now() - created_at > STALE_CREATE:
            fresh = self.context.provider.get_key(key.id).key
            if not fresh.alive(self._now()):
                self._give_up(entry, key.id, version_id, staged=True, revoke=fresh.enabled)
                raise Changed(f"the new key {key.id} of {entry.name} was ended meanwhile; it was given up")
            self._probe(entry, spec, key, value, version_id, staged=True)
        return self._promote_and_retire(entry, spec, life, key, version_id)

    def _resume_unstored(
        self, entry: SecretEntry, spec: Spec, life: Lifecycle, key_id: str, version_id: str
    ) -> Promoted:
        fetched = self.context.provider.get_key(key_id)
        if fetched.value is None or not fetched.key.alive(self._now()):
            raise Changed(f"key {key_id}, made for {entry.name}, can't be read any more; it is revoked as an orphan")
        stored = self._current_value(entry, life)
        request = self._request(entry, spec, self._old_key(), version_id)
        if fetched.key.name != request.name:
            raise Changed(f"key {key_id} is not named for {entry.name} any more")
        self._compare_unstored(entry, spec, fetched.key, request, version_id)
        return self._store_and_promote(entry, spec, life, fetched, stored, version_id, self._now())

    def _compare_unstored(self, entry: SecretEntry, spec: Spec, key: Key, request: KeyRequest, version_id: str) -> None:
        if differing_fields(key, request, compare_end=False):
            self._compare(entry, spec, key, request, version_id)

    def _stage(self, entry: SecretEntry, version_id: str, key: Key, text: Secret) -> None:
        store = self.context.services.store
        labels = (PENDING, key_label(key.id))
        try:
            with change(self.context.services.audit, "secret.staged", **self._fields(entry, version_id, key.id)):
                try:
                    store.stage(entry.arn, version_id, text, labels)
                except StoreError as error:
                    if not (error.outcome_unknown or error.retryable) or isinstance(error, PreconditionFailed):
                        raise
                    if key_label(key.id) not in store.describe(entry.arn).versions.get(version_id, frozenset()):
                        # The same token and the same value: storing it twice is storing it once.
                        store.stage(entry.arn, version_id, text, labels)
        except StoreError:
            # Not given up while somebody else may have stored the very same key: `_give_up` looks first.
            self._give_up(entry, key.id, version_id, staged=False)
            raise

    def _probe(self, entry: SecretEntry, spec: Spec, key: Key, value: Secret, version_id: str, *, staged: bool) -> None:
        """Use the key once, with patience for propagation.

        :raises ReplacementRejected: 401 to the end; the key is revoked.
        :raises ProviderUnavailable: no verdict; the version stays pending for the next sweep.
        """
        audit, clock = self.context.services.audit, self.context.services.clock
        fields = self._fields(entry, version_id, key.id)
        if not spec.verify:
            audit.emit("key.verified", "success", **fields, detail="not probed: rotator:verify=skip")
            return
        until, wait = self._now() + PROPAGATION, 1.0
        while True:
            probe = self.context.provider.probe(value, spec.verify_path)
            if probe.verdict is ProbeVerdict.AUTHENTICATES:
                audit.emit("key.verified", "success", **fields, detail=probe.detail)
                return
            left = (until - self._now()).total_seconds()
            if left <= 0:
                break
            clock.sleep(min(wait, left))
            wait = min(wait * 2, 10.0)
        if probe.verdict is ProbeVerdict.INCONCLUSIVE:
            audit.emit("key.verified", "failure", **fields, error=f"ProviderUnavailable: {probe.detail}")
            if not staged:
                self._give_up(entry, key.id, version_id, staged=False)
            raise ProviderUnavailable(
                f"{entry.name}: whether the new key {key.id} works can't be told ({probe.detail} at {spec.verify_path})",
                advice="The old key stays current and the next sweep goes on; check rotator:verify-path if this stays.",
            )
        advice = "Check the verify path and the key's rights."
        if key.allowed_ips:
            advice = "Its allowedIPs may shut the rotator out: tag the secret rotator:verify=skip if that is meant."
        audit.emit("key.rejected", "failure", **fields, error=f"ReplacementRejected: {probe.detail}")
        self._give_up(entry, key.id, version_id, staged=staged)
        raise ReplacementRejected(
            f"the new key {key.id} for {entry.name} does not authenticate ({probe.detail}); it was revoked", advice=advice
        )

    def _promote_and_retire(
        self, entry: SecretEntry, spec: Spec, life: Lifecycle, key: Key, version_id: str
    ) -> Promoted:
        self._promote(entry, life.current_version, version_id, key)
        if life.current_version is not None and life.current_key is not None and not self.emergency:
            try:
                self._retire(entry, spec, life.current_version, life.current_key)
            except RotatorError:
                # The rotation is done. A superseded version without a retire label gets one from the next sweep,
                # which can only make its grace longer.
                pass
        detail = {"secret_arn": entry.arn, "secret": entry.name, "version_id": version_id, "key_id": key.id}
        self.context.tell("API Key Rotated", {**detail, "reason": self.trigger_reason or str(self.action.reason)})
        return Promoted(key.id, version_id, key.valid_to)

    def _promote(self, entry: SecretEntry, from_version: str | None, version_id: str, key: Key) -> None:
        store = self.context.services.store
        labels: frozenset[str] = frozenset()
        try:
            with change(self.context.services.audit, "secret.promoted", **self._fields(entry, version_id, key.id)):
                for last in (False, True):
                    try:
                        store.promote(entry.arn, version_id, from_version)
                        return
                    except StoreError as error:
                        if not (error.outcome_unknown or error.retryable):
                            raise
                        fresh = store.describe(entry.arn)
                        now_current = read_lifecycle(fresh).current_version
                        if now_current == version_id:
                            return
                        if now_current != from_version:
                            labels = fresh.versions.get(version_id, labels)
                            raise LostRace(f"{entry.name} was given another current version meanwhile") from None
                        if last:
                            raise
        except LostRace:
            if key_label(key.id) in labels:
                self._give_up(entry, key.id, version_id, staged=True)
            raise

    def _retire(self, entry: SecretEntry, spec: Spec, version_id: str, key_id: str) -> None:
        revoke_at = self._now() + spec.grace
        retire_version(self.context, entry, version_id, key_id, revoke_at, str(self.action.reason))

    def _is_older_than_current(self, entry: SecretEntry, life: Lifecycle, version_id: str) -> bool:
        if life.current_version is None:
            return False
        dates = self.context.services.store.version_dates(entry.arn)
        current, pending = dates.get(life.current_version), dates.get(version_id)
        return current is not None and pending is not None and current > pending

    # ---- giving up --------------------------------------------------------------------------------------------------

    def _give_up(
        self, entry: SecretEntry, key_id: str, version_id: str, *, staged: bool, revoke: bool = True
    ) -> None:
        """Revoke the new key and take its labels off, unless somebody else is, or was, at work on it.

        What fails here is found again by the next sweep: an unlabelled key is an orphan, a labelled one is pending.
        """
        try:
            fresh = self.context.services.store.describe(entry.arn)
            labels = fresh.versions.get(version_id, frozenset())
            promoted = CURRENT in labels or PREVIOUS in labels or any(parse_retire_label(label) for label in labels)
            stored_by_other = not staged and key_label(key_id) in labels
            if promoted or stored_by_other or not (self.own or self._is_stale(key_id)):
                return
            if revoke and not self._revoke_own(entry, key_id, version_id):
                return
            if staged:
                self._unstage(entry, key_id, version_id)
        except RotatorError:
            return  # said in the audit by `change`

    def _is_stale(self, key_id: str) -> bool:
        """Whether the run that made a key must have ended: ten minutes are more than any rotation takes."""
        key = self.context.snapshot.keys.get(key_id)
        made = key.valid_from if key is not None else None
        return made is None or self._now() - made > STALE_CREATE

    def _revoke_own(self, entry: SecretEntry, key_id: str, version_id: str) -> bool:
        if not self.context.budget.take_update():
            return False
        with change(self.context.services.audit, "key.revoked", **self._fields(entry, version_id, key_id)):
            self.context.provider.revoke_key(key_id, self._now())
        return True

    def _unstage(self, entry: SecretEntry, key_id: str, version_id: str) -> None:
        # AWSPENDING first: what then remains if this is cut off is a superseded version with a dead key.
        self._unlabel(entry, PENDING, version_id)
        self._unlabel(entry, key_label(key_id), version_id)

    def _unlabel(self, entry: SecretEntry, label: str, version_id: str) -> None:
        unlabel(self.context, entry, label, version_id, str(self.action.reason))


def differing_fields(key: Key, request: KeyRequest, *, compare_end: bool = True) -> list[str]:
    """The names of the fields in which a key is not what was asked for."""
    differences = []
    if key.name != request.name:
        differences.append("name")
    if (key.scopes or frozenset()) != request.scopes:
        differences.append("scopeGuids")
    permissions = key.permissions or frozenset()
    if permissions != request.permissions and not (not request.permissions and permissions <= {"PUBLIC_API"}):
        differences.append("permissions")
    if key.allowed_ips != request.allowed_ips:
        differences.append("allowedIPs")
    if key.platform != request.platform:
        differences.append("platform")
    if request.account_id is not None and key.account_id is not None and key.account_id != request.account_id:
        differences.append("accountId")
    if compare_end and (key.valid_to is None or abs(key.valid_to - request.valid_to) > timedelta(seconds=60)):
        differences.append("validTo")
    return differences


def retire_version(
    context: AccountContext, entry: SecretEntry, version_id: str, key_id: str, revoke_at: datetime, reason: str
) -> None:
    """Say on a superseded version when its key is to be revoked."""
    fields = {"account": context.account, "secret": entry.name, "version_id": version_id, "key_id": key_id}
    with change(context.services.audit, "key.retiring", **fields, reason=reason) as out:
        context.services.store.add_label(entry.arn, retire_label(key_id, revoke_at), version_id)
        out["revoke_at"] = revoke_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    context.tell("API Key Retired", {**fields, "secret_arn": entry.arn, "revoke_at": out["revoke_at"]})


def unlabel(context: AccountContext, entry: SecretEntry, label: str, version_id: str, reason: str) -> None:
    """Take a label off, in the audit; one that is gone already is no error."""
    fields = {"account": context.account, "secret": entry.name, "version_id": version_id, "reason": reason}
    with change(context.services.audit, "secret.unlabelled", **fields, label=label):
        try:
            context.services.store.remove_label(entry.arn, label, version_id)
        except SecretNotFound:
            return
