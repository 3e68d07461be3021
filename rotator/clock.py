"""The machine's own clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

_SINCE_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux has it. There ``time.monotonic`` stands still while the machine is suspended; elsewhere it is what there is."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, by a clock that cannot be set."""
        return time.monotonic() if _SINCE_BOOT is None else time.clock_gettime(_SINCE_BOOT)

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        if seconds > 0:
            time.sleep(seconds)
