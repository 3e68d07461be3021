"""What the rotator assumes of Secrets Manager, tried with the rehearsal's own secret."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rotator.engine.rehearsal.assumptions import CheckedAssumption, checked
from rotator.errors import PreconditionFailed, StoreDenied, StoreError
from rotator.policy.labels import CURRENT
from rotator.ports import Clock, RehearsalStore
from rotator.secret import Secret

LABEL: Final = "rehearsal"
SHOWN_WITHIN: Final = 30
"""Seconds for which a change is awaited in ``ListSecrets``."""


@dataclass
class AwsChecks:
    """The checks of one region, with values that are not keys."""

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
