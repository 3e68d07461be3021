"""Makes a pack: reads the accounts, joins them with the history, writes the files; the manifest is last."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rotator import __version__
from rotator.engine.context import Services
from rotator.engine.reconcile import Reconciler
from rotator.errors import RotatorError
from rotator.evidence import pack, tables
from rotator.evidence.history import History
from rotator.evidence.summary import render_summary
from rotator.evidence.tables import Row, time_text
from rotator.model import AccountPlan, AccountSnapshot, SecretEntry

Sign = Callable[[bytes], dict[str, str]]
Writers = Callable[[SecretEntry, datetime], tuple[str, ...]]
_MOST_SEARCHED: Final = 20
_MOST_GAPS: Final = 200


def write_pack(
    services: Services,
    history: History,
    folder: Path,
    redact: Callable[[str], str],
    *,
    owner_tag: str,
    writers: Writers | None = None,
    signed_by: str | None = None,
    sign: Sign | None = None,
) -> tuple[dict[str, Any], dict[str, list[Row]], list[AccountPlan]]:
    """Write every file, and return the manifest, the rows, and the accounts that could not be read.

    :param folder: an empty one, as :func:`rotator.evidence.pack.check_folder` makes it.
    :param writers: who changed a secret's labels, by CloudTrail.
    :raises RotatorError: nothing could be observed, or a file could not be written.
    """
    now, policy = services.clock.now(), services.policy
    snapshots, plans = Reconciler(services).snapshots(history=True)
    broken = [plan for plan in plans if plan.error is not None]
    notes = [f"Account {plan.account} could not be read: {plan.error}" for plan in broken]
    notes += [f"Infobip's key list of {each.account} is not complete" for each in snapshots if not each.complete]
    notes += [
        f"Infobip does not show all disabled keys of {each.account}" for each in snapshots if not each.history_complete
    ]
    rows: dict[str, list[Row]] = {
        "population": [row for each in snapshots for row in tables.population(each, policy, now, history, owner_tag)],
        "rotations": tables.rotations(history),
        "revocations": tables.revocations(history),
        "emergencies": tables.emergencies(history),
        "exceptions": tables.exceptions(history, snapshots, policy, now),
        "unexplained": [row for each in snapshots for row in tables.unexplained(each, history)],
    }
    if writers is not None:
        rows["unexplained"] = _with_principals(rows["unexplained"], snapshots, writers, history.begin, notes)
    manifest = _manifest(history, services, now, notes)
    manifest["signed_by"] = signed_by
    files = {f"{name}.csv": pack.table(name, rows[name], redact) for name in tables.HEADS}
    files[pack.SUMMARY] = render_summary(manifest, rows, history, redact)
    manifest["files"] = {name: {"sha256": pack.digest(data), "bytes": len(data)} for name, data in files.items()}
    data = (redact(json.dumps(manifest, indent=2, ensure_ascii=True)) + "\n").encode()
    for name, content in files.items():
        pack.write(folder, name, content)
    if sign is not None:
        pack.write(folder, pack.SIGNATURE, (json.dumps(sign(data), indent=2) + "\n").encode())
    pack.write(folder, pack.MANIFEST, data)
    return manifest, rows, broken


def _manifest(history: History, services: Services, now: datetime, notes: list[str]) -> dict[str, Any]:
    gaps = history.gaps(2 * services.policy.sweep_every)
    reports = [(source.name, source.report) for source in history.sources if source.report is not None]
    last = reports[-1][1] if reports else None
    problems = [
        {"source": name, "line": each.line, "kind": str(each.kind), "detail": each.detail}
        for name, report in reports
        for each in report.problems
    ]
    return {
        "format": 1,
        "version": __version__,
        "deployment": services.policy.deployment,
        "generated_at": time_text(now),
        "period": {"from": time_text(history.begin), "to": time_text(history.end)},
        "sources": [
            {
                "name": source.name,
                "lines_in_period": source.in_period,
                "unusable_lines": source.unusable,
                "other_deployment_lines": sum(source.other_deployments.values()),
                "first": source.first and time_text(source.first),
                "last": source.last and time_text(source.last),
            }
            for source in history.sources
        ],
        "chain": {
            "problem_count": sum(report.problem_count for _, report in reports),
            "problems": problems[:1000],
            "open_runs": list(last.open_runs[:1000]) if last else [],
        },
        "gap_count": len(gaps),
        "gaps": [{"from": time_text(begin), "to": time_text(end)} for begin, end in gaps[:_MOST_GAPS]],
        "notes": notes,
    }


def _with_principals(
    rows: Sequence[Row], snapshots: Sequence[AccountSnapshot], writers: Writers, since: datetime, notes: list[str]
) -> list[Row]:
    """Add who changed the labels, for at most 20 secrets, since CloudTrail allows two calls per second."""
    entries = {(each.account, entry.name): entry for each in snapshots for entry in each.secrets}
    named = list(dict.fromkeys((str(row[0]), str(row[1])) for row in rows if row[3] != "key-created"))
    wanted = [place for place in named if place in entries]
    found: dict[tuple[str, str], str] = {}
    try:
        for place in wanted[:_MOST_SEARCHED]:
            found[place] = "; ".join(writers(entries[place], since)[:20])
        if wanted:
            notes.append(f"CloudTrail was searched for {min(len(wanted), _MOST_SEARCHED)} of {len(wanted)} secrets.")
    except RotatorError as error:
        notes.append(f"CloudTrail was not read: {error.message}")
    return [(*row[:6], found.get((str(row[0]), str(row[1])), "")) for row in rows]
