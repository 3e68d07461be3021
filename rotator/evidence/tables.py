"""The rows of each table: what audit lines say, the present state, and what differs between the two. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from rotator.evidence.history import History, KeyLife, TableRow
from rotator.message import utc_text
from rotator.model import AccountSnapshot, Spec
from rotator.plan import AccountPlan, Severity
from rotator.policy.labels import parse_key_name
from rotator.policy.rules import NOT_OURS, View, first, make_view
from rotator.policy.status import classify
from rotator.telemetry.audit import AuditOutcome

_LIFE: Final = (
    *("account", "secret", "key_id", "created_at", "adopted_at", "verified_at", "promoted_at", "retired_at"),
    *("revoke_due_at", "revoked_at", "actor", "trigger", "reason", "incident", "run_id"),
)
HEADS: Final = {
    "population": (
        *("account", "secret", "secret_arn", "owner", "state", "key_id", "age_days", "expires_at", "promoted_at"),
        *("rotate_before", "max_age", "validity", "grace", "window", "hold"),
    ),
    "rotations": _LIFE,
    "revocations": _LIFE,
    "emergencies": (
        *("requested_at", "account", "secret", "key_id", "actor", "reason", "incident", "strategy", "outcome"),
        *("completed_at", "seconds", "revoked", "error", "run_id"),
    ),
    "exceptions": ("account", "secret", "kind", "first_at", "last_at", "now", "detail", "principals"),
    "unexplained": ("account", "secret", "key_id", "kind", "known_from", "detail", "principals"),
}
"""Each table's columns. A name decides what is redacted, as in audit lines. An error without secret has a key's id."""


def population(snapshot: AccountSnapshot, now: datetime, history: History, owner_tag: str) -> Iterator[TableRow]:
    """Yield every managed secret as it is now. What it has no tag for is the default."""
    for view in _views(snapshot):
        tags, key = view.entry.tags, view.key
        life = history.keys.get((snapshot.account, view.key_id or ""))
        yield {
            "account": snapshot.account,
            "secret": view.entry.title,
            "secret_arn": view.entry.arn,
            "owner": tags.get(owner_tag),
            "state": classify(view, now) if first(NOT_OURS, view, now) is None else "skipped",
            "key_id": view.key_id,
            "age_days": (now - key.valid_from).days if key and key.valid_from else None,
            "expires_at": key.valid_to if key else None,
            "promoted_at": life.done("promoted_at") if life else None,
            **{name: getattr(view.spec, name, None) for name in ("rotate_before", "max_age", "validity", "grace")},
            "window": tags.get("rotator:window"),
            "hold": tags.get("rotator:hold"),
        }


def lives(history: History, *steps: str) -> list[TableRow]:
    """Return the keys with one of these steps in the period; who and why are those of the first one named."""
    found: list[tuple[datetime, TableRow]] = []
    for life in history.keys.values():
        done = (life.steps[name] for name in steps if name in life.steps)
        step = next((each for each in done if history.has(each.at)), None)
        if step is not None:
            row = {name: getattr(life, name) for name in ("account", "secret", "key_id", "revoke_due_at")}
            found.append((step.at, row | {name: each.at for name, each in life.steps.items()} | step._asdict()))
    return [row for _, row in sorted(found, key=lambda each: (each[0], each[1]["key_id"]))]


def emergencies(history: History) -> list[TableRow]:
    """Return the emergencies that were requested or completed in the period.

    ``seconds`` is from the request to the end, which a success reaches only after the last key was refused with 401.
    """
    rows = []
    for row in history.emergencies.values():
        begin, end = row.get("requested_at"), row.get("completed_at")
        if history.has(begin) or history.has(end):
            ended = begin and end and row["outcome"] == "success"
            rows.append(row | {"seconds": (end - begin).total_seconds() if begin and end and ended else None})
    return sorted(rows, key=lambda row: str(row.get("requested_at")))


def exceptions(history: History, plans: Iterable[AccountPlan]) -> list[TableRow]:
    """Return errors, holds and skipped secrets: those in the lines of the period, and those of now."""
    current: dict[tuple[str, str, str], str] = {}
    for plan in plans:
        current |= {(plan.account, skip.title, str(skip.reason)): skip.detail for skip in plan.skipped}
        for alert in plan.alerts:
            if alert.severity is Severity.ERROR:
                current[plan.account, alert.title or alert.key_id or "", str(alert.kind)] = alert.detail
    rows = list[TableRow]()
    for place in sorted(history.exceptions.keys() | current.keys()):
        row: TableRow = dict(zip(HEADS["exceptions"], place, strict=False)) | history.exceptions.get(place, {})
        rows.append(row | ({"now": "yes", "detail": current[place]} if place in current else {"now": "no"}))
    return rows


def unexplained(snapshot: AccountSnapshot, history: History) -> list[TableRow]:
    """Return what Infobip's list and the labels show, and no line that was read explains."""
    found = [*_strange_keys(snapshot, history), *_strange_labels(snapshot, history)]
    heads = HEADS["unexplained"]
    rows: list[TableRow] = [dict(zip(heads, (snapshot.account, *each), strict=False)) for each in found]
    return sorted(rows, key=lambda row: (row["secret"], row["key_id"], row["kind"]))


