"""Revokes keys one after another, verifies each revocation, and leaves failures to the next sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, NamedTuple

from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.targets import Revocation, Role, Step, StepKind, spec_of
from rotator.engine.revoke import revoke_key
from rotator.engine.secret_changes import remove_retire_labels, retire_version
from rotator.errors import InternalError, KeyNotFound, RotatorError
from rotator.model import Key
from rotator.policy.labels import retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.ports import FetchedKey, Probe, ProbeVerdict
from rotator.secret import Secret
from rotator.telemetry.consumer_events import REVOKED as REVOKED_EVENT

VERIFY_TIMEOUT: Final = timedelta(seconds=60)
"""How long a revocation may take to show everywhere."""
LONGEST_WAIT: Final = 8.0
MOST_INCONCLUSIVE: Final = 3


class KeyState(Enum):
    """The state of a key that was to be revoked."""

    REVOKED = auto()
    """Infobip confirmed it; in a dry run, it would be."""
    NOT_FOUND = auto()
    """Infobip does not find it. A 404 may come from anything on the way, so its labels stay."""
    UNPROVEN = auto()
    """Only a label connects it with the secret: it stays."""
    UNREADABLE = auto()
    """Unproven, because the value that may prove it could not be read."""
    FAILED = auto()
    """It may still be enabled."""


class Tried(NamedTuple):
    """One key's state; ``item`` is the revocation as it was tried first."""

    item: Revocation
    state: KeyState
    why: str = ""


