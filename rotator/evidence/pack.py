"""Writes a pack, a folder with tables, a summary and a manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rotator import __version__
from rotator.aws.kms import SigningKey
from rotator.durations import human_duration
from rotator.engine.context import Services
from rotator.engine.reconcile import Reconciler
from rotator.errors import ConfigurationError, RotatorError
from rotator.evidence import tables
from rotator.evidence.history import History, TableRow
from rotator.evidence.summary import render_summary
from rotator.evidence.tables import HEADS
from rotator.message import utc_text
from rotator.model import AccountSnapshot
from rotator.plan import AccountPlan
from rotator.policy.planner import plan_account
from rotator.redaction.redactor import Redactor
from rotator.render import counted
from rotator.report.files import write_page
from rotator.text import printable

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig.json"
FILES: Final = (*(f"{name}.csv" for name in HEADS), "summary.html")
SEARCH: Final = timedelta(minutes=2)
"""How long CloudTrail is searched, which allows two calls per second."""
_MOST_LISTED: Final = 1_000
_LONGEST: Final = 2_000
_FORMULA: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


@dataclass(frozen=True, slots=True)
class Pack:
    """What was written.

    :param broken: the accounts that could not be read.
    :param unlisted: the stores that could not be listed.
    """

    manifest: dict[str, Any]
    rows: dict[str, list[TableRow]]
    broken: list[AccountPlan]
    unlisted: list[str]

    @property
    def ok(self) -> bool:
        """Whether everything was read, and the audit trail is intact."""
        return not (self.broken or self.unlisted or self.manifest["problem_count"])


def write_pack(
    services: Services,
    history: History,
    folder: Path,
    redactor: Redactor,
    *,
    owner_tag: str = "owner",
    key: SigningKey | None = None,
) -> Pack:
    """Read the accounts and write every file; the manifest is last.

    :param folder: an empty one.
    :param key: signs the manifest.
    :raises RotatorError: nothing could be observed, or a file could not be written.
    """
    now, policy = services.clock.now(), services.policy
    snapshots, others = Reconciler(services).snapshots(disabled_keys=True)
    broken = [plan for plan in others if plan.error is not None]
    unlisted = sorted({store for each in snapshots for store in each.unlisted})
    notes = list(_limits(snapshots, broken, unlisted))
    if now < history.end:
        notes.append("The period had not ended when the pack was made.")
    rows = {
        "population": [row for each in snapshots for row in tables.population(each, now, history, owner_tag)],
        "rotations": tables.lives(history, "created_at", "promoted_at", "adopted_at"),
        "revocations": tables.lives(history, "revoked_at"),
        "emergencies": tables.emergencies(history),
        "exceptions": tables.exceptions(history, [*(plan_account(each, policy, now) for each in snapshots), *others]),
        "unexplained": [row for each in snapshots for row in tables.unexplained(each, history)],
    }
    _add_principals([*rows["unexplained"], *rows["exceptions"]], snapshots, services, history.begin, notes)
    shown = {
        name: [{head: cell(head, row.get(head), redactor) for head in HEADS[name]} for row in each]
        for name, each in rows.items()
    }
    manifest: dict[str, Any] = redactor.scrub(
        {"format": 1, "version": __version__, "deployment": policy.deployment, "generated_at": now}
        | {"period": {"from": history.begin, "to": history.end}, "signed_by": key.arn if key else None}
        | _sources(history, 2 * policy.sweep_every, now)
        | {"notes": notes}
    )
    texts = {f"{name}.csv": _table(name, each) for name, each in shown.items()}
    texts["summary.html"] = render_summary(manifest, rows, shown, history, redactor.redact_own)
    manifest["files"] = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    text = json.dumps(manifest, indent=2) + "\n"
    if key is not None:
        texts[SIGNATURE] = json.dumps(key.sign(text.encode()), indent=2) + "\n"
    for name, content in (texts | {MANIFEST: text}).items():
        write_page(folder / name, content)
    return Pack(manifest, rows, broken, unlisted)


def _limits(snapshots: tuple[AccountSnapshot, ...], broken: list[AccountPlan], unlisted: list[str]) -> Iterator[str]:
    """Yield what the tables can't show."""
    for plan in broken:
        yield f"Account {plan.account} could not be read, so its secrets and keys are missing: {plan.error}"
    for store in unlisted:
        yield f"Store {store} could not be listed, so its secrets are missing."
    for each in snapshots:
        if not each.complete:
            yield f"Infobip's key list of {each.account} is not complete."
        if not each.disabled_complete:
            yield f"Infobip does not show all disabled keys of {each.account}."


