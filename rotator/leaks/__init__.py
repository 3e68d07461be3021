"""Leaked keys: found in any text, with the places where they were found."""

from __future__ import annotations

from rotator.leaks.leak_report import MOST_KEYS, MOST_PLACES, Leak, LeakReport, Place, Unreadable, read_leaks

__all__ = ["MOST_KEYS", "MOST_PLACES", "Leak", "LeakReport", "Place", "Unreadable", "read_leaks"]
