"""What the rotator assumes of Secrets Manager, tried with the rehearsal's own secret."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rotator.engine.rehearsal.assumptions import AWS, Row, Verdict
from rotator.errors import PreconditionFailed, StoreError
from rotator.policy.labels import CURRENT
from rotator.ports import Clock, RehearsalStore
from rotator.secret import Secret

LABEL: Final = "rehearsal"
SHOWN_WITHIN: Final = 30
"""Seconds for which a change is awaited in ``ListSecrets``."""


def row(assumption: str, holds: bool, seen: str = "") -> Row:
    """Make a row of :data:`AWS`."""
    return Row(AWS[assumption], Verdict.HOLDS if holds else Verdict.DIFFERS, seen)


@dataclass
class AwsChecks:
    """The checks of one region, with values that are not keys."""

    store: RehearsalStore
    clock: Clock
    arn: str

    def rows(self) -> Iterator[Row]:
        """Try each assumption.

        :raises StoreError: a call failed; the rest is not tested.
        """
        current = self._current()
        if current is None:
            current = self._stage(str(uuid.uuid4()))
        new, value = str(uuid.uuid4()), f"rehearsal {uuid.uuid4()}"
        self.store.stage(self.arn, new, Secret(value), (LABEL,))
        yield row("stage", LABEL in self.store.describe(self.arn).versions.get(new, frozenset()))
        self.store.promote(self.arn, new, current)
        swapped = self.store.describe(self.arn).versions.get(new, frozenset())
        yield row("labels", {LABEL, CURRENT} <= swapped)
        yield row("consumer", self.store.read_current(self.arn).text.reveal() == value)
        yield self._stale_swap(current)
        yield self._batch()
        yield self._listed(new)

    def _stale_swap(self, old: str) -> Row:
        """Move ``AWSCURRENT`` away from a version that lost it, to a version that is not current either."""
        third = self._stage(str(uuid.uuid4()))
        try:
            self.store.promote(self.arn, third, old)
        except PreconditionFailed:
            return row("swap", True)
        return row("swap", False, "it was moved")

    def _batch(self) -> Row:
        try:
            self.store.read_batch([self.arn])
        except StoreError as error:
            return row("batch", False, type(error).__name__)
        return row("batch", True)

    def _listed(self, version: str) -> Row:
        begun = self.clock.monotonic()
        while True:
            entries = {entry.arn: entry for entry in self.store.rehearsals()}
            waited = self.clock.monotonic() - begun
            if self.arn in entries and CURRENT in entries[self.arn].versions.get(version, frozenset()):
                return row("list-delay", waited < 1, f"after {waited:.0f} s")
            if waited >= SHOWN_WITHIN:
                return row("list-delay", False, f"not within {SHOWN_WITHIN} s")
            self.clock.sleep(1)

    def _current(self) -> str | None:
        versions = self.store.describe(self.arn).versions
        return next((version for version, labels in versions.items() if CURRENT in labels), None)

    def _stage(self, version: str) -> str:
        self.store.stage(self.arn, version, Secret(f"rehearsal {version}"), (f"{LABEL}-{version[:8]}",))
        return version
