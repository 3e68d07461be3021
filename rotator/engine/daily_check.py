"""The daily verification: compares each secret's value with its label once a day, after a sweep's due work.

A first check compares the key in the tagged field with the label: by its digest if Infobip's list shows values, else
by a search at Infobip. If they differ, a second check describes the secret again, reads exactly that version and
searches for its key. Only if it says the same is the label corrected or removed. A search that fails, is throttled or
is inconclusive changes nothing: the value is verified on the next day, and an alert counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext
from rotator.engine.secret_changes import require_managed
from rotator.engine.version_values import ABOUT_ONE_VALUE, MAX_SILENT, key_in, resolve_version
from rotator.errors import BadSecretValue, ProviderError, ProviderUnavailable, RotatorError, StoreError
from rotator.message import KeyId, Message
from rotator.model import Resolution, SecretEntry, Which
from rotator.plan import Action, ActionKind, Alert, Result, Severity
from rotator.policy.daily_selection import only_reported
from rotator.policy.labels import key_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.rules import Decision, make_view
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.text import some_of

BATCH: Final = 20
"""Secrets that AWS reads in one call."""
LONGEST: Final = timedelta(minutes=2)
"""How long the verification of one account may take in a sweep."""
SEARCH_INTERVAL: Final = 0.1
"""Seconds between two searches: Infobip allows 10 a second."""
MAX_CONTROLS: Final = 3
"""Values of other secrets that are searched for, to see whether Infobip finds keys by their values at all."""
_NAMED: Final = 3
_NO_TIME: Final = "the process is about to end"
_TOO_LONG: Final = "it took longer than two minutes"


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """A secret whose value seems not to be its label's key.

    :param key_id: the key that a search found; ``searched``: whether there was one.
    """

    entry: SecretEntry
    key_id: str | None = None
    searched: bool = False


@dataclass(slots=True)
class DailyCheck:
    """One account's verification in one sweep.

    :param results: labels that were corrected or removed, or could not be.
    :param alerts: what was found, and one alert for values that could not be verified.
    """

    context: AccountContext
    results: list[Result] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    _omitted: dict[Which, str] = field(default_factory=dict)
    _ended: str = ""
    _begun: float = 0.0
    _last_search: float | None = None
    _search_works: bool | None = None
    _silent: int = 0

    def run(self, entries: Sequence[SecretEntry]) -> None:
        """Verify these secrets. Never raises for Infobip's or AWS's errors."""
        self._begun = self.context.services.clock.monotonic()
        doubtful: list[_Doubtful] = []
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            contents = self._read(batch)
            checks = (self._first_check(entry, contents.get(entry.arn)) for entry in batch)
            doubtful += [found for found in checks if found is not None]
        for found in doubtful:
            if self._may_go_on(found.entry):
                try:
                    self._second_check(found)
                except RotatorError as error:
                    self._omit(found.entry, error)
        self._report_omitted()

    def _may_go_on(self, entry: SecretEntry) -> bool:
        services = self.context.services
        if not self._ended and not services.may_start():
            self._ended = _NO_TIME
        if not self._ended and services.clock.monotonic() - self._begun > LONGEST.total_seconds():
            self._ended = _TOO_LONG
        if self._ended:
            self._omitted[entry.which] = self._ended
        return not self._ended

    def _omit(self, entry: SecretEntry, error: RotatorError) -> None:
        """Note why a value is not verified today; an error of Infobip's that is not about one value ends it all."""
        self._omitted[entry.which] = str(error)
        self._silent += isinstance(error, ProviderUnavailable)
        ends = isinstance(error, ProviderError) and not isinstance(error, (*ABOUT_ONE_VALUE, ProviderUnavailable))
        if ends or self._silent >= MAX_SILENT:
            self._ended = str(error)

    # ---- the first check ---------------------------------------------------------------------------------------------

    def _read(self, batch: Sequence[SecretEntry]) -> Mapping[str, Secret | StoreError]:
        arns = [entry.arn for entry in batch if self._may_go_on(entry)]
        try:
            return self.context.services.store.read_many(arns) if arns else {}
        except StoreError as error:
            return dict.fromkeys(arns, error)

    def _first_check(self, entry: SecretEntry, content: Secret | StoreError | None) -> _Doubtful | None:
        """Return what a value seems to be, if that is another key than its label says, or none."""
        if content is None:  # it has no value now, or was not read
            return None
        if isinstance(content, StoreError):
            self._omit(entry, content)
            return None
        label = read_lifecycle(entry).current_key
        try:
            key = key_in(content, entry)
        except BadSecretValue:
            return _Doubtful(entry)
        digest = self.context.snapshot.keys[label].digest if label is not None else None
        if digest is not None:
            return None if digest == key.digest() else _Doubtful(entry)
        if not self._may_go_on(entry):
            return None
        try:
            found = self._search(key)
        except ProviderError as error:
            self._omit(entry, error)
            return None
        return None if found == label else _Doubtful(entry, found, searched=True)

    def _search(self, key: Secret) -> str | None:
        """The id of the key that has a value; one search at Infobip, not sooner than its limit allows.

        :raises ProviderError: the answer is missing or inconclusive.
        """
        clock = self.context.services.clock
        if self._last_search is not None:
            clock.sleep(max(0.0, self._last_search + SEARCH_INTERVAL - clock.monotonic()))
        self._last_search = clock.monotonic()
        found = self.context.provider.find_by_value(key, alone=True)
        if found is None:
            return None
        self._search_works = True
        return found.id

    # ---- the second check --------------------------------------------------------------------------------------------

    def _second_check(self, first: _Doubtful) -> None:
        """Find out by fresh reads which key a value is, and correct or remove the label that it contradicts.

        :raises RotatorError: it can't be found out; nothing was changed.
        """
        context, life = self.context, read_lifecycle(first.entry)
        version, label = life.current_version, life.current_key
        entry = context.services.store.describe(first.entry.arn)
        require_managed(entry, context.account, despite_hold=True)
        fresh = read_lifecycle(entry)
        if version is None or label is None or (fresh.current_version, fresh.current_key) != (version, label):
            return  # changed since the listing, by this sweep's own work for example
        # The version is named, so that a promotion in between does not replace the value that is read.
        found = resolve_version(context.services.store, context.provider, entry, version)
        if found.key_id == label:
            return
        if found.unreadable:
            self._omitted[entry.which] = found.problem
        elif first.searched and found.key_id != first.key_id:
            self._omitted[entry.which] = "two searches at Infobip for the same value found different keys"
        elif found.key_id is None and not self._finds_keys(label):
            self._omitted[entry.which] = "Infobip finds no key by its value, not even those of other secrets"
        else:
            self._correct(entry, version, label, found)

    def _finds_keys(self, label: str) -> bool:
        """Whether it means something that a search found no key.

        It does if the list shows the labelled key's value, which is another one; or if a search found a key. Values of
        other secrets are searched for if none has; an account without another labelled secret has nothing to try.
        """
        context = self.context
        if context.snapshot.keys[label].digest is not None:
            return True
        if self._search_works is None:
            others = [
                entry
                for entry in context.snapshot.secrets
                if entry.deleted_at is None
                and (other := read_lifecycle(entry).current_key) != label
                and other in context.snapshot.keys
            ]
            self._search_works = not others
            for entry in others[:MAX_CONTROLS]:
                content = context.services.store.read_current(entry.arn).text
                try:
                    key = key_in(content, entry)
                except BadSecretValue:
                    continue
                if self._search(key) is not None:
                    break
        return self._search_works

    def _correct(self, entry: SecretEntry, version: str, label: str, found: Resolution) -> None:
        context = self.context
        stays = only_reported(make_view(context.snapshot, entry), context.now())
        self._alert(entry, label, found, stays)
        if stays is not None:
            return
        action = Action(
            ActionKind.LABEL,
            context.account,
            entry.name,
            Reason.MISLABELLED,
            context.now(),
            key_id=found.key_id,
            version_id=version,
            message=self.alerts[-1].message,
            arn=entry.arn,
            label=key_label(label) if found.key_id is None else None,
            location=entry.location,
        )
        result, error = apply(context, action)
        self.results.append(result)
        if error is not None:
            self._omit(entry, error)

    # ---- the messages -----------------------------------------------------------------------------------------------

    def _alert(self, entry: SecretEntry, label: str, found: Resolution, stays: Decision | None) -> None:
        """Report a label that its value contradicts, and what becomes of it."""
        if found.key_id is not None:
            template = "the label names key {label}; the value is key {key}"
            then, severity = "; the label is corrected", Severity.WARNING
        else:
            template = "the label names key {label}, and the value is not that key: {problem}"
            then, severity = "; the label is removed, and the secret is skipped until its key is known", Severity.ERROR
        values = {"label": KeyId(label), "key": KeyId(found.key_id or ""), "problem": found.problem}
        if stays is not None:
            then, severity = "; the label is kept while the secret is skipped ({reason})", Severity.ERROR
            values["reason"] = stays.reason
        message = Message.of(template + then, **values)
        self.alerts.append(Alert(Reason.UNPROVEN_LABEL, message, entry.name, label, severity, location=entry.location))

    def _report_omitted(self) -> None:
        """Report values that could not be verified today, in one alert."""
        if not self._omitted:
            return
        omitted = sorted(self._omitted, key=str)
        message = Message.of(
            "{names} could not be verified today, so a wrong label may go unnoticed for another day: {problem}",
            names=some_of((str(name) for name, _ in omitted), _NAMED),
            problem=self._omitted[omitted[0]],
        )
        name, location = omitted[0] if len(omitted) == 1 else (None, None)
        self.alerts.append(Alert(Reason.UNREADABLE, message, name, count=len(omitted), location=location))
