"""The fleet as one self-contained page of HTML: no script, nothing fetched, untrusted input escaped."""

from __future__ import annotations

from rotator.report.gather import AccountReport, Report, SecretRow, gather_account
from rotator.report.page import render

__all__ = ["AccountReport", "Report", "SecretRow", "gather_account", "render"]
