"""What the rotator assumes of Infobip, tried with two keys of the rehearsal's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import InfobipClock
from rotator.engine.probing import PROPAGATION, probe_until
from rotator.engine.rehearsal.assumptions import CheckedAssumption, checked
from rotator.errors import ContractViolation, InvalidRequest, KeyNotFound, RotatorError
from rotator.key_format import random_value
from rotator.model import Key
from rotator.policy.clock_skew import MAX_SKEW
from rotator.ports import FetchedKey, KeyProvider, KeyRequest, Probe, ProbeVerdict
from rotator.secret import Secret

LIFETIME: Final = timedelta(days=1)
"""How long the test keys are valid, if everything else fails."""
POLL: Final = 1.0
"""Seconds between two probes at most. A change that takes less is known at once."""


@dataclass
class InfobipChecks:
    """The checks of one account.

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
