"""The checks: the assumptions about Infobip and Secrets Manager, each tried with calls, and the real flow, once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import InfobipClock, Services
from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.probing import PROPAGATION, probe_until
from rotator.engine.reconcile import Reconciler
from rotator.engine.rehearsal.assumptions import CheckedAssumption, checked
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.engine.version_values import key_in
from rotator.errors import (
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    PreconditionFailed,
    Refused,
    RotatorError,
    StoreDenied,
    StoreError,
)
from rotator.key_format import random_value
from rotator.model import Key
from rotator.plan import ActionKind, Outcome, Result
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.labels import CURRENT
from rotator.policy.tags import GRACE_TAG, SHORT_GRACE_TAG
from rotator.ports import Clock, FetchedKey, KeyProvider, KeyRequest, Probe, ProbeVerdict, RehearsalStore
from rotator.secret import Secret

LIFETIME: Final = timedelta(days=1)
"""How long the test keys are valid, if everything else fails."""
POLL: Final = 1.0
"""Seconds between two probes at most. A change that takes less is known at once."""
LABEL: Final = "rehearsal"
SHOWN_WITHIN: Final = 30
"""Seconds for which a change is awaited in ``ListSecrets``."""
REASON: Final = "rehearsal"
SHORT_GRACE: Final = {GRACE_TAG: "1s", SHORT_GRACE_TAG: "true"}
AFTER_GRACE: Final = 3.0
"""Seconds after which a key with such a grace period is due: labels have whole seconds, rounded up."""


@dataclass
class InfobipChecks:
    """The checks of one account, with two keys of the rehearsal's own.

    :param name: the name of the test keys; both get the same one.
    """

    provider: KeyProvider
    clock: InfobipClock
    name: str
    scopes: frozenset[str]
    path: str

    def rows(self) -> Iterator[CheckedAssumption]:
        """Try each assumption. What a failure makes impossible is left out; the caller reports it as not tested."""
        try:
            yield from self._rows()
        finally:  # a 429 may have been that failure
            named = self.provider.named_wait
            yield checked("retry-after", named, "no 429 came" if named is None else "")

    def _rows(self) -> Iterator[CheckedAssumption]:
        request = KeyRequest(self.name, self._in(LIFETIME), self.scopes, account_id=self.provider.account_id)
        try:
            first = self.provider.create_key(request)
        except RotatorError as error:
            yield checked("role", False, error=error)
            return
        yield checked("role", True)
        yield self._clock()
        yield checked("create-value", first.value is not None, "" if first.value is not None else "it was masked")
        fetched = self.provider.get_key(first.key.id)
        yield checked("read-value", fetched.value is not None, "" if fetched.value is not None else "it was masked")
        same = fetched.key.valid_to == request.valid_to
        yield checked("times", same, "" if same else _difference(fetched.key, request))
        yield checked("rights", fetched.key.scopes == request.scopes and not fetched.key.allowed_ips)
        value = first.value or fetched.value
        if value is not None:
            yield from self._accepted(value)
            yield self._attempt("value-search", lambda: self._found(value, first.key.id))
        yield self._attempt("value-filter", self._unknown_value)
        yield from self._names(request, first.key)
        yield self._attempt("total-count", self._count)
        yield from self._disabled(first, value)

    def _clock(self) -> CheckedAssumption:
        skew = self.provider.skew()
        if skew is None:
            return checked("clock", False, "no Date header")
        return checked("clock", abs(skew) <= MAX_SKEW, f"{abs(skew).total_seconds():.0f} s")

    def _accepted(self, value: Secret) -> Iterator[CheckedAssumption]:
        probe, after = self._wait(value, ProbeVerdict.AUTHENTICATES)
        works = probe.verdict is ProbeVerdict.AUTHENTICATES
        yield checked("probe", works, probe.detail)
        if works:
            yield checked("probe-at-once", after < POLL, f"after {after:.0f} s")
            forbidden = "403" in probe.detail
            yield checked("missing-scope", True if forbidden else None, "" if forbidden else "the scopes include it")

    def _found(self, value: Secret, key_id: str) -> CheckedAssumption:
        found = self.provider.find_by_value(value, alone=True)
        return checked("value-search", found is not None and found.id == key_id, "" if found else "it was not found")

    def _unknown_value(self) -> CheckedAssumption:
        return checked("value-filter", self.provider.find_by_value(Secret(random_value())) is None)

    def _names(self, request: KeyRequest, first: Key) -> Iterator[CheckedAssumption]:
        found = self.provider.find_by_name(request.name[:-1], request.account_id, exact=False)
        ignored = any(not key.name.startswith(request.name[:-1]) for key in found)
        how = "the filter is ignored" if ignored else "it returns names that contain the text"
        exact = {key.id for key in self.provider.find_by_name(request.name, request.account_id)}
        yield checked("name-filter", not found and exact == {first.id}, how if found else "")
        try:
            self.provider.create_key(request)
        except RotatorError as error:
            yield checked("names", False, type(error).__name__)
        else:
            yield checked("names", True)

    def _count(self) -> CheckedAssumption:
        listing, total = self.provider.list_keys(), self.provider.count_keys()
        return checked("total-count", listing.complete and total == len(listing.keys))

    def _disabled(self, made: FetchedKey, value: Secret | None) -> Iterator[CheckedAssumption]:
        before = self.provider.get_key(made.key.id).key
        self.provider.revoke_key(before, self._in(timedelta(0)))
        try:
            after = self.provider.get_key(made.key.id).key
        except KeyNotFound as error:
            yield checked("update-keeps", False, "the account no longer shows the key", error)
            return
        kept = replace(after, enabled=True, valid_to=before.valid_to, value_readable=before.value_readable)
        changed = [name for name in _COMPARED if getattr(kept, name) != getattr(before, name)]
        yield checked("update-keeps", not changed, f"changed: {', '.join(changed)}" if changed else "")
        counts = [self.provider.count_keys(enabled=enabled) or 0 for enabled in (True, False)]
        yield checked("enabled-filter", sum(counts) == self.provider.count_keys())
        if value is not None:
            probe, waited = self._wait(value, ProbeVerdict.REJECTED)
            refused = probe.verdict is ProbeVerdict.REJECTED
            yield checked("disabled-refused", refused, f"after {waited:.0f} s" if refused else probe.detail)
            if refused:
                yield checked("disabled-at-once", waited < POLL, f"after {waited:.0f} s")
        yield self._attempt("disable-twice", lambda: self._disable_again(after))

    def _disable_again(self, key: Key) -> CheckedAssumption:
        try:
            self.provider.revoke_key(key, self._in(timedelta(0)))
        except InvalidRequest as error:
            return checked("disable-twice", False, "it was rejected", error)
        return checked("disable-twice", not self.provider.get_key(key.id).key.enabled)

    def _attempt(self, assumption: str, check: Callable[[], CheckedAssumption]) -> CheckedAssumption:
        """Run a check whose failure is the answer."""
        try:
            return check()
        except ContractViolation:
            return checked(assumption, False, "the response was inconclusive")

    def _wait(self, value: Secret, wanted: ProbeVerdict) -> tuple[Probe, float]:
        """Probe until the verdict is the wanted one; returns the last probe and the seconds that it took."""
        begun, until = self.clock.monotonic(), self.clock.now() + PROPAGATION
        probe = probe_until(self.provider, self.clock, value, self.path, wanted, until, longest=POLL)
        return probe, self.clock.monotonic() - begun

    def _in(self, length: timedelta) -> datetime:
        return (self.clock.now() + length).replace(microsecond=0)


_COMPARED: Final = ("name", "account_id", "valid_from", "scopes", "permissions", "allowed_ips", "platform")


def _difference(key: Key, request: KeyRequest) -> str:
    if key.valid_to is None:
        return "without an expiry"
    return f"{(key.valid_to - request.valid_to).total_seconds():+.0f} s"


@dataclass
class AwsChecks:
    """The checks of one region, with the rehearsal's own secret and values that are not keys."""

    store: RehearsalStore
    clock: Clock
    arn: str

    def rows(self) -> Iterator[CheckedAssumption]:
        """Try each assumption.

        :raises StoreError: a call failed; the rest is not tested.
        """
        try:
            yield from self._rows()
            self.store.version_dates(self.arn)
        except StoreDenied as error:
            yield checked("permissions", False, error=error)
            raise
        yield checked("permissions", True)

    def _rows(self) -> Iterator[CheckedAssumption]:
        current = self._current()
        if current is None:
            current = self._stage(str(uuid.uuid4()))
        new, value = str(uuid.uuid4()), f"rehearsal {uuid.uuid4()}"
        self.store.stage(self.arn, new, Secret(value), (LABEL,))
        yield checked("stage", LABEL in self.store.describe(self.arn).versions.get(new, frozenset()))
        self.store.promote(self.arn, new, current)
        swapped = self.store.describe(self.arn).versions.get(new, frozenset())
        yield checked("labels", {LABEL, CURRENT} <= swapped)
        yield self._consumer(value)
        yield self._stale_swap(current)
        yield self._batch()
        yield self._listed(new)

    def _consumer(self, value: str) -> CheckedAssumption:
        """Read the value by default, and as AWS's caches do: the version that ``DescribeSecret`` shows as current."""
        shown = self._current() or ""
        read = (self.store.read_current(self.arn), self.store.read_version(self.arn, shown))
        return checked("consumer", all(each.text.reveal() == value for each in read))

    def _stale_swap(self, old: str) -> CheckedAssumption:
        """Move ``AWSCURRENT`` away from a version that lost it, to a version that is not current either."""
        third = self._stage(str(uuid.uuid4()))
        try:
            self.store.promote(self.arn, third, old)
        except PreconditionFailed:
            return checked("swap", True)
        return checked("swap", False, "it was moved")

    def _batch(self) -> CheckedAssumption:
        try:
            self.store.read_batch([self.arn])
        except StoreError as error:
            return checked("batch", False, error=error)
        return checked("batch", True)

    def _listed(self, version: str) -> CheckedAssumption:
        begun = self.clock.monotonic()
        while True:
            entries = {entry.arn: entry for entry in self.store.rehearsals()}
            waited = self.clock.monotonic() - begun
            if self.arn in entries and CURRENT in entries[self.arn].versions.get(version, frozenset()):
                return checked("list-delay", waited < 1, f"after {waited:.0f} s")
            if waited >= SHOWN_WITHIN:
                return checked("list-delay", False, f"not within {SHOWN_WITHIN} s")
            self.clock.sleep(1)

    def _current(self) -> str | None:
        versions = self.store.describe(self.arn).versions
        return next((version for version, labels in versions.items() if CURRENT in labels), None)

    def _stage(self, version: str) -> str:
        self.store.stage(self.arn, version, Secret(f"rehearsal {version}"), (f"{LABEL}-{version[:8]}",))
        return version


