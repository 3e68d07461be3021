"""What stands on stdin of ``rotator revoke --leaked-key-stdin``: a key, a text around it, a scanner's report."""

from __future__ import annotations

import codecs
import sys
from typing import TYPE_CHECKING, Final

from rotator.errors import ConfigurationError
from rotator.secret import Secret

if TYPE_CHECKING:
    from rotator.engine.emergency.findings import ScannerReport

MOST_STDIN: Final = 10_000_000
MOST_VALUE: Final = 65_536
_SHORTEST: Final = 16
"""Shorter than any key: such a text would be found, and taken out, all over the output."""
_PIPE: Final = "Pipe it: `rotator revoke --leaked-key-stdin … < file`, so that no shell keeps it in its history."
_AROUND: Final = "\"'`,; "
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_leaked() -> Secret | ScannerReport:
    """Leaked values from stdin, never from an argument, where a process list or a shell's history would show them.

    One key in whatever text is as good as its value alone; several are a report.

    :raises ConfigurationError: stdin holds neither a key nor a report, or too much.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise ConfigurationError("--leaked-key-stdin reads the key from stdin, which is closed", advice=_PIPE)
    if sys.stdin.isatty():
        raise ConfigurationError("--leaked-key-stdin does not read from a terminal, which would show it", advice=_PIPE)
    found = _stdin()
    if isinstance(found, ConfigurationError):
        raise found
    return found


def _stdin() -> Secret | ScannerReport | ConfigurationError:
    """What stdin holds. Does not raise: it stands open in this frame, which a traceback would keep."""
    from rotator.engine.emergency.findings import Unreadable
    from rotator.engine.emergency.leaked_text import read_leaks

    raw = sys.stdin.buffer.read(MOST_STDIN + 1)
    if len(raw) > MOST_STDIN:
        return ConfigurationError(
            f"stdin holds more than {MOST_STDIN} bytes, which is neither a key nor a report of bearable size",
            advice="Split the report.",
        )
    # What PowerShell writes by `>`; and nothing else begins so.
    text = raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig", errors="replace")
    if not text.strip():
        return ConfigurationError("stdin is empty", advice=_PIPE)
    report = read_leaks(Secret(text))
    if isinstance(report, Unreadable):
        return ConfigurationError(report.what, advice=report.fix)
    if report.findings is not None or len(report.leaks) > 1:
        return report
    if report.leaks:
        return report.leaks[0].value
    # It has not the shape that Infobip's keys have today: only Infobip can tell, if it is one value at all.
    text = text.strip().strip(_AROUND)  # as it stands in code and in settings; no key begins or ends so
    if len(text) > MOST_VALUE:
        return ConfigurationError(f"stdin holds more than {MOST_VALUE} bytes, which is no key", advice=_PIPE)
    if not text.isascii() or any(char.isspace() or not char.isprintable() for char in text) or len(text) < _SHORTEST:
        return ConfigurationError(
            "stdin holds something else than a key, a text with keys in it, or a scanner's report",
            advice="Pass the key's value, a text in which it stands whole (32 hexadecimal digits, a hyphen, a UUID), "
            "or the scanner's JSON as it is.",
        )
    return Secret(text)
