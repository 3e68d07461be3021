"""Pages to look at: fleets of any size that have lived for a few days, with names that mean harm."""

from __future__ import annotations

import random
from dataclasses import replace

from rotator.model import Policy
from rotator.report.gather import AccountReport, Report, gather_account
from tests.policy.build import DAY, HOUR, snap, tagged
from tests.policy.test_scheduling_over_months import START, Fleet

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&\x1b[31m\u202e`"
TAGS: tuple[dict[str, str], ...] = (
    {},
    {"grace": "14d"},
    {"rotate_before": "14d"},
    {"window": "Mon-Fri 09:00-17:00 Europe/Zagreb"},
    {"hold": f"audit freeze {HOSTILE}"},
    {"grace": "soon"},
)


def fleet(count: int, limit: int = 40) -> Fleet:
    """So many secrets, each sort of tags among them, after two days of sweeps."""
    rng = random.Random(f"report {count}")
    found = Fleet(Policy(daily_limit=limit, sweep_every=10 * HOUR))
    for number in range(count):
        name = f"prod/{'a-name-that-does-not-end/' * (4 if number % 9 == 2 else 0)}sms-{number:03}"
        name = f"{name}{HOSTILE}" if number % 7 == 1 else name
        end = START + rng.choice((rng.uniform(1, 90), 20.0)) * DAY
        found.add(name, end, end - 90 * DAY)
        found.secrets[name] = tagged(found.secrets[name], TAGS[number % len(TAGS)])
    found.run(2)
    return found


def account(found: Fleet, days: int = 90) -> AccountReport:
    """That fleet's part of a report."""
    snapshot = snap(list(found.secrets.values()), list(found.keys.values()))
    return gather_account(snapshot, found.policy, found.now, days=days)


def report(count: int, days: int = 90, limit: int = 40) -> Report:
    """A report of one account, with audit lines."""
    found = fleet(count, limit)
    line = {
        "timestamp": "2026-03-02T10:00:00.123Z",
        "event": "key.created",
        "outcome": "success",
        "secret": f"prod/x{HOSTILE}",
        "key_id": "5737AAAAAAAAAAAAAAAAAAAAAAAA48AE",
        "reason": "expiring",
    }
    named = replace(account(found, days))
    return Report(found.now, "default", (named,), (line, {"event": HOSTILE, "seq": 1}), 1)
