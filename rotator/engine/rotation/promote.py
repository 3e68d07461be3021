"""Bringing a made key to consumers: store, prove, promote by compare-and-swap, retire the old version."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.engine.rotation.give_up import ORPHAN_SOON, REVOKE_IN_FLIGHT, STALE_CREATE, Flow, retire_version
from rotator.errors import (
    Changed,
    LostRace,
    PreconditionFailed,
    ProviderUnavailable,
    ReplacementRejected,
    RotatorError,
    StoreError,
)
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.labels import PENDING, key_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.ports import ProbeVerdict
from rotator.secret import Secret
from rotator.telemetry.audit import change
from rotator.telemetry.consumer_events import ROTATED

PROPAGATION = timedelta(seconds=60)
"""How long a new key may take to authenticate everywhere."""
LASTING = 3
"""How many answers in a row that no waiting fixes (a 404: the verify path is wrong) end the wait: it would be the same
minute for every secret with that path."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a rotation made."""

    key_id: str
    version_id: str
    expires_at: datetime | None


@dataclass(slots=True)
class Promotion:
    """Brings one key under one version id into one secret.

    :param emergency: no retire label is set: the old key is about to be killed.
    """

    flow: Flow
    entry: SecretEntry
    spec: Spec
    life: Lifecycle
    key: Key
    version_id: str
    emergency: bool = False

    def still_lives(self, value: Secret, *, staged: bool = True) -> None:
        """A key that was looked at more than ten minutes ago is checked and probed once more.

        :raises Changed: somebody ended it meanwhile; it was given up.
        """
        if self.flow.looked is None or self.flow.now() - self.flow.looked <= STALE_CREATE:
            return
        self._check_alive(staged=staged)
        self.probe(value, staged=staged)

    def outlast(self) -> None:
        """Let those act who looked before the version was stored and take its key, which is that old, for an orphan.

        :raises Changed: they ended it; it was given up.
        """
        made = self.flow.begun or self.key.valid_from
        if made is None or self.flow.now() - made < ORPHAN_SOON:
            return
        self.flow.context.services.clock.sleep(REVOKE_IN_FLIGHT.total_seconds())
        self._check_alive(staged=True)

    def _check_alive(self, *, staged: bool) -> None:
        self.flow.looked = self.flow.now()
        fresh = self.flow.context.provider.get_key(self.key.id).key
        if not fresh.alive(self.flow.now()):
            self.flow.give_up(self.entry, self.key.id, self.version_id, staged=staged, revoke=fresh.enabled)
            raise Changed(f"the new key {self.key.id} of {self.entry.name} was ended meanwhile; it was given up")

    def stage(self, text: Secret) -> None:
        """Store the value under its version id, ``AWSPENDING`` and the key's label in one call.

        :raises StoreError: it is not stored, and the key was given up.
        """
        store = self.flow.context.services.store
        labels = (PENDING, key_label(self.key.id))
        try:
            with change(
                self.flow.context.services.audit,
                "secret.staged",
                **self.flow.fields(self.entry, self.version_id, self.key.id),
            ):
                try:
                    store.stage(self.entry.arn, self.version_id, text, labels)
                except StoreError as error:
                    if not (error.outcome_unknown or error.retryable) or isinstance(error, PreconditionFailed):
                        raise
                    if key_label(self.key.id) not in store.describe(self.entry.arn).versions.get(
                        self.version_id, frozenset()
                    ):
                        # The same token and the same value: storing it twice is storing it once.
                        store.stage(self.entry.arn, self.version_id, text, labels)
        except RotatorError:
            # Not given up while somebody else may have stored the very same key: `give_up` looks first.
            self.flow.give_up(self.entry, self.key.id, self.version_id, staged=False)
            raise

    def probe(self, value: Secret, *, staged: bool) -> None:
        """Use the key once, with patience for propagation.

        :raises ReplacementRejected: 401 to the end; the key is revoked.
        :raises ProviderUnavailable: no verdict; the version stays pending for the next sweep.
        """
        audit, clock = self.flow.context.services.audit, self.flow.context.services.clock
        fields = self.flow.fields(self.entry, self.version_id, self.key.id)
        if not self.spec.verify:
            self._let_propagate()
            audit.emit("key.verified", "success", **fields, detail="not probed: rotator:verify=skip")
            return
        until, wait, lasting = self.flow.now() + PROPAGATION, 1.0, 0
        while True:
            probe = self.flow.context.provider.probe(value, self.spec.verify_path)
            if probe.verdict is ProbeVerdict.AUTHENTICATES:
                audit.emit("key.verified", "success", **fields, detail=probe.detail)
                return
            lasting = lasting + 1 if probe.lasting else 0
            left = (until - self.flow.now()).total_seconds()
            if left <= 0 or lasting >= LASTING:
                break
            clock.sleep(min(wait, left))
            wait = min(wait * 2, 10.0)
        if probe.verdict is ProbeVerdict.INCONCLUSIVE:
            audit.emit("key.verified", "failure", **fields, error=f"ProviderUnavailable: {probe.detail}")
            if not staged:
                self.flow.give_up(self.entry, self.key.id, self.version_id, staged=False)
            raise ProviderUnavailable(
                f"{self.entry.name}: whether the new key {self.key.id} works can't be told: {probe.detail} at "
                f"{self.spec.verify_path}",
                advice="The old key stays current and the next sweep goes on; check rotator:verify-path if this stays.",
            )
        advice = "Check the verify path and the key's rights."
        if self.key.allowed_ips:
            advice = "Its allowedIPs may shut the rotator out: tag the secret rotator:verify=skip if that is meant."
        audit.emit("key.rejected", "failure", **fields, error=f"ReplacementRejected: {probe.detail}")
        self.flow.give_up(self.entry, self.key.id, self.version_id, staged=staged)
        raise ReplacementRejected(
            f"the new key {self.key.id} for {self.entry.name} does not authenticate ({probe.detail}); it was revoked",
            advice=advice,
        )

    def _let_propagate(self) -> None:
        """Nothing will tell when a key that can't be probed works everywhere: it is given the time that it may take."""
        since = self.flow.begun or self.key.valid_from
        if since is not None:
            self.flow.context.services.clock.sleep((since + PROPAGATION - self.flow.now()).total_seconds())

    def finish(self) -> Promoted:
        """Promote, tell consumers, retire the old version.

        :raises RotatorError: not promoted; the version stays pending for the next sweep, or was given up.
        """
        self._promote()
        # Before the retire label: where this is cut off, the sweep that finds no such label tells it once more.
        told = {"secret_arn": self.entry.arn, **self.flow.fields(self.entry, self.version_id, self.key.id)}
        self.flow.context.publish(ROTATED, told)
        if self.life.current_version is not None and self.life.current_key is not None and not self.emergency:
            # The rotation is done. A superseded version without a retire label gets one from the next sweep, which can
            # only make its grace longer.
            with contextlib.suppress(RotatorError):
                # A sweep finishes an emergency that was killed: there is no grace in those.
                hurry = made_in_emergency(self.entry.arn, self.version_id)
                revoke_at = self.flow.context.revoke_at(timedelta(0) if hurry else self.spec.grace)
                retire_version(
                    self.flow.context,
                    self.entry,
                    self.life.current_version,
                    self.life.current_key,
                    revoke_at,
                    self.flow.reason,
                )
        return Promoted(self.key.id, self.version_id, self.key.valid_to)

    def _promote(self) -> None:
        store = self.flow.context.services.store
        labels: frozenset[str] = frozenset()
        try:
            with change(
                self.flow.context.services.audit,
                "secret.promoted",
                **self.flow.fields(self.entry, self.version_id, self.key.id),
            ):
                for last in (False, True):
                    try:
                        store.promote(self.entry.arn, self.version_id, self.life.current_version)
                        return
                    except StoreError as error:
                        if not (error.outcome_unknown or error.retryable):
                            raise
                        fresh = store.describe(self.entry.arn)
                        now_current = read_lifecycle(fresh).current_version
                        if now_current == self.version_id:
                            return
                        if now_current != self.life.current_version:
                            labels = fresh.versions.get(self.version_id, labels)
                            raise LostRace(f"{self.entry.name} was given another current version meanwhile") from None
                        if last:
                            raise
        except LostRace:
            if key_label(self.key.id) in labels:
                self.flow.give_up(self.entry, self.key.id, self.version_id, staged=True, contested=True)
            raise
