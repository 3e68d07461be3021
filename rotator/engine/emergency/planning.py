"""Which keys an emergency revokes, and which secrets get a new one. Reads only.

It reads the listing, and asks Infobip if a key or a value was named or a label is missing. If a secret or its current
key was named, every key of the secret is revoked. If another key was named, nothing shows that the current one leaked:
it is revoked too, but only after it was replaced.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import InfobipClock, Services
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    Named,
    Revocation,
    Role,
    Strategy,
    Target,
    is_unlabelled,
    revocations_of,
    with_label,
)
from rotator.engine.key_ids import account_key_id
from rotator.engine.observe import Fleet, management_of, observe_fleet, resolve_version, value_field
from rotator.engine.secret_changes import account_of
from rotator.errors import ConfigurationError, KeyNotFound, ProviderError, Refused, RotatorError
from rotator.model import Key, SecretEntry
from rotator.policy.emergency_ids import is_retry, made_for_incident, made_in_emergency
from rotator.policy.guards import MAX_SKEW
from rotator.policy.labels import CURRENT, PREVIOUS, key_name, parse_key_name, parse_retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.values import decode
from rotator.ports import KeyProvider
from rotator.secret import Secret
from rotator.text import printable

RECENT: Final = timedelta(minutes=10)
"""For this long after an emergency made a key, a command that names no incident is treated as a retry."""


class UnknownValue(Refused):
    """A leaked value is no key of the accounts here, and every one of them was asked."""


class Accounts:
    """Connections to Infobip accounts, each made once; each management secret is read once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._texts: dict[str, Secret] = {}
        self._open: dict[str, KeyProvider] = {}

    def provider(self, fleet: Fleet, account: str) -> KeyProvider:
        """The account's provider, until :meth:`close`.

        :raises RotatorError: no or several management secrets, or one that can't be read or used.
        """
        entry = management_of(fleet, account)
        if entry.arn not in self._texts:
            self._texts[entry.arn] = self._services.store.read_current(entry.arn).text
        if entry.arn not in self._open:
            self._open[entry.arn] = self._services.connect(entry, self._texts[entry.arn], emergency=True)
        return self._open[entry.arn]

    def close(self) -> None:
        """Close every connection; never raises."""
        while self._open:
            self._open.popitem()[1].close()


