"""A new key for each secret that loses its own, with all the checks of a rotation and none of its waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rotator.audit import change
from rotator.core.labels import key_label
from rotator.core.lifecycle import AWS_LABELS, labels_after_rotation, read_lifecycle
from rotator.core.model import Action, ActionKind, Reason, SecretEntry
from rotator.emergency.holders import kills_of
from rotator.emergency.kill import Killing
from rotator.emergency.labels import clean
from rotator.emergency.model import CURRENT, RETIRING, SUPERSEDED, Kill
from rotator.emergency.work import Work, spec_of
from rotator.errors import Changed, LostRace, Refused, RotatorError
from rotator.rotation import Rotation
from rotator.telling import FAILED

MOST_TRIES: Final = 3
"""Each but the first one means that somebody else promoted a key, or put a value there, in the seconds between."""


@dataclass
class Replacing:
    """Replaces the current keys of secrets. What fails is in the report, and never keeps a key alive."""

    work: Work
    killing: Killing

    def replace_all(self, entries: Iterable[SecretEntry]) -> tuple[Kill, ...]:
        """Give each secret a new key. Returns the key that the secret concerned held until then."""
        held = [kill for entry in entries if (kill := self._replace(entry)) is not None]
        return tuple(kill for kill in held if self._is_main(kill.arn))

    def _is_main(self, arn: str) -> bool:
        return self.work.plan.secret is not None and self.work.plan.secret.arn == arn

    def _replace(self, entry: SecretEntry) -> Kill | None:
        if self.work.replaced_before(entry):
            return None
        try:
            return self._until_won(entry)
        except RotatorError as error:
            self._failed(entry, error)
        except Exception as error:  # a mistake of ours must not keep a leaked key alive
            self._failed(entry, error)
        return None

    def _until_won(self, entry: SecretEntry) -> Kill | None:
        """Where somebody was faster: look again, whether what they promoted is what is needed.

        :raises RotatorError: nothing was promoted.
        """
        for left in reversed(range(MOST_TRIES)):
            try:
                return self._once(entry)
            except RotatorError as error:
                entry = self._look_after(error, entry.arn)
                if not self.still_needed(entry):
                    return None
                if not left or not isinstance(error, (Changed, LostRace)):
                    raise
        return None

    def _look_after(self, error: RotatorError, arn: str) -> SecretEntry:
        try:
            fresh = self.work.fresh(arn)
        except RotatorError:
            raise error from None
        if isinstance(error, Changed) and self._is_main(arn):
            # The listing was older than what consumers had when the incident began, up to five minutes.
            self.work.condemn(kill for kill in kills_of(fresh) if not self.work.is_newer(kill))
        return fresh

    def still_needed(self, fresh: SecretEntry) -> bool:
        """Not where this incident or another rotation replaced it meanwhile, nor where it holds no key that ends."""
        if self.work.replaced_before(fresh):
            return False
        current = next((kill for kill in kills_of(fresh) if kill.role == CURRENT), None)
        if current is not None and self.work.is_newer(current):
            self.work.replaced_by_others.add(fresh.arn)
            self.work.step("promoted", fresh.name, current.key_id, "by another rotation, which was faster")
            return False
        dying = {kill.key_id for kill in self.work.plan.kills}
        return self._is_main(fresh.arn) or (current is not None and current.key_id in dying)

    def _once(self, entry: SecretEntry) -> Kill | None:
        """:raises RotatorError: nothing was promoted; what was made is revoked, or found by the next sweep."""
        work = self.work
        entry = self._with_room(entry)
        life = read_lifecycle(entry)
        if life.current_version is None:
            raise Refused(f"{entry.name} has no value to be replaced")
        self._check_writable(entry)
        key_id = life.current_key
        key = work.key(key_id) if key_id is not None else None
        if key_id is not None and entry.arn in work.unlabelled:
            self._adopt(entry, life.current_version, key_id)
        action = Action(
            ActionKind.ROTATE,
            work.plan.account,
            entry.name,
            Reason.EMERGENCY,
            work.begun,
            key_id=key_id,
            version_id=life.current_version,
            arn=entry.arn,
        )
        rotation = Rotation(work.context(entry), action, said=work.reason, emergency=True, entry=entry)
        try:
            made = rotation.rotate(work.version_id(entry.arn))
        finally:
            if rotation.old_value is not None and key_id is not None:
                work.values.setdefault(key_id, rotation.old_value)
        work.promoted.add(entry.arn)
        work.step("created", entry.name, made.key_id)
        work.step("promoted", entry.name, None)
        if key is not None and spec_of(entry).verify:
            work.admitted.add(key.allowed_ips)  # the new key has the same, and was used from here
        return Kill(key_id, CURRENT, entry.name, entry.arn, life.current_version) if key_id is not None else None

    def _check_writable(self, entry: SecretEntry) -> None:
        """Before a key is made that could not be stored."""
        if entry.primary_region and entry.primary_region != entry.region:
            advice = f"Run the command in {entry.primary_region}."
            raise Refused(f"{entry.name} is a replica of a secret in {entry.primary_region}", advice=advice)
        if entry.owning_service:
            raise Refused(f"{entry.name} is managed by {entry.owning_service}")

    def _adopt(self, entry: SecretEntry, version_id: str, key_id: str) -> None:
        """Label the current version: if this run is killed, the next one still knows which key was in it."""
        work = self.work
        real = read_lifecycle(work.services.store.describe(entry.arn))
        if real.current_version != version_id:
            raise Changed(f"{entry.name} has another current version than was seen")
        if real.current_key is None:
            with change(work.services.audit, "key.adopted", **work.fields(entry.name, version_id, key_id)):
                work.services.store.add_label(
                    entry.arn, key_label(key_id), version_id, remove_from=real.holders.get(key_id)
                )
        work.unlabelled.discard(entry.arn)

    def _with_room(self, entry: SecretEntry) -> SecretEntry:
        """Where the labels of keys in grace leave no room for a new one's, these end first: they end in any case."""
        # A retire label is counted there that an emergency does not set.
        if not self._is_main(entry.arn) or labels_after_rotation(read_lifecycle(entry), entry) - 1 <= AWS_LABELS:
            return entry
        self.killing.kill_all(k for k in kills_of(entry) if k.role in (RETIRING, SUPERSEDED))
        clean(self.work, entry)
        return self.work.fresh(entry.arn)

    def _failed(self, entry: SecretEntry, error: Exception) -> None:
        work = self.work
        text = str(error) if isinstance(error, RotatorError) else f"a bug in rotator: {type(error).__name__}"
        work.report.errors.append(f"{entry.name} has no new key: {text}")
        work.step("promoted", entry.name, None, "failed", ok=False)
        life = read_lifecycle(entry)
        fields = work.fields(entry.name, life.current_version, life.current_key)
        said = f"{type(error).__name__}: {text}"
        work.services.audit.emit("rotation.failed", "failure", **fields, error=said)
        work.context().tell(FAILED, {"secret_arn": entry.arn, **fields, "error": said})
