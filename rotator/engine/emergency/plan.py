"""Who dies. Reads only: the listing, and Infobip where a key or a value was named or a label is missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from rotator.engine.context import Services
from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.holders import holds_value, is_unlabelled, managed_entries
from rotator.engine.emergency.plan_secret import Named, SecretPlanning
from rotator.engine.emergency.targets import ORPHAN, EmergencyPlan, Revocation, Strategy, Target
from rotator.engine.observe import Fleet, management_of, observe_fleet, resolve_version
from rotator.errors import ConfigurationError, KeyNotFound, ProviderError, Refused, RotatorError
from rotator.model import Key, SecretEntry
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.secret import Secret
from rotator.text import printable


class UnknownValue(Refused):
    """A leaked value is no key of the accounts here, and every one of them was asked."""


@dataclass(slots=True)
class Planning:
    """Plans one emergency.

    :param incident: the operator's name for it; a replacement that was made for it before is not made again.
    :param chosen: whether a person gave it that name.
    """

    services: Services
    accounts: Accounts
    strategy: Strategy
    incident: str | None = None
    chosen: bool = False
    _secrets: SecretPlanning = field(init=False)

    def __post_init__(self) -> None:
        self._secrets = SecretPlanning(self.services, self.accounts, self.strategy, self.incident, self.chosen)

    def plan(self, target: Target) -> EmergencyPlan:
        """What would be done.

        :raises RotatorError: the target is unknown, can't be named, or is provably none of ours; nothing was changed.
        """
        fleet = observe_fleet(self.services.store)
        if target.secret is not None:
            entry = fleet.find(target.secret) or self.services.store.describe(target.secret)
            return self._secrets.plan(fleet, entry)
        if target.leaked is not None:
            return self._of_value(fleet, target.leaked, target.account)
        if target.key_id is None or target.account is None:
            raise ConfigurationError(
                "nothing says which key is meant", advice="Name a secret, a key id with its account, or a leaked value."
            )
        return self._of_key(fleet, target.account, Named(target.key_id))

    # ---- by key -----------------------------------------------------------------------------------------------------

    def _of_key(self, fleet: Fleet, account: str, named: Named) -> EmergencyPlan:
        management_of(fleet, account)
        entries = managed_entries(fleet, account)
        for entry in entries:
            if read_lifecycle(entry).current_key == named.key_id:
                return self._secrets.plan(fleet, entry, named)
        for entry in entries:
            if named.key_id in read_lifecycle(entry).named:
                # Consumers do not get it any more; if it is dead as well, only a command that was cut off goes on.
                try:
                    key = self._read(fleet, account, named)
                except ProviderError:
                    return self._secrets.plan(fleet, entry, named)  # it may be enabled
                if key.enabled or self._secrets.made_before(fleet, entry, named.key_id) is not None:
                    return self._secrets.plan(fleet, entry, named)
                return self._disabled_already(fleet, account, key)
        for entry in entries:
            if is_unlabelled(entry) and self._is_current_in(fleet, account, entry, named):
                return self._secrets.plan(fleet, entry, named, named.key_id)
        return self._of_unlisted(fleet, account, named, entries)

    def _of_unlisted(self, fleet: Fleet, account: str, named: Named, entries: list[SecretEntry]) -> EmergencyPlan:
        """A key that no listed label names: stored minutes ago, ours only by its own name, or not ours."""
        key = self._read(fleet, account, named)
        if not key.enabled:
            return self._disabled_already(fleet, account, key)
        name = parse_key_name(key.name)
        if name is None or name.deployment != self.services.policy.deployment:
            raise Refused(
                f"key {key.id} is not managed here, so it is not ended: no managed secret holds it",
                advice=(
                    "End it in Infobip's portal, or take its secret under management with `rotator adopt` first; if it "
                    "was stored within the last 5 minutes, repeat the command."
                ),
            )
        for entry in entries:
            if not name.is_for(entry.name, entry.arn) and (name.secret_id is not None or name.secret != entry.name):
                continue
            fresh = self.services.store.describe(entry.arn)  # the listing may be five minutes old
            stored = read_lifecycle(fresh).current_version == name.version_id
            if is_unlabelled(fresh) and (stored or self._is_current_in(fleet, account, fresh, named)):
                return self._secrets.plan(fleet, fresh, named, key.id)
            if key.id in read_lifecycle(fresh).named:
                return self._secrets.plan(fleet, fresh, named)
        revocation = Revocation(key.id, ORPHAN, name.secret, "", name.version_id)
        values = {} if named.value is None else {key.id: named.value}
        return EmergencyPlan(
            account, self.strategy, (revocation,), (), fleet, {key.id: key}, named=key.id, values=values
        )

    def _is_current_in(self, fleet: Fleet, account: str, entry: SecretEntry, named: Named) -> bool:
        try:
            if named.value is not None:
                return holds_value(self.services.store, entry, named.value)
            with self.accounts.connected(fleet, account) as provider:
                return resolve_version(self.services.store, provider, entry).key_id == named.key_id
        except RotatorError:
            return False  # one secret that can't be read must not protect a key: the others, or its name, may prove it

    def _read(self, fleet: Fleet, account: str, named: Named) -> Key:
        if named.key is not None:
            return named.key
        with self.accounts.connected(fleet, account) as provider:
            try:
                return provider.get_key(named.key_id).key
            except KeyNotFound:
                raise Refused(
                    f"Infobip's account {printable(account)} has no key {printable(named.key_id, 40)}",
                    advice="Nothing was changed. Check the id and the account.",
                ) from None

    def _disabled_already(self, fleet: Fleet, account: str, key: Key) -> EmergencyPlan:
        note = f"key {key.id} is dead already"
        return EmergencyPlan(account, self.strategy, (), (), fleet, {key.id: key}, notes=(note,), named=key.id)

    # ---- by value ---------------------------------------------------------------------------------------------------

    def _of_value(self, fleet: Fleet, value: Secret, account: str | None) -> EmergencyPlan:
        accounts = fleet.accounts if account is None else (account,)
        errors: list[str] = []
        for name in accounts:
            try:
                with self.accounts.connected(fleet, name) as provider:
                    found = provider.find_by_value(value)
            except RotatorError as error:
                errors.append(f"{printable(name)}: {error.message}")
                continue
            if found is not None:
                return self._of_key(fleet, name, Named(found.id, found, value))
        if errors:
            raise Refused(
                f"not every account could be asked for the leaked key: {'; '.join(errors)}",
                advice="Nothing was changed. Fix that and repeat the command, or end the key in Infobip's portal.",
            )
        raise UnknownValue(
            f"the leaked value is no key of these accounts: {', '.join(accounts) or 'none'}",
            advice="If it is another account's, end it in Infobip's portal.",
        )
