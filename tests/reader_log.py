"""A log of reads in memory, as CloudTrail shows it: it lags, and can fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.errors import ReadersUnknown
from rotator.model import Read, Reads, SecretEntry, Write
from rotator.ports import Clock

LAG = timedelta(minutes=15)


def role(name: str) -> str:
    """A role's ARN."""
    return f"arn:aws:iam::123456789012:role/{name}"


@dataclass
class MemoryLog:
    """A :class:`rotator.ports.ReaderLog`.

    :param failure: raised instead of an answer.
    :param gap: the gap in every answer.
    :param cut: older reads are not shown.
    :param asked: the secrets that were asked for, and from when on.
    """

    clock: Clock
    failure: ReadersUnknown | None = None
    gap: str = ""
    cut: datetime | None = None
    asked: list[tuple[str, datetime]] = field(default_factory=list)
    _reads: list[tuple[str, Read]] = field(default_factory=list)

    def read(self, secret: str, *names: str, current: bool = True) -> None:
        """Roles read a secret now."""
        self._reads += [(secret, Read(role(name), self.clock.now(), current)) for name in names]

    def reads(self, secret: SecretEntry, since: datetime) -> Reads:
        """See the port."""
        self.asked.append((secret.name, since))
        if self.failure is not None:
            raise self.failure
        since, until = max(since, self.cut or since), self.clock.now() - LAG
        found = tuple(read for name, read in self._reads if name == secret.name and since <= read.at <= until)
        return Reads(found, since, until, self.gap)

    def writes(self, secret: SecretEntry, since: datetime) -> tuple[Write, ...]:
        """See the port."""
        return ()
