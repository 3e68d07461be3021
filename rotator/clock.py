"""The system clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

_SINCE_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
"""Only Linux has it. Linux's ``time.monotonic`` does not advance while the machine is suspended."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary moment, by a clock that cannot be set."""
        return time.monotonic() if _SINCE_BOOT is None else time.clock_gettime(_SINCE_BOOT)

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        if seconds > 0:
            time.sleep(seconds)
