"""Events of an emergency, kept until the killing is over: an event bus that does not answer must not delay a kill."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from rotator.ports import EventSink


class HeldEvents:
    """Keeps events, in order, until they are released; adds ``bound`` fields to each (they win). Thread safe."""

    def __init__(self, events: EventSink, bound: Mapping[str, Any]) -> None:
        self._events = events
        self._bound = {name: value for name, value in bound.items() if value is not None}
        self._lock = threading.Lock()
        self._held: list[tuple[str, dict[str, Any]]] = []

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Keep one."""
        with self._lock:
            self._held.append((detail_type, {**detail, **self._bound}))

    def release(self) -> None:
        """Send everything that was kept; never raises."""
        with self._lock:
            held, self._held = self._held, []
        for detail_type, detail in held:
            self._events.send(detail_type, detail)