@dataclass
class Revoker:
    """Revokes keys; one that can't be revoked never keeps another one enabled."""

    incident: Incident
    tried: dict[str, Tried] = field(default_factory=dict)

    def having(self, *states: KeyState) -> set[str]:
        """The keys that have one of these states."""
        return {key_id for key_id, tried in self.tried.items() if tried.state in states}

    def revoke_all(self, items: Iterable[Revocation], *, again: bool = False) -> None:
        """Revoke each key that was not tried before.

        :param again: also those that could not be revoked, found or proven before.
        """
        for item in items:
            before = self.tried.get(item.key_id)
            if before is None or (again and before.state is not KeyState.REVOKED):
                first = item if before is None else before.item
                state, why = self._revoke(item)
                self.tried[item.key_id] = Tried(first, state, why)
                if state is KeyState.REVOKED:
                    self.incident.step(StepKind.REVOKED, item.secret, item.key_id, why, revocation=first)

    def missing_ownership_proof(self, item: Revocation) -> OwnershipProof | None:
        """Why a key may not be revoked; ``None`` if it is proven to belong to its version, or needs no proof."""
        named = item.key_id == self.incident.plan.named or item.role == Role.ORPHAN
        if named or item.version_id in self.incident.made:
            return None
        ownership = self.incident.ownership_proof(item)
        return None if ownership.ok else ownership

    def _revoke(self, item: Revocation) -> tuple[KeyState, str]:
        incident, key_id = self.incident, item.key_id
        missing, context = self.missing_ownership_proof(item), incident.context()
        try:
            if missing is not None:
                return self._unproven(key_id, missing)
            if incident.dry_run:
                key = incident.key(key_id)
                return (
                    KeyState.REVOKED,
                    "" if key and key.enabled else "disabled already" if key else "not found at Infobip",
                )
            target = incident.keys.get(key_id) or Key(key_id, "", None, True, None, None)
            revoke_key(context, target, context.now(), item.fields)
        except RotatorError as error:
            if incident.dry_run:
                raise
            not_found = isinstance(error, KeyNotFound)
            if not ((not_found or error.outcome_unknown) and self._is_disabled(key_id)):
                return KeyState.FAILED, str(error)
            if not_found:
                return KeyState.NOT_FOUND, ""
        except Exception as error:  # even after a bug the other keys must be revoked
            return KeyState.FAILED, InternalError.of(error, f"the revocation of key {key_id}").message
        context.publish(REVOKED_EVENT, secret_arn=item.arn or None, **item.fields)
        return KeyState.REVOKED, ""

    def _unproven(self, key_id: str, missing: OwnershipProof) -> tuple[KeyState, str]:
        """The state of an unproven key. It may be disabled already (by another run of this incident, say)."""
        try:
            if not self.incident.provider.get_key(key_id).key.enabled:
                return KeyState.REVOKED, ""
        except KeyNotFound:
            return KeyState.NOT_FOUND, ""
        except RotatorError:
            pass
        return (KeyState.UNREADABLE if missing is OwnershipProof.UNREADABLE else KeyState.UNPROVEN), ""

    def _is_disabled(self, key_id: str) -> bool:
        """Whether Infobip shows it disabled or not at all; asked after a lost or doubtful answer."""
        try:
            return not self.incident.provider.get_key(key_id).key.enabled
        except KeyNotFound:
            return True
        except RotatorError:
            return False

    # ---- what stays enabled -----------------------------------------------------------------------------------------

    def report_rest(self) -> None:
        """Report every key that could not be revoked, and make it due at the next sweep if a label can do that."""
        incident = self.incident
        for item, state, why in self.tried.values():
            note, error = "", None
            if state is KeyState.REVOKED:
                continue
            # A sweep revokes it only with a proof, so a wrong label does no harm.
            due = state is not KeyState.UNPROVEN and self._make_due(item)
            if state is KeyState.NOT_FOUND:
                note = "not found at Infobip" if incident.dry_run else ""
            elif state is KeyState.FAILED:
                stop = "" if why.endswith((".", "!", "?")) else "."
                then = "The next sweep tries again; repeat the command to do it now." if due else "Repeat the command."
                note, error = (
                    "failed",
                    f"key {item.key_id} of {item.secret} is NOT known to be revoked: {why}{stop} {then}",
                )
                incident.context().emit("revocation.failed", "failure", **item.fields, error=why)
            else:
                then = " The next sweep tries again." if due else ""
                note, error = "not proven to be this secret's", self._unproven_text(item, state) + then
            if error is not None:
                incident.report.errors.append(error)
            incident.step(StepKind.REVOKED, item.secret, item.key_id, note, error=error, revocation=item)

    def _make_due(self, item: Revocation) -> bool:
        """Make its retire label due now, and remove later ones. Returns whether the next sweep will revoke it."""
        if item.role == Role.ORPHAN or not item.arn or self.incident.dry_run:
            return False  # an orphan is found by its age, at most half an hour from now
        context, reason, store = self.incident.context(), self.incident.reason, self.incident.services.store
        try:
            entry = store.describe(item.arn)
            life = read_lifecycle(entry)
            version = life.holders.get(item.key_id, item.version_id)
            if version is None or version == life.current_version:
                return False  # no label makes a sweep revoke the key that consumers get
            now = self.incident.now()
            label = retire_label(item.key_id, now)
            if label not in entry.versions.get(version, frozenset()):
                retire_version(context, entry, version, item.key_id, now, reason)
            remove_retire_labels(context, entry, item.key_id, reason, but=label)  # of two the later one counts
        except RotatorError:
            return False
        return True

    def _unproven_text(self, item: Revocation, state: KeyState) -> str:
        held = self.incident.held_key(item)
        why = "its value can't be read or searched for" if state is KeyState.UNREADABLE else "its value is not that key"
        if held is not None:
            why = f"its value is key {held}" + (", which is revoked" if held in self.having(KeyState.REVOKED) else "")
        command = f"rotator revoke --key-id {item.key_id} --account {self.incident.plan.account}"
        return (
            f"key {item.key_id}, which a label of {item.secret} names, is not revoked: nothing proves that it belongs "
            f"to this secret ({why}). If it leaked: `{command}`."
        )

    # ---- verification -----------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Probe each revoked key until it is refused. If a refusal shows nothing, the note says so."""
        incident = self.incident
        until = incident.now() + VERIFY_TIMEOUT
        for position, step in enumerate(incident.report.steps):
            if step.what == StepKind.REVOKED and step.ok and step.key_id is not None:
                incident.report.steps[position] = self._verified(step, step.key_id, until)

    def _verified(self, step: Step, key_id: str, until: datetime) -> Step:
        incident = self.incident
        candidates = (incident.plan.secret, *incident.plan.replaced)
        spec = spec_of(next((entry for entry in candidates if entry is not None and entry.name == step.secret), None))
        fetched = self._fetched(key_id)
        shown = "Infobip confirmed it"
        if fetched is not None and not fetched.key.enabled:
            shown = "Infobip shows it disabled"
        not_found = self.tried[key_id].state is KeyState.NOT_FOUND
        if not_found:
            shown = "Infobip has no such key any more"
        value = incident.values.get(key_id) or (fetched.value if fetched is not None else None)
        if value is None:
            return replace(step, verified=False, note=f"not verified: {shown}, but its value can't be read to try it")
        probe = self._probed(value, spec.verify_path, until)
        if probe.verdict is ProbeVerdict.AUTHENTICATES:
            error = (
                f"key {key_id} of {step.secret} STILL authenticates after {VERIFY_TIMEOUT.seconds} s, though {shown}. "
                "Check it in Infobip's portal, and repeat the command."
            )
            incident.report.errors.append(error)
            return replace(step, verified=False, note="still authenticates", error=error)
        if probe.verdict is ProbeVerdict.INCONCLUSIVE:
            note = f"not verified: {shown}, and the probe was inconclusive ({probe.detail})"
            return replace(step, verified=False, note=note)
        allowed = fetched.key.allowed_ips if fetched is not None else None
        if not spec.verify if allowed is None else bool(allowed) and allowed not in incident.admitted:
            # From an address that is not allowed, an enabled key is refused as well.
            note = f"not verified: {shown}; its allowedIPs may refuse a probe from here in any case"
            return replace(step, verified=False, note=note)
        return replace(step, verified=True, note=f"verified: 401; {shown}" if not_found else "verified: 401")

    def _probed(self, value: Secret, path: str, until: datetime) -> Probe:
        wait, inconclusive = 0.5, 0
        while True:
            probe = self.incident.provider.probe(value, path)
            left = (until - self.incident.now()).total_seconds()
            inconclusive += probe.verdict is ProbeVerdict.INCONCLUSIVE
            # A server that answers nothing useful must not hold up the next leaked key.
            if probe.verdict is ProbeVerdict.REJECTED or left <= 0 or inconclusive == MOST_INCONCLUSIVE:
                return probe
            self.incident.services.clock.sleep(min(wait, left))
            wait = min(wait * 2, LONGEST_WAIT)

    def _fetched(self, key_id: str) -> FetchedKey | None:
        try:
            return self.incident.provider.get_key(key_id)
        except RotatorError:
            return None
