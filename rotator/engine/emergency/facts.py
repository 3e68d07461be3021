"""Facts about keys: which keys a secret contains, proven by value or name, and which secrets use a key. Reads only.

A value that Infobip knows is trusted first, then a key's name at Infobip; a label alone is not an ownership proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from itertools import islice
from typing import Final

from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.targets import KeyRole, Located, Suspect
from rotator.engine.version_values import key_in
from rotator.errors import BadSecretValue, Refused, RotatorError, SecretNotFound, StoreError
from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.policy.labels import key_name, parse_key_label, parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import Ownership
from rotator.policy.tags import account_of
from rotator.policy.values import contains, keys_in
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.text import printable

MOST_VALUES: Final = 20
"""Values of one version that are searched for, ten a second: a version with many values must not delay a revocation."""


class Use(Enum):
    """How a secret's current value uses a key."""

    NONE = auto()
    CURRENT = auto()
    """In the tagged field: consumers need a new key."""
    OTHER_FIELD = auto()
    UNKNOWN = auto()
    """The value could not be read."""


@dataclass(frozen=True, slots=True)
class VersionKeys:
    """The keys that one version of a secret contains.

    :param unproven: keys that only a label connects with it, each with the error that says so.
    :param errors: a sentence for each value whose look-up failed.
    """

    keys: tuple[Suspect, ...] = ()
    unproven: tuple[tuple[Suspect, str], ...] = ()
    errors: tuple[str, ...] = ()


@dataclass
class Facts:
    """The data read by one command: each version, and each current value, once.

    :param accounts: the Infobip accounts and the secrets here, as listed.
    """

    accounts: Accounts
    _contents: Mapping[str, Secret | StoreError] | None = field(default=None, repr=False)
    _versions: dict[tuple[str, str, frozenset[str]], VersionKeys] = field(default_factory=dict, repr=False)

    # ---- which keys a secret contains -------------------------------------------------------------------------------

    def keys_of(self, entry: SecretEntry) -> VersionKeys:
        """Every key that a labelled version of a secret contains, the current one first, and what is unknown."""
        life = read_lifecycle(entry)
        retiring = [item.version_id for item in life.retiring]
        order = dict.fromkeys((life.current_version, *retiring, life.pending_version, *sorted(entry.versions)))
        found = [self.version_keys(entry, version) for version in order if version is not None]
        keys: dict[str, Suspect] = {}
        for suspect in (suspect for each in found for suspect in each.keys):
            keys.setdefault(suspect.key.id, suspect)
        unproven = {
            item.key.id: (item, why) for each in found for item, why in each.unproven if item.key.id not in keys
        }
        errors = tuple(error for each in found for error in each.errors)
        return VersionKeys(tuple(keys.values()), tuple(unproven.values()), errors)

    def current_key(self, entry: SecretEntry) -> Suspect:
        """The key in the tagged field of ``AWSCURRENT``.

        :raises RotatorError: it cannot be identified.
        """
        life = read_lifecycle(entry)
        if life.current_version is None:
            raise Refused(f"{entry.name} has no value to replace", reason=Reason.EMPTY)
        found = self.version_keys(entry, life.current_version)
        current = next((suspect for suspect in found.keys if suspect.role == KeyRole.CURRENT), None)
        if current is None:
            labelled = (suspect.key.id for suspect, _ in found.unproven)
            errors = (*found.errors, *(f"only its label names key {key_id}" for key_id in labelled))
            why = "; ".join(error.removesuffix(".") for error in errors) or "its value is not a key here"
            raise Refused(f"the current key of {entry.name} can't be identified: {why}", reason=Reason.UNADOPTED)
        return current

    def version_keys(self, entry: SecretEntry, version: str) -> VersionKeys:
        """The keys that one version contains, and what is unknown."""
        about = (entry.arn, version, entry.versions[version])
        if about not in self._versions:
            self._versions[about] = _Search(self.accounts, entry, version).result()
        return self._versions[about]

    # ---- which secrets use a key ------------------------------------------------------------------------------------

    def contents(self) -> Mapping[str, Secret | StoreError]:
        """The current content of every secret here, by ARN; read once."""
        if self._contents is None:
            arns = [entry.arn for entry in self.accounts.fleet.every() if entry.deleted_at is None]
            try:
                self._contents = self.accounts.services.store.read_many(arns)
            except StoreError as error:
                self._contents = dict.fromkeys(arns, error)
        return self._contents

    def forget(self) -> None:
        """Discard the current values, because a secret was changed; they are read again when needed."""
        self._contents = None

    def use(self, entry: SecretEntry, located: Located) -> Use:
        """How a secret's current value uses a key: by the value, or by its label if the value can't be compared."""
        content, labelled = self.contents().get(entry.arn), located.id in read_lifecycle(entry).at_work
        if not isinstance(content, Secret):
            unknown = Use.UNKNOWN if content is not None or entry.deleted_at is not None else Use.NONE
            return Use.CURRENT if labelled else unknown
        tagged = _tagged_value(entry, content)
        if located.value is None:  # Infobip masks values: only a search shows which key a value is
            found = None
            if tagged is not None and not labelled and read_lifecycle(entry).unlabelled:
                with suppress(RotatorError):
                    found = self.accounts.with_value(tagged, account_of(entry.tags))
            return Use.CURRENT if labelled or (found is not None and found.id == located.id) else Use.NONE
        if tagged == located.value:
            return Use.CURRENT
        return Use.OTHER_FIELD if contains(content, located.value) else Use.NONE

    def now(self, account: str | None) -> datetime:
        """The time by Infobip's clock, or by this machine's if the account can't be asked."""
        with suppress(RotatorError):
            return self.accounts.clock(account or "").now()
        return self.accounts.services.clock.now()

    def at_infobip(self, moment: datetime, account: str | None) -> datetime:
        """A moment of this machine's clock by Infobip's, in whole seconds as in ``validFrom``."""
        return (moment + (self.now(account) - self.accounts.services.clock.now())).replace(microsecond=0)


