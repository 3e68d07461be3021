"""The fleet as one self-contained page of HTML: no script, nothing fetched, untrusted input escaped."""

from __future__ import annotations

from rotator.report.gather import AccountReport, Report, SecretSpan, gather_account
from rotator.report.page import render_page

__all__ = ["AccountReport", "Report", "SecretSpan", "gather_account", "render_page"]