_Found = tuple[str, str, str, datetime | None, str]
"""The cells after the account's."""


def _strange_keys(snapshot: AccountSnapshot, history: History) -> Iterator[_Found]:
    # How many keys with each version's id in their names may have been created without a line of the result.
    unknown = {
        place: len(sets.get(AuditOutcome.ATTEMPT, ())) - len(sets.get(AuditOutcome.SUCCESS, ()))
        for place, sets in history.creations.items()
    }
    for key in sorted(snapshot.keys.values(), key=lambda key: str(key.valid_from)):
        name, life = parse_key_name(key.name), history.keys.get((snapshot.account, key.id))
        life = life or KeyLife(snapshot.account, key.id)
        where, version = (name.secret, name.version_id) if name else (life.secret, "")
        created, revoked = life.done("created_at"), life.done("revoked_at")
        if created is None:
            unknown[snapshot.account, version] = unknown.get((snapshot.account, version), 0) - 1
            if history.has(key.valid_from) and unknown[snapshot.account, version] < 0:
                yield where, key.id, "key-created", key.valid_from, f"no line created it; its name is {key.name}"
        if key.enabled and revoked:
            yield where, key.id, "key-enabled", revoked, "a line revoked it, and it is enabled now"
        # A revocation sets an expiry, so a key that expired before the period was not disabled in it.
        recent = key.valid_to is None or key.valid_to >= history.begin
        if recent and not (key.enabled or revoked or life.tried("revoked_at", None)):
            used = max((at for step in life.steps if (at := life.done(step))), default=None)
            when = "after the last line about it" if used else "no line is about it, so it may be before the period"
            yield where, key.id, "key-disabled", used, f"no line revoked it; when: {when}"


def _strange_labels(snapshot: AccountSnapshot, history: History) -> Iterator[_Found]:
    for view in _views(snapshot):
        name, key_id = view.entry.title, view.key_id
        at, promoted = history.promotions.get((snapshot.account, name), (None, None))
        life = history.keys.get((snapshot.account, key_id or ""))
        if key_id and promoted not in (None, key_id) and not (life and life.tried("promoted_at", at)):
            yield name, key_id, "current-moved", at, f"the last key that a line promotes is {promoted}"
        for item in view.life.retiring:
            life = history.keys.get((snapshot.account, item.key_id), KeyLife(snapshot.account, item.key_id))
            due, recorded, retired = utc_text(item.revoke_at), life.revoke_due_at, life.done("retired_at")
            recent = item.revoke_at >= history.begin + (view.spec or Spec("")).grace
            if due != recorded and (recorded or recent) and not life.tried("retired_at", retired):
                detail = f"the label revokes it at {due}, the last line at {recorded or 'no time'}"
                yield name, item.key_id, "label-changed", retired, detail
        for version, label in view.life.malformed:
            yield name, "", "label-changed", None, f"no line writes {label} (version {version})"


def _views(snapshot: AccountSnapshot) -> list[View]:
    return [make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=lambda entry: entry.name)]