@dataclass
class _Search:
    """The search for the keys of one version: by its values, and by an ownership proof for those that labels name.

    :param lost: why the look-up of the value in the tagged field failed.
    """

    accounts: Accounts
    entry: SecretEntry
    version: str
    found: dict[str, Suspect] = field(default_factory=dict)
    unproven: list[tuple[Suspect, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: str = ""

    @property
    def where(self) -> str:
        """The version, for messages."""
        return f"version {printable(self.version, 64)} of {self.entry.name}"

    def result(self) -> VersionKeys:
        """Search."""
        content = self._read()
        self._by_value(content)
        for key_id in sorted(_labelled(self.entry.versions[self.version]) - self.found.keys()):
            self._by_label(key_id, content)
        if self.lost and not self.found and not self.unproven:
            self.errors.append(f"could not look up the key in {self.where} in every account")
        return VersionKeys(tuple(self.found.values()), tuple(self.unproven), tuple(self.errors))

    def _read(self) -> Secret | None:
        try:
            return self.accounts.services.store.read_content(self.entry.arn, self.version)
        except SecretNotFound:
            return None  # an empty version
        except StoreError as error:
            text = f"{self.where} could not be read, so other keys in it were not revoked: {error}"
            self.errors.append(text)
            return None

    def _by_value(self, content: Secret | None) -> None:
        is_current = self.version == read_lifecycle(self.entry).current_version
        tagged = _tagged_value(self.entry, content)
        values = _values(tagged, content)
        for value in islice(values, MOST_VALUES):
            is_tagged = tagged is not None and value == tagged
            try:
                located = self.accounts.with_value(value, account_of(self.entry.tags))
            except RotatorError as error:
                if is_tagged:
                    self.lost = error.message
                else:
                    self.errors.append(f"could not look up a value in {self.where}: {error.message}")
                continue
            if located is not None:
                self.found.setdefault(located.id, Suspect.of(self.entry, self.version, located, tagged=is_tagged))
            elif is_current or not is_tagged:
                text = f"a value in {self.where} is not a key of any configured account, so it was not revoked"
                self.errors.append(text)
        if next(values, None) is not None:
            text = f"{self.where} contains more than {MOST_VALUES} key values; revoke the others by their value"
            self.errors.append(text)

    def _by_label(self, key_id: str, content: Secret | None) -> None:
        located, why = self._labelled_key(key_id, content)
        suspect = Suspect.of(self.entry, self.version, located)
        if not why:
            self.found[key_id] = suspect
        elif located.key.enabled:
            held = next((each for each in self.found.values() if each.role != KeyRole.OTHER_FIELD), None)
            why = f"its value is key {held.key.id}" if held is not None else why
            text = (
                f"key {key_id}, named by a label of {self.entry.name}, was not revoked: it is not proven to belong to "
                f"this secret ({why}). If it leaked, run `rotator revoke --key-id {key_id} --account "
                f"{printable(located.account or 'ACCOUNT')}`."
            )
            self.unproven.append((suspect, text))

    def _labelled_key(self, key_id: str, content: Secret | None) -> tuple[Located, str]:
        """The key that a label names, and why there is no ownership proof; ``""`` if there is one."""
        entry, version, deployment = self.entry, self.version, self.accounts.services.policy.deployment
        account = account_of(entry.tags) or ""
        keys: dict[str, Key] = {}
        with suppress(RotatorError, ValueError):  # ValueError: not a version id of the rotator
            name = key_name(entry.name, entry.arn, deployment, version)
            keys = {key.id: key for key in self.accounts.provider(account).find_by_name(name)}
        located, why = None, "it was not found in any configured account"
        try:
            located = Located(account, keys[key_id]) if key_id in keys else self.accounts.with_id(key_id, account)
        except RotatorError as failure:
            why = failure.message
        if located is None:
            return Located.unread(account, key_id), why
        held = {}
        if located.value is not None and content is not None and contains(content, located.value):
            held = {(entry.arn, version): Resolution(key_id)}
        snapshot = AccountSnapshot(located.account, (entry,), {**keys, key_id: located.key}, values=held)
        if Ownership(snapshot, deployment).of(entry, version, key_id).ok:
            return located, ""
        if content is None:
            return located, "its value can't be read"
        return located, f"could not look up its value: {self.lost}" if self.lost else "its value is a different key"


def _tagged_value(entry: SecretEntry, content: Secret | None) -> Secret | None:
    """The value in the tagged field, if it can be read."""
    if content is None:
        return None
    with suppress(BadSecretValue):
        return key_in(content, entry)
    return None


def _values(tagged: Secret | None, content: Secret | None) -> Iterator[Secret]:
    """Every value in a version that may be a key, the tagged one first, each once."""
    if tagged is not None:
        yield tagged
    for value in keys_in(content) if content is not None else ():
        if tagged is None or value != tagged:
            yield value


def _labelled(labels: frozenset[str]) -> set[str]:
    """The keys that a version's labels name."""
    retiring = {parsed[0] for label in labels if (parsed := parse_retire_label(label)) is not None}
    return retiring | {key_id for label in labels if (key_id := parse_key_label(label)) is not None}