@dataclass
class Flow:
    """The real flow, once: the engine's own code on the rehearsal's secret.

    :param tags: the secret's, as the services' store shows them.
    """

    services: Services
    account: str
    secret: str
    tags: dict[str, str]

    def rows(self) -> Iterator[CheckedAssumption]:
        """Run each step. A failed step ends the flow; the caller reports the others as not tested."""
        steps = {
            "first-key": self._rotate,
            "rotation": self._rotate,
            "rollback": self._rollback,
            "rotation-again": self._rotate_with_short_grace,
            "retirement": self._sweep,
            "emergency": self._emergency,
        }
        for name, step in steps.items():
            try:
                step()
            except RotatorError as error:
                yield checked(name, False, error=error)
                return
            yield checked(name, True)

    def _rotate(self) -> None:
        _demand(rotate_now(self.services, self.secret, REASON), ActionKind.ROTATE)

    def _rotate_with_short_grace(self) -> None:
        self.tags |= SHORT_GRACE
        self._rotate()

    def _rollback(self) -> None:
        rollback(self.services, self.secret, REASON)

    def _sweep(self) -> None:
        self.services.clock.sleep(AFTER_GRACE)
        sweep = Reconciler(self.services).sweep(account=self.account, secret=self.secret)
        if (error := sweep.plan.accounts[0].error) is not None:
            raise Refused(error)
        _demand(sweep.results, ActionKind.REVOKE)

    def _emergency(self) -> None:
        store = self.services.store
        entry = store.describe(self.secret)
        leaked = key_in(store.read_current(entry.arn).text, entry)
        emergency = Emergency(self.services, REASON, None)
        plan = emergency.plan(Target(account=self.account, leaked=leaked), Strategy.REPLACE_FIRST)
        report = emergency.execute(plan)
        if not report.ok or not report.revoked or not report.replaced:
            raise Refused("; ".join(report.errors) or "no key was revoked and replaced")


def _demand(results: Sequence[Result], kind: ActionKind) -> None:
    """Demand that an action of this kind was done, and that none failed.

    :raises Refused: otherwise, with the error of the first that failed.
    """
    failed = next((result for result in results if result.outcome is not Outcome.DONE), None)
    if failed is not None:
        raise Refused(failed.error or f"the action {failed.action.kind} was {failed.outcome}")
    if all(result.action.kind is not kind for result in results):
        raise Refused(f"nothing was done: no action {kind}")
