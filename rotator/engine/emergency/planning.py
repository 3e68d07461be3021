"""Plans an emergency: the keys to revoke, the secrets that get a new key, and notes for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from rotator.engine.context import Services
from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.facts import Facts, Use
from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.targets import EmergencyPlan, KeyRole, Located, Strategy, Suspect, Target
from rotator.engine.key_ids import account_key_id, how_to_shorten
from rotator.engine.version_values import value_field
from rotator.errors import (
    ConfigurationError,
    KeyNotFound,
    Refused,
    RotatorError,
    SecretNotFound,
    StoreError,
)
from rotator.model import SecretEntry
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.suspects import Suspects
from rotator.policy.tags import account_of, role
from rotator.policy.values import contains
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.text import printable, quoted, some_of

MOST_SHOWN: Final = 5


class UnknownValue(Refused):
    """The leaked value is not a key of any configured account, and no managed secret contains it."""


@dataclass
class Planner:
    """Plans one emergency."""

    incident: Incident
    strategy: Strategy

    @property
    def facts(self) -> Facts:
        """The data read so far."""
        return self.incident.facts

    @property
    def accounts(self) -> Accounts:
        """The Infobip accounts, and the secrets here."""
        return self.facts.accounts

    @property
    def services(self) -> Services:
        """Services that write nothing but the audit."""
        return self.accounts.services

    def plan(self, target: Target) -> EmergencyPlan:
        """Plan the emergency for one target.

        :raises RotatorError: the target is unknown, or cannot be identified.
        """
        if target.secret is not None:
            plan = self._of_secret(target.secret, target.account)
        elif target.leaked is not None:
            plan = self._of_value(target.leaked, target.account)
        elif target.key_id is not None and target.account is not None:
            plan = self._of_id(target.key_id, target.account)
        else:
            raise ConfigurationError(
                "no key or secret given", advice="Use a secret, a key id with its account, or a leaked value."
            )
        return replace(plan, notes=(*plan.notes, *self.accounts.notes))

    # ---- a key that a person named ----------------------------------------------------------------------------------

    def _of_id(self, text: str, account: str) -> EmergencyPlan:
        if len(self.accounts.fleet.managements.get(account, ())) > 1:
            self.accounts.with_id(text, account)  # chooses the management secret that shows the key
        provider = self.accounts.provider(account)
        key_id = account_key_id(text, self.accounts.fleet, account, provider.list_keys)
        try:
            fetched = provider.get_key(key_id)
        except KeyNotFound:
            raise self._not_in(account, key_id) from None
        except RotatorError as error:
            if not error.retryable:
                raise
            # It may be possible to revoke a key that can't be read.
            note = f"key {key_id} could not be read: {error.message}"
            return self._of_located(Located.unread(account, key_id), note)
        return self._of_located(self.accounts.remember(Located(account, fetched.key, fetched.value)))

    def _not_in(self, account: str, key_id: str) -> Refused:
        """The error for a key that the named account does not have; its advice names the account that has it."""
        advice = f"Nothing was changed. Check the id and the account.{how_to_shorten(printable(key_id, 40))}"
        with suppress(RotatorError):
            elsewhere = self.accounts.with_id(key_id, None)
            if elsewhere is not None:
                other = printable(elsewhere.account)
                advice = f"Nothing was changed. Account {other} has it: repeat the command with --account {other}."
        return Refused(
            f"Infobip account {printable(account)} has no key {printable(key_id, 40)}",
            advice=advice,
            reason=Reason.KEY_NOT_FOUND,
        )

    def _of_value(self, value: Secret, account: str | None) -> EmergencyPlan:
        located = self.accounts.with_value(value, None, only=account, alone=False)
        if located is not None:
            return self._of_located(replace(located, value=value))
        asked = [account] if account is not None else self.accounts.ordered(None)
        contents = self.facts.contents().items()
        holding = {arn for arn, content in contents if isinstance(content, Secret) and contains(content, value)}
        names = sorted(entry.title for entry in self.accounts.fleet.every() if entry.arn in holding)
        if names:
            raise Refused(
                f"the leaked value was not revoked: {some_of(names, MOST_SHOWN)} contains it, and it is not a key of "
                f"these accounts: {', '.join(map(printable, asked))}",
                advice="Disable the key in the portal of the Infobip account that it belongs to, and add that "
                "account's management secret.",
                reason=Reason.KEY_NOT_FOUND,
            )
        if not asked:
            raise Refused(
                "the leaked value was not searched for: this AWS account and region have no management secret",
                advice="Check --region, --profile and the environment.",
                reason=Reason.UNKNOWN_ACCOUNT,
            )
        unlisted = self.accounts.fleet.unlisted
        if unlisted:
            raise Refused(
                f"the leaked value is not a key of these accounts: {', '.join(map(printable, asked))}; a secret in a "
                f"store that could not be searched may contain it: {', '.join(unlisted)}",
                advice="Check the store with `rotator doctor`, and repeat the command.",
                reason=Reason.STORE_UNREACHABLE,
            )
        raise UnknownValue(
            f"the leaked value is not a key of these accounts: {', '.join(map(printable, asked))}",
            advice="If it belongs to another account, disable it in Infobip's portal.",
        )

    def _of_located(self, located: Located, *notes: str) -> EmergencyPlan:
        """Plan for one key, and for the secrets that use it."""
        suspect = self._with_value(self._placed(located))
        if suspect.role in (KeyRole.ORPHAN, KeyRole.UNMANAGED) and located.key.name:
            name = quoted(located.key.name)
            notes += (f"no managed secret that could be read contains key {located.id}; its name at Infobip is {name}",)
        replaced, more, errors = self._users([suspect], None)
        return EmergencyPlan(
            located.account,
            self.strategy,
            Suspects(named=located.id),
            named=suspect,
            suspects=(suspect,),
            replaced=tuple(replaced),
            notes=(*notes, *more),
            errors=tuple(errors),
        )

    def _with_value(self, suspect: Suspect) -> Suspect:
        """The suspect with its value, for the probe; read from its version if Infobip masks values."""
        entry, version = self.accounts.entry(suspect.arn), suspect.version_id
        if suspect.located.value is not None or entry is None or version is None or version not in entry.versions:
            return suspect
        found = self.facts.version_keys(entry, version).keys
        value = next((each.located.value for each in found if each.key.id == suspect.key.id), None)
        return replace(suspect, located=replace(suspect.located, value=value))

    def _placed(self, located: Located) -> Suspect:
        """The key with the secret that contains it, according to the listing and the current values."""
        uses = {entry.arn: self.facts.use(entry, located) for entry in self.accounts.fleet.every()}
        for wanted, where in ((Use.CURRENT, KeyRole.CURRENT), (Use.OTHER_FIELD, KeyRole.OTHER_FIELD)):
            for entry in self.accounts.fleet.every():
                if uses[entry.arn] is wanted:
                    version = read_lifecycle(entry).current_version
                    return Suspect(located, where, entry.name, entry.arn, version, location=entry.location)
        for entry in self.accounts.fleet.directory.by_key.get(located.id, ()):
            life = read_lifecycle(entry)
            version = life.holders.get(located.id)
            item = next((item for item in life.retiring if item.key_id == located.id), None)
            version = item.version_id if item is not None else version
            if version is not None and version != life.current_version:
                return Suspect.of(entry, version, located)
        name = parse_key_name(located.key.name)
        if name is None or name.deployment != self.services.policy.deployment:
            return Suspect(located, KeyRole.UNMANAGED)
        owner = self.accounts.fleet.directory.named(name)
        arn, location = (owner.arn, owner.location) if owner is not None else ("", None)
        return Suspect(located, KeyRole.ORPHAN, name.secret, arn, name.version_id, location=location)

    # ---- a secret that a person named -------------------------------------------------------------------------------

    def _of_secret(self, secret: str, account: str | None) -> EmergencyPlan:
        begun = self.services.clock.now()
        entry, stale = self._described(secret)
        owner = _owner(entry, account)
        found = self.facts.keys_of(entry)
        now = self.facts.now(owner)
        notes, spared = list[str](), set[str]()
        # A command that creates no key is never a retry of one that did.
        repeated = self.incident.repeated(entry, found.keys, now) if self.strategy.replaces else None
        if repeated is None:
            ids = frozenset(suspect.key.id for suspect in found.keys)
            rule = Suspects(arn=entry.arn, since=self.facts.at_infobip(begun, owner), found=ids)
        else:
            self.incident.resume(repeated)
            rule = Suspects(arn=entry.arn, since=repeated.created)
            spared = self.incident.made_keys(entry)
            notes.append(repeated.note)
        concerned = [
            suspect
            for suspect in found.keys
            if rule.suspect(suspect.key, entry.arn, now, made_here=suspect.key.id in spared)
        ]
        suspects = [suspect for suspect in concerned if suspect.key.enabled]
        if not suspects:
            notes.append(f"{entry.title} has no key to revoke")
        current = read_lifecycle(entry).current_version
        kept = repeated is not None and not any(suspect.role == KeyRole.CURRENT for suspect in concerned)
        main = [] if current is None or kept or not self.strategy.replaces else [entry]
        others, more, lost = self._users(concerned, entry)  # a disabled one may still be another secret's current key
        return EmergencyPlan(
            next((suspect.account for suspect in suspects), owner or ""),
            self.strategy,
            replace(rule, found=frozenset(suspect.key.id for suspect in concerned)),
            secret=entry,
            suspects=tuple(suspects),
            replaced=(*main, *others),
            notes=(*notes, *more),
            disabled=tuple(suspect for suspect in concerned if not suspect.key.enabled),
            unproven=found.unproven,
            errors=(*stale, *found.errors, *lost),
        )

    def _described(self, secret: str) -> tuple[SecretEntry, list[str]]:
        """The secret as it is now, or as it was listed and an error that says so."""
        listed = self.accounts.fleet.find(secret)
        try:
            return self.services.store.describe(secret if listed is None else listed.argument), []
        except SecretNotFound:
            if listed is not None:  # it was deleted since
                raise
            raise self.accounts.fleet.unknown(secret) from None
        except StoreError as error:
            if listed is None:
                raise
            return listed, [
                f"{listed.name} could not be described; the list, up to 5 minutes old, was used instead: {error}"
            ]

    # ---- the secrets that use a key ---------------------------------------------------------------------------------

    def _users(
        self, suspects: Sequence[Suspect], main: SecretEntry | None
    ) -> tuple[list[SecretEntry], list[str], list[str]]:
        """The secrets, except ``main``, that lose their current key; a note about each that uses a suspect; and an
        error for each, ``main`` too, whose consumers lose a key that can't be replaced.
        """
        replaced: list[SecretEntry] = []
        notes: list[str] = []
        errors: list[str] = []
        unknown: list[str] = []
        known = [suspect.located for suspect in suspects]
        for entry in self.accounts.fleet.every() if known else ():
            uses = {self.facts.use(entry, located) for located in known}
            is_main = main is not None and entry.arn == main.arn
            if Use.CURRENT in uses and not is_main:
                own = any(suspect.arn == entry.arn for suspect in suspects)  # the suspect itself shows it
                if self.strategy.replaces:
                    replaced.append(entry)
                elif not own:
                    notes.append(f"{entry.title} contains a key to revoke and gets no new key")
            if Use.OTHER_FIELD in uses:
                text = (
                    f"{entry.title} contains a key to revoke in AWSCURRENT, but not as the text in its field "
                    f"{value_field(entry)}, so that key is not replaced: store a new one there by hand"
                )
                enabled = any(suspect.key.enabled for suspect in suspects)
                (errors if enabled and self.strategy.replaces else notes).append(text)
            if uses == {Use.UNKNOWN} and not is_main:
                unknown.append(entry.title)
        if unknown:
            notes.append(f"{some_of(sorted(unknown), MOST_SHOWN)} could not be read and may contain a key to revoke")
        return replaced, notes, errors


def _owner(entry: SecretEntry, account: str | None) -> str | None:
    """The account in a managed secret's tag, if there is one.

    :param account: the one that a person named, if any.
    :raises RotatorError: the secret is not managed, or belongs to another account.
    """
    owner = account_of(entry.tags)
    if role(entry.tags) in (None, "management"):
        raise Refused(
            f"{printable(entry.name)} is not managed: it is not tagged rotator:role=key",
            advice="Use the secret that contains the key, or specify the key by its id or value.",
        )
    if owner is not None and account not in (None, owner):
        raise ConfigurationError(
            f"{printable(entry.name)} belongs to account {printable(owner)}, not to {printable(account or '')}",
            advice="Nothing was changed. Omit the account, or correct it.",
        )
    return owner
