"""What the rotator assumes of Infobip, tried with two keys of the rehearsal's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.rehearsal.assumptions import INFOBIP, Row, Verdict
from rotator.errors import ContractViolation, InvalidRequest, KeyNotFound, RotatorError
from rotator.model import Key
from rotator.policy.clock_skew import MAX_SKEW
from rotator.ports import Clock, FetchedKey, KeyProvider, KeyRequest, Probe, ProbeVerdict
from rotator.secret import Secret

CREATES: Final = 2
UPDATES: Final = 3
LIFETIME: Final = timedelta(days=1)
"""How long the test keys are valid, if everything else fails."""
PATIENCE: Final = timedelta(seconds=60)
"""How long a change may take to affect authentication: as long as a rotation and an emergency wait."""
POLL: Final = 1.0
"""Seconds between two probes."""


def row(assumption: str, holds: bool | None, seen: str = "") -> Row:
    """Make a row of :data:`INFOBIP`; ``None`` is "could not be tested"."""
    verdict = Verdict.UNTESTED if holds is None else Verdict.HOLDS if holds else Verdict.DIFFERS
    return Row(INFOBIP[assumption], verdict, seen)


@dataclass
class InfobipChecks:
    """The checks of one account.

    :param name: the name of the test keys; both get the same one.
    """

    provider: KeyProvider
    clock: Clock
    name: str
    scopes: frozenset[str]
    path: str

    def rows(self) -> Iterator[Row]:
        """Try each assumption. What a failure makes impossible is left out; the caller reports it as not tested."""
        request = KeyRequest(self.name, self._in(LIFETIME), self.scopes, account_id=self.provider.account_id)
        try:
            first = self.provider.create_key(request)
        except RotatorError as error:
            yield replace(row("role", False, type(error).__name__), error=str(error))
            return
        yield row("role", True)
        yield self._clock()
        yield row("create-value", first.value is not None, "" if first.value is not None else "it was masked")
        fetched = self.provider.get_key(first.key.id)
        yield row("read-value", fetched.value is not None, "" if fetched.value is not None else "it was masked")
        same = fetched.key.valid_to == request.valid_to
        yield row("times", same, "" if same else _difference(fetched.key, request))
        yield row("rights", fetched.key.scopes == request.scopes and not fetched.key.allowed_ips)
        value = first.value or fetched.value
        if value is not None:
            yield from self._accepted(value)
            yield self._attempt("value-search", lambda: self._found(value, first.key.id))
        yield self._attempt("value-filter", self._unknown_value)
        yield from self._names(request, first.key)
        yield self._attempt("total-count", self._count)
        yield from self._disabled(first, value)

    def _clock(self) -> Row:
        skew = self.provider.skew()
        if skew is None:
            return row("clock", False, "no Date header")
        return row("clock", abs(skew) <= MAX_SKEW, f"{abs(skew).total_seconds():.0f} s")

    def _accepted(self, value: Secret) -> Iterator[Row]:
        probe, after = self._wait(value, ProbeVerdict.AUTHENTICATES)
        works = probe.verdict is ProbeVerdict.AUTHENTICATES
        yield row("probe", works, probe.detail)
        if works:
            yield row("probe-at-once", after < POLL, f"after {after:.0f} s")
            forbidden = "403" in probe.detail
            yield row("missing-scope", True if forbidden else None, "" if forbidden else "the scopes include it")

    def _found(self, value: Secret, key_id: str) -> Row:
        found = self.provider.find_by_value(value, alone=True)
        return row("value-search", found is not None and found.id == key_id, "" if found else "it was not found")

    def _unknown_value(self) -> Row:
        return row("value-filter", self.provider.find_by_value(Secret(f"{uuid.uuid4().hex}-{uuid.uuid4()}")) is None)

    def _names(self, request: KeyRequest, first: Key) -> Iterator[Row]:
        found = self.provider.find_by_name(request.name[:-1], request.account_id, exact=False)
        ignored = any(not key.name.startswith(request.name[:-1]) for key in found)
        how = "the filter is ignored" if ignored else "it returns names that contain the text"
        exact = {key.id for key in self.provider.find_by_name(request.name, request.account_id)}
        yield row("name-filter", not found and exact == {first.id}, how if found else "")
        try:
            self.provider.create_key(request)
        except RotatorError as error:
            yield row("names", False, type(error).__name__)
        else:
            yield row("names", True)

    def _count(self) -> Row:
        listing, total = self.provider.list_keys(), self.provider.count_keys()
        return row("total-count", listing.complete and total == len(listing.keys))

    def _disabled(self, made: FetchedKey, value: Secret | None) -> Iterator[Row]:
        before = self.provider.get_key(made.key.id).key
        self.provider.revoke_key(before, self._in(timedelta(0)))
        try:
            after = self.provider.get_key(made.key.id).key
        except KeyNotFound as error:
            yield replace(row("update-keeps", False, "the account no longer shows the key"), error=str(error))
            return
        kept = replace(after, enabled=True, valid_to=before.valid_to, value_readable=before.value_readable)
        changed = [name for name in _COMPARED if getattr(kept, name) != getattr(before, name)]
        yield row("update-keeps", not changed, f"changed: {', '.join(changed)}" if changed else "")
        counts = [self.provider.count_keys(enabled=enabled) or 0 for enabled in (True, False)]
        yield row("enabled-filter", sum(counts) == self.provider.count_keys())
        if value is not None:
            probe, waited = self._wait(value, ProbeVerdict.REJECTED)
            refused = probe.verdict is ProbeVerdict.REJECTED
            yield row("disabled-refused", refused, f"after {waited:.0f} s" if refused else probe.detail)
            if refused:
                yield row("disabled-at-once", waited < POLL, f"after {waited:.0f} s")
        yield self._attempt("disable-twice", lambda: self._disable_again(after))

    def _disable_again(self, key: Key) -> Row:
        try:
            self.provider.revoke_key(key, self._in(timedelta(0)))
        except InvalidRequest as error:
            return replace(row("disable-twice", False, "it was rejected"), error=str(error))
        return row("disable-twice", not self.provider.get_key(key.id).key.enabled)

    def _attempt(self, assumption: str, check: Callable[[], Row]) -> Row:
        """Run a check whose failure is the answer."""
        try:
            return check()
        except ContractViolation:
            return row(assumption, False, "the response was inconclusive")

    def _wait(self, value: Secret, wanted: ProbeVerdict) -> tuple[Probe, float]:
        """Probe until the verdict is the wanted one; returns the last probe and the seconds that it took."""
        begun = self.clock.monotonic()
        while True:
            probe, waited = self.provider.probe(value, self.path), self.clock.monotonic() - begun
            if probe.verdict is wanted or probe.lasting or waited >= PATIENCE.total_seconds():
                return probe, waited
            self.clock.sleep(POLL)

    def _in(self, length: timedelta) -> datetime:
        now = self.clock.now() + (self.provider.skew() or timedelta(0))
        return (now + length).replace(microsecond=0)


_COMPARED: Final = ("name", "account_id", "valid_from", "scopes", "permissions", "allowed_ips", "platform")


def _difference(key: Key, request: KeyRequest) -> str:
    if key.valid_to is None:
        return "without an expiry"
    return f"{(key.valid_to - request.valid_to).total_seconds():+.0f} s"
