"""An audit that adds fields of its own to every line: the incident and the operator's reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rotator.ports import AuditSink


class BoundAudit:
    """Passes every line on, with ``bound`` fields added (they win)."""

    def __init__(self, audit: AuditSink, bound: Mapping[str, Any]) -> None:
        self._audit = audit
        self._bound = {name: value for name, value in bound.items() if value is not None}

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line."""
        self._audit.emit(event, outcome, **{**fields, **self._bound})