@dataclass(slots=True)
class Planner:
    """Plans one emergency.

    :param incident: the operator's name for it; a replacement that was made for it before is not made again.
    :param chosen: whether a person gave it that name. Without one, a command that follows within minutes of another is
        treated as a retry.
    """

    services: Services
    accounts: Accounts
    strategy: Strategy
    incident: str | None = None
    chosen: bool = False
    fleet: Fleet = field(init=False, repr=False)

    def plan(self, target: Target) -> EmergencyPlan:
        """Plan the emergency for one target.

        :raises RotatorError: the target is unknown, its key is not known, or it is provably none of ours.
        """
        self.fleet = observe_fleet(self.services.store)
        if target.secret is not None:
            entry = self.fleet.find(target.secret) or self.services.store.describe(target.secret)
            if target.account not in (None, owner := account_of(entry)):
                raise ConfigurationError(
                    f"{printable(target.secret)} belongs to account {owner}, not to {printable(target.account or '')}",
                    advice="Nothing was changed. Leave the account out, or correct it.",
                )
            return self._of_secret(entry)
        if target.leaked is not None:
            return self._of_value(target.leaked, target.account)
        if target.key_id is None or target.account is None:
            raise ConfigurationError(
                "nothing says which key is meant", advice="Name a secret, a key id with its account, or a leaked value."
            )
        account = target.account
        key_id = account_key_id(
            target.key_id, self.fleet, account, lambda: self.accounts.provider(self.fleet, account).list_keys()
        )
        return self._of_key(account, Named(key_id))

    @property
    def replaces(self) -> bool:
        """Whether the strategy makes new keys."""
        return self.strategy is not Strategy.REVOKE_ONLY

    # ---- by key -----------------------------------------------------------------------------------------------------

    def _of_key(self, account: str, named: Named) -> EmergencyPlan:
        management_of(self.fleet, account)
        entries = _managed(self.fleet, account)
        labelled = [entry for entry in entries if named.key_id in read_lifecycle(entry).named]
        for entry in sorted(labelled, key=lambda entry: read_lifecycle(entry).current_key != named.key_id):
            if read_lifecycle(entry).current_key != named.key_id:
                # Consumers no longer get it. If it is also disabled, only an interrupted command has more to do.
                with suppress(ProviderError):  # it may be enabled
                    key = self._read(account, named)
                    if not key.enabled and self._made_before(entry, named.key_id) is None:
                        return self._disabled_already(account, key)
            return self._of_secret(entry, named)
        # Values of other accounts' secrets are compared here, and never sent to this account's Infobip.
        for entry in entries if named.value is not None else self.fleet.managed.get(account, ()):
            if is_unlabelled(entry) and self._is_current_in(account, entry, named):
                return self._of_secret(entry, named, named.key_id)
        return self._of_unlisted(account, named, entries)

    def _of_unlisted(self, account: str, named: Named, entries: list[SecretEntry]) -> EmergencyPlan:
        """Plan for a key that no listed label names: stored minutes ago, ours only by its own name, or not ours."""
        key = self._read(account, named)
        if not key.enabled:
            return self._disabled_already(account, key)
        name = parse_key_name(key.name)
        if name is None or name.deployment != self.services.policy.deployment:
            raise Refused(
                f"key {key.id} is not managed here, so it is not revoked: no managed secret holds it",
                advice=(
                    "Disable it in Infobip's portal, or take its secret under management with `rotator adopt` first; "
                    "if it was stored within the last 5 minutes, repeat the command."
                ),
            )
        for entry in entries:
            if not name.is_for(entry.name, entry.arn) and (name.secret_id is not None or name.secret != entry.name):
                continue
            fresh = self.services.store.describe(entry.arn)  # the listing may be five minutes old
            stored = read_lifecycle(fresh).current_version == name.version_id
            if is_unlabelled(fresh) and (stored or self._is_current_in(account, fresh, named)):
                return self._of_secret(fresh, named, key.id)
            if key.id in read_lifecycle(fresh).named:
                return self._of_secret(fresh, named)
        orphan = Revocation(key.id, Role.ORPHAN, name.secret, "", name.version_id)
        return EmergencyPlan(account, self.strategy, self.fleet, replace(named, key=key), (orphan,))

    def _is_current_in(self, account: str, entry: SecretEntry, named: Named) -> bool:
        try:
            if named.value is not None:
                text = self.services.store.read_current(entry.arn).text
                return decode(text, value_field(entry), entry.name).key == named.value
            provider = self.accounts.provider(self.fleet, account)
            return resolve_version(self.services.store, provider, entry).key_id == named.key_id
        except RotatorError:
            return False  # one secret that can't be read must not protect a key: the others, or its name, may show it

    def _read(self, account: str, named: Named) -> Key:
        if named.key is not None:
            return named.key
        try:
            return self.accounts.provider(self.fleet, account).get_key(named.key_id).key
        except KeyNotFound:
            raise Refused(
                f"Infobip's account {printable(account)} has no key {printable(named.key_id, 40)}",
                advice="Nothing was changed. Check the id and the account.",
            ) from None

    def _disabled_already(self, account: str, key: Key) -> EmergencyPlan:
        notes = (f"key {key.id} is disabled already",)
        return EmergencyPlan(account, self.strategy, self.fleet, Named(key.id, key), notes=notes)

    # ---- by value ---------------------------------------------------------------------------------------------------

    def _of_value(self, value: Secret, account: str | None) -> EmergencyPlan:
        accounts = self.fleet.accounts if account is None else (account,)
        errors: list[str] = []
        for name in accounts:
            try:
                found = self.accounts.provider(self.fleet, name).find_by_value(value)
            except RotatorError as error:
                errors.append(f"{printable(name)}: {error.message}")
                continue
            if found is not None:
                return self._of_key(name, Named(found.id, found, value))
        if errors:
            raise Refused(
                f"not every account could be asked for the leaked key: {'; '.join(errors)}",
                advice="Nothing was changed. Fix that and repeat the command, or disable the key in Infobip's portal.",
            )
        raise UnknownValue(
            f"the leaked value is no key of these accounts: {', '.join(accounts) or 'none'}",
            advice="If it is another account's, disable it in Infobip's portal.",
        )

    # ---- by secret --------------------------------------------------------------------------------------------------

    def _of_secret(self, entry: SecretEntry, named: Named | None = None, current: str | None = None) -> EmergencyPlan:
        """Plan for one secret.

        :param current: the key that its unlabelled current value is known to be.
        :raises RotatorError: it is not managed, or its current key is not known.
        """
        account = account_of(entry)
        management_of(self.fleet, account)
        unlabelled = is_unlabelled(entry)
        if unlabelled:
            entry = with_label(entry, current or self._resolved(entry, account))
        life, key_id = read_lifecycle(entry), named.key_id if named else None
        made = self._made_before(entry, key_id)
        if named is None and not self.replaces:
            made = None  # no key is wanted in this secret, not even the one that the incident made
        revocations, notes = list(revocations_of(entry)), list[str]()
        if made is not None:
            revocations = self._older(entry, life, revocations, made)
            notes.append(self._retry_note(entry, made))
        elif key_id not in (None, life.current_key) and life.current_key is not None:
            if self.replaces:
                notes.append(f"the current key of {entry.name} was not named; it is revoked once it is replaced")
            else:
                revocations = [item for item in revocations if item.role != Role.CURRENT]
                notes.append(f"the current key of {entry.name} was not named and stays; to revoke it, name the secret")
        if not revocations:
            notes.append(f"{entry.name} has no key to revoke")
        mine = [entry] if self.replaces and made is None and life.current_version is not None else []
        revoking = {item.key_id for item in revocations}
        for other in _managed(self.fleet, account):
            if other.arn == entry.arn or read_lifecycle(other).current_key not in revoking:
                continue
            owner, holds = account_of(other), "holds a key to be revoked"
            if not self.replaces:
                notes.append(f"{other.name} {holds}, and keeps it")
            elif owner != account:
                notes.append(f"{other.name} of account {owner} {holds}; store another one in it")
            else:
                notes.append(f"{other.name} {holds}, and gets a new one as well")
                mine.append(other)
        return EmergencyPlan(
            account,
            self.strategy,
            self.fleet,
            named,
            tuple(sorted(revocations, key=lambda item: item.key_id != key_id)),
            tuple(mine),
            tuple(notes),
            secret=entry,
            unlabelled=unlabelled,
            repeated=made is not None,
        )

    def _resolved(self, entry: SecretEntry, account: str) -> str:
        resolution = resolve_version(self.services.store, self.accounts.provider(self.fleet, account), entry)
        if resolution.key_id is None:
            raise Refused(
                f"the key of {entry.name} is not known: {resolution.problem}",
                advice="Nothing was changed. Name the key itself, by its id or by its value.",
            )
        return resolution.key_id

    # ---- retries ----------------------------------------------------------------------------------------------------

    def _made_before(self, entry: SecretEntry, named: str | None) -> str | None:
        """The version that this incident made current before, unless that version's key is named now.

        Without an incident's name: the version that an emergency made current minutes ago, if a new key is wanted.

        :raises Refused: the version is too old for a retry: a reused name must not spare the current key.
        """
        life = read_lifecycle(entry)
        current = life.current_version
        if named is not None and named == life.current_key:
            return None
        mine = {
            version
            for version, labels in entry.versions.items()
            if made_for_incident(entry.arn, self.incident, version)
            # The others were stored by an interrupted run and never promoted.
            and (labels & {CURRENT, PREVIOUS} or any(map(parse_retire_label, labels)))
        }
        made = current if current in mine else min(mine - {life.holders.get(named or "")}, default=None)
        if made is None:
            return current if self._made_just_now(entry, current) else None
        created_at, now = self._created_at(entry, made)
        if is_retry(created_at or now, now):
            return made
        by_id = f"`--key-id {life.current_key} --account {printable(account_of(entry), 60)}`"
        raise Refused(
            f"{entry.name} got a new key for incident {printable(self.incident or '', 60)} at "
            f"{created_at:%Y-%m-%d %H:%M} UTC, and a command with the same incident is a retry for 24 hours only",
            advice="Nothing was changed. Give another incident, or name the key itself: "
            f"{by_id if life.current_key else '`--key-id`'}.",
        )

    def _made_just_now(self, entry: SecretEntry, current: str | None) -> bool:
        """Whether an emergency made the current key minutes ago, and this command names no incident."""
        if self.chosen or not self.replaces or current is None or not made_in_emergency(entry.arn, current):
            return False
        if entry.last_changed is not None and self.services.clock.now() - entry.last_changed > RECENT + MAX_SKEW:
            return False
        try:
            created_at, now = self._created_at(entry, current)
        except RotatorError:
            return False  # then it is replaced once more, and consumers still have a working key
        return created_at is not None and now - created_at <= RECENT

    def _created_at(self, entry: SecretEntry, version: str) -> tuple[datetime | None, datetime]:
        """When the key of a version was created, and the time now, both by Infobip's clock.

        The key is found by its name, because its labels go when it is revoked. If no key has the name, the version's
        date counts: a leaked key must be revoked all the same.

        :raises StoreError: the version's date can't be read.
        """
        now, times = self.services.clock.now(), list[datetime]()
        with suppress(ProviderError):
            provider = self.accounts.provider(self.fleet, account_of(entry))
            found = provider.find_by_name(key_name(entry.name, entry.arn, self.services.policy.deployment, version))
            now = InfobipClock(self.services.clock, provider).now()
            times = [key.valid_from for key in found if key.valid_from is not None]
        return min(times, default=None) or self.services.store.version_dates(entry.arn).get(version), now

    def _retry_note(self, entry: SecretEntry, made: str) -> str:
        if made_for_incident(entry.arn, self.incident, made):
            return f"{entry.name} got a new key for incident {self.incident} already; only older keys are revoked"
        return (
            f"{entry.name} got a new key in an emergency within the last {RECENT.seconds // 60} minutes; only "
            "older keys are revoked; if the new one leaked as well, name it by its id, or give an incident"
        )

    def _older(self, entry: SecretEntry, life: Lifecycle, revocations: list[Revocation], made: str) -> list[Revocation]:
        """The keys that are older than the incident's replacement."""
        left = [item for item in revocations if item.role != Role.CURRENT and item.version_id != made]
        if life.current_version == made:
            # A pending version that no emergency made is the next rotation's.
            return [item for item in left if item.role != Role.PENDING or made_in_emergency(entry.arn, item.version_id)]
        dates = self.services.store.version_dates(entry.arn)
        at = dates.get(made)
        return [] if at is None else [each for each in left if each.version_id and dates.get(each.version_id, at) < at]


def _managed(fleet: Fleet, first: str) -> list[SecretEntry]:
    """Every managed secret; those of the account ``first`` before the others."""
    accounts = sorted(fleet.accounts, key=lambda name: (name != first, name))
    return [entry for name in accounts for entry in fleet.managed.get(name, ())]
