"""``rotator`` as a process that may sweep each second, and whose wall clock is set while it runs, by a file.

The file stands in for ``date --set``, which needs the machine. The monotonic clock goes on as it is, as it does there.
"""

from __future__ import annotations

import importlib
import os
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

FILE = "CLOCK_OFFSET_FILE"
READS_THE_CLOCK = ("rotator.clock", "rotator.daemon", "rotator.timetable", "apscheduler.schedulers.base")


def set_off(path: Path, offset: timedelta) -> None:
    """Set the clock of every process that reads ``path``."""
    new = path.with_suffix(".new")
    new.write_text(str(offset.total_seconds()))
    new.replace(path)


class Stepped(datetime):
    """The wall clock; its times are ordinary ones."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(seconds=float(Path(os.environ[FILE]).read_text()))


if __name__ == "__main__":
    timetable = importlib.import_module("rotator.timetable")
    timetable.SWEEP_AT_LEAST = timedelta(seconds=1)  # type: ignore[attr-defined]
    for name in READS_THE_CLOCK if FILE in os.environ else ():
        module = importlib.import_module(name)
        if hasattr(module, "datetime"):
            module.datetime = Stepped  # type: ignore[attr-defined]
    from rotator.cli import main

    sys.exit(main(sys.argv[1:]))
