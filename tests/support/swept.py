"""What a sweep or a plan wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.commands import Ran


@dataclass(frozen=True)
class Swept(Ran):
    """Of the command line with ``--json``, or of the engine."""

    def alerts(self, kind: str | None = None, secret: str | None = None) -> list[dict[str, Any]]:
        """The alerts of every account in ``--json``, of one kind or about one secret where given."""
        every = [alert for account in self.document["accounts"] for alert in account["alerts"]]
        of_kind = [alert for alert in every if kind in (None, alert["kind"])]
        return [alert for alert in of_kind if secret in (None, alert["secret"])]

    def results(self, kind: str, outcome: str = "done") -> list[dict[str, Any]]:
        """The actions of one kind that had that outcome, in ``--json``."""
        return [each for each in self.document["results"] if (each["kind"], each["outcome"]) == (kind, outcome)]
