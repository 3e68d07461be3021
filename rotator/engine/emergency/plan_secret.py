"""Who dies when a secret, or one of its keys, was named: every key of it, and who else would be hurt by that.

There is one reservation: where a key was named that consumers do not get any more, nobody said that the current one
leaked. It ends too, but only after it was replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import Services
from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.holders import current_holders, is_unlabelled, managed_entries, revocations_of, with_label
from rotator.engine.emergency.targets import CURRENT, PENDING, EmergencyPlan, Revocation, Strategy
from rotator.engine.observe import Fleet, management_of, resolve_version
from rotator.engine.secret_changes import account_of
from rotator.errors import ProviderError, Refused, RotatorError
from rotator.model import Key, SecretEntry
from rotator.policy.emergency_ids import is_retry, made_for_incident, made_in_emergency
from rotator.policy.guards import MAX_SKEW
from rotator.policy.labels import CURRENT as CURRENT_LABEL
from rotator.policy.labels import PREVIOUS, key_name, parse_retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.secret import Secret
from rotator.text import printable

MINUTE: Final = timedelta(minutes=1)
RECENT: Final = 10 * MINUTE
"""How long after an emergency made a key, a command that names no incident is taken for a repetition."""


@dataclass(frozen=True, slots=True)
class Named:
    """A key that the operator named by its id, or by its value; ``key`` where Infobip was asked about it."""

    key_id: str
    key: Key | None = None
    value: Secret | None = None


@dataclass(slots=True)
class SecretPlanning:
    """Plans for one secret.

    :param incident: the operator's name for it; a replacement that was made for it before is not made again.
    :param chosen: whether a person gave it that name. Without one, a command that follows within minutes of another is
        the same button, pressed twice.
    """

    services: Services
    accounts: Accounts
    strategy: Strategy
    incident: str | None = None
    chosen: bool = False

    def plan(
        self, fleet: Fleet, entry: SecretEntry, named: Named | None = None, current: str | None = None
    ) -> EmergencyPlan:
        """What would be done to the secret.

        :param current: the key that its unlabelled current value is known to be.
        :raises RotatorError: it is not managed, or its current key can't be named.
        """
        account = account_of(entry)
        management_of(fleet, account)
        unlabelled = frozenset[str]()
        if is_unlabelled(entry):
            unlabelled = frozenset({entry.arn})
            entry = with_label(entry, current or self._resolved(fleet, entry, account))
        life = read_lifecycle(entry)
        key_id = named.key_id if named else None
        revocations, notes, made = self._revocations(fleet, entry, life, key_id)
        wanted = self.replaces and made is None and life.current_version is not None
        known = named if named and key_id else None
        plan = EmergencyPlan(
            account,
            self.strategy,
            tuple(sorted(revocations, key=lambda revocation: revocation.key_id != key_id)),
            (entry,) if wanted else (),
            fleet,
            keys={known.key_id: known.key} if known and known.key else {},
            notes=tuple(notes),
            secret=entry,
            named=key_id,
            values={known.key_id: known.value} if known and known.value else {},
            unlabelled=unlabelled,
            repeated=made is not None,
        )
        return self._with_sharing(plan)

    @property
    def replaces(self) -> bool:
        """Whether the strategy makes new keys."""
        return self.strategy is not Strategy.REVOKE_ONLY

    def _resolved(self, fleet: Fleet, entry: SecretEntry, account: str) -> str:
        with self.accounts.connected(fleet, account) as provider:
            resolution = resolve_version(self.services.store, provider, entry)
        if resolution.key_id is None:
            raise Refused(
                f"the key of {entry.name} can't be named: {resolution.problem}",
                advice="Nothing was changed. Name the key itself, by its id or by its value.",
            )
        return resolution.key_id

    def _revocations(
        self, fleet: Fleet, entry: SecretEntry, life: Lifecycle, named: str | None
    ) -> tuple[list[Revocation], list[str], str | None]:
        """The keys that end, what to say about it, and the version that this incident made before."""
        revocations = list(revocations_of(entry, life))
        notes: list[str] = []
        made = self.made_before(fleet, entry, named)
        if made is not None:
            self._check_retry(fleet, entry, made)
        if named is None and not self.replaces:
            made = None  # no key is wanted in this secret, not even the one that the incident made
        if made is not None:
            revocations = self._older(entry, life, revocations, made)
            if made_for_incident(entry.arn, self.incident, made):
                notes.append(f"{entry.name} got a new key for incident {self.incident} before; only what is older ends")
            else:
                notes.append(
                    f"{entry.name} got a new key in an emergency within the last {RECENT // MINUTE} minutes; only what "
                    "is older ends; if that one leaked as well, name it by its id, or give an incident"
                )
        elif named not in (None, life.current_key) and life.current_key is not None:
            if self.replaces:
                notes.append(f"the current key of {entry.name} was not named; it ends once it is replaced")
            else:
                revocations = [revocation for revocation in revocations if revocation.role != CURRENT]
                notes.append(f"the current key of {entry.name} was not named and stays; name the secret to end it too")
        if not revocations:
            notes.append(f"{entry.name} has no key to end")
        return revocations, notes, made

    def made_before(self, fleet: Fleet, entry: SecretEntry, named: str | None) -> str | None:
        """The version that this incident made current before, unless it is that version's key that is meant now."""
        life = read_lifecycle(entry)
        if named is not None and named == life.current_key:
            return None
        if not self.chosen and self._made_just_now(fleet, entry, life):
            return life.current_version
        made = {
            version
            for version, labels in entry.versions.items()
            if made_for_incident(entry.arn, self.incident, version)
            # Others were stored and never promoted: by a run that was killed.
            and (labels & {CURRENT_LABEL, PREVIOUS} or any(map(parse_retire_label, labels)))
        }
        if life.current_version in made:
            return life.current_version
        return min((version for version in made if version != life.holders.get(named or "")), default=None)

    def _check_retry(self, fleet: Fleet, entry: SecretEntry, made: str) -> None:
        """Before anything is changed: a name that is used again weeks later must not spare the current key.

        :raises Refused: the incident's replacement is too old for a retry.
        """
        if not made_for_incident(entry.arn, self.incident, made):
            return
        created_at, now = self._created_at(fleet, entry, made)
        if is_retry(created_at, now):
            return
        current = read_lifecycle(entry).current_key
        by_id = f"`--key-id {current} --account {printable(account_of(entry), 60)}`" if current else "`--key-id`"
        raise Refused(
            f"{entry.name} got a new key for incident {printable(self.incident or '', 60)} at "
            f"{created_at:%Y-%m-%d %H:%M} UTC, and a command with the same incident is a retry for 24 hours only",
            advice=f"Nothing was changed. Give another incident, or name the key itself: {by_id}.",
        )

    def _created_at(self, fleet: Fleet, entry: SecretEntry, made: str) -> tuple[datetime, datetime]:
        """When the key of a version was created, and the time now, both by Infobip's clock.

        By its name, for its labels go when it is revoked. Where that tells nothing, Secrets Manager dates the version:
        what leaked is to be revoked all the same.

        :raises StoreError: neither tells.
        """
        now = self.services.clock.now()
        try:
            with self.accounts.connected(fleet, account_of(entry)) as provider:
                found = provider.find_by_name(key_name(entry.name, entry.arn, self.services.policy.deployment, made))
                now = self.services.clock.now() + (provider.skew() or timedelta(0))
        except ProviderError:
            found = ()
        times = [key.valid_from for key in found if key.valid_from is not None]
        at = min(times, default=None) or self.services.store.version_dates(entry.arn).get(made)
        return at or now, now

    def _made_just_now(self, fleet: Fleet, entry: SecretEntry, life: Lifecycle) -> bool:
        """Whether an emergency put the current key there minutes ago. Asked for only where it may be so.

        Who wants no key there at all is taken at their word.
        """
        if not self.replaces or life.current_key is None or not made_in_emergency(entry.arn, life.current_version):
            return False
        now = self.services.clock.now()
        if entry.last_changed is not None and now - entry.last_changed > RECENT + MAX_SKEW:
            return False
        try:
            with self.accounts.connected(fleet, account_of(entry)) as provider:
                made = provider.get_key(life.current_key).key.valid_from
                return made is not None and now + (provider.skew() or timedelta(0)) - made <= RECENT
        except RotatorError:
            return False  # then it is replaced once more, and consumers have a working key all the same

    def _older(self, entry: SecretEntry, life: Lifecycle, revocations: list[Revocation], made: str) -> list[Revocation]:
        """What is left of the time before the incident's replacement."""
        revocations = [
            revocation for revocation in revocations if revocation.role != CURRENT and revocation.version_id != made
        ]
        if life.current_version == made:
            # A pending version that no emergency made is the next rotation's.
            return [
                revocation
                for revocation in revocations
                if revocation.role != PENDING or made_in_emergency(entry.arn, revocation.version_id)
            ]
        dates = self.services.store.version_dates(entry.arn)
        at = dates.get(made)
        if at is None:
            return []
        return [
            revocation
            for revocation in revocations
            if revocation.version_id and dates.get(revocation.version_id, at) < at
        ]

    # ---- other secrets ----------------------------------------------------------------------------------------------

    def _with_sharing(self, plan: EmergencyPlan) -> EmergencyPlan:
        """Other secrets that hold a key that ends: they are replaced as well, or it is said that they break."""
        arn = plan.secret.arn if plan.secret else ""
        revoking = {revocation.key_id for revocation in plan.revocations}
        sharing = current_holders(managed_entries(plan.fleet, plan.account), revoking, arn)
        found, notes = self._unlabelled_sharing(plan, revoking, arn)
        mine: list[SecretEntry] = []
        for other in (*sharing, *found):
            owner = account_of(other)
            if not self.replaces:
                notes.append(f"{other.name} holds a key that ends, and is left with it")
            elif owner != plan.account:
                notes.append(f"{other.name} of account {owner} holds a key that ends; store another one in it")
            else:
                notes.append(f"{other.name} holds a key that ends, and gets a new one as well")
                mine.append(other)
        return replace(
            plan,
            replaced=(*plan.replaced, *mine),
            notes=(*plan.notes, *notes),
            unlabelled=plan.unlabelled | {entry.arn for entry in found},
        )

    def _unlabelled_sharing(
        self, plan: EmergencyPlan, revoking: set[str], arn: str
    ) -> tuple[list[SecretEntry], list[str]]:
        """Secrets that nobody adopted yet (a copy, say). Only asked for where consumers come first: it takes calls."""
        blank = [e for e in managed_entries(plan.fleet, plan.account) if e.arn != arn and is_unlabelled(e)]
        if not blank or not revoking or self.strategy is not Strategy.REPLACE_FIRST:
            return [], []
        found: list[SecretEntry] = []
        notes: list[str] = []
        with self.accounts.connected(plan.fleet, plan.account) as provider:
            for entry in blank:
                try:
                    resolution = resolve_version(self.services.store, provider, entry)
                except RotatorError as error:
                    notes.append(f"whether {entry.name} holds a key that ends is not known: {error.message}")
                    continue
                if resolution.key_id in revoking and resolution.key_id is not None:
                    found.append(with_label(entry, resolution.key_id))
        return found, notes