def _sources(history: History, longest: timedelta, now: datetime) -> dict[str, Any]:
    """Return what was read, what is wrong with it, and for which parts of the period there is no line."""
    gaps, reports = history.gaps(longest, now), history.reports
    problems = [
        {"source": source["name"], "line": each.line, "kind": each.kind, "detail": each.detail}
        for source, report in zip(history.sources, reports, strict=True)
        for each in report.problems
    ]
    return {
        "sources": history.sources,
        "problem_count": sum(report.problem_count for report in reports),
        "problems": problems[:_MOST_LISTED],
        "open_runs": reports[-1].open_runs[:_MOST_LISTED] if reports else [],
        "unlinked_runs": [run for report in reports for run in report.unlinked_runs][:_MOST_LISTED],
        "gap_count": len(gaps),
        "gaps": [{"from": begin, "to": end} for begin, end in gaps[:_MOST_LISTED]],
    }


def _add_principals(
    rows: list[TableRow], snapshots: tuple[AccountSnapshot, ...], services: Services, since: datetime, notes: list[str]
) -> None:
    """Add who changed a secret, and for a hold who set its tag and when, as far as CloudTrail shows it."""
    entries = {(each.account, entry.title): entry for each in snapshots for entry in each.secrets}
    asked: dict[tuple[str, str], list[TableRow]] = {}
    for row in rows:
        if row["kind"] in ("hold", "key-created", "current-moved", "label-changed"):
            asked.setdefault((row["account"], row["secret"]), []).append(row)
    wanted = [place for place in asked if place in entries]
    readers, until, searched = services.readers, services.clock.now() + SEARCH, 0
    try:
        for place in wanted:
            if readers is None or services.clock.now() > until:
                break
            writes = readers.writes(entries[place], since)
            searched += 1
            for row in asked[place]:
                mine = [each for each in writes if row["kind"] != "hold" or "rotator:hold" in each.tags]
                if row["kind"] == "hold" and mine:
                    row["first_at"] = mine[-1].at
                row["principals"] = "; ".join(f"{utc_text(each.at)} {each.call} {each.principal}" for each in mine)
    except RotatorError as error:
        notes.append(f"CloudTrail could not be read: {error.message}")
    if wanted:
        notes.append(f"CloudTrail's last 90 days were searched for {searched} of {counted(len(wanted), 'secret')}.")


# ---- files -----------------------------------------------------------------------------------------------------------


def cell(head: str, value: object, redactor: Redactor) -> str:
    """Return a value as text without a control character, redacted as audit lines are: by the column's name."""
    match value:
        case None:
            return ""
        case datetime():
            return utc_text(value)
        case timedelta():
            return human_duration(value)
    return printable(redactor.scrub_field(head, str(value)), _LONGEST)


def _table(name: str, rows: list[dict[str, str]]) -> str:
    """Return a table as CSV in which no cell is a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADS[name])
    for row in rows:
        writer.writerow(f"'{text}" if text.lstrip().startswith(_FORMULA) else text for text in row.values())
    return file.getvalue()


def check_folder(folder: Path, *, create: bool = False) -> None:
    """Accept an empty folder, or one that can be created, with mode 0700.

    :raises ConfigurationError: it contains files, or can't be used.
    """
    try:
        if create:
            folder.mkdir(mode=0o700, exist_ok=True)
        why = "it is not empty" if folder.exists() and any(folder.iterdir()) else ""
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a valid name"
    if why:
        text = f"{printable(str(folder))} can't be used: {why}; nothing was written"
        raise ConfigurationError(text, advice="Use a new folder.")
