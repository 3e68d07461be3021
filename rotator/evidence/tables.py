"""The rows of each table: what audit lines say, the present state, and what differs between the two. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rotator.evidence.history import History, KeyLife
from rotator.model import AccountSnapshot, Policy, Severity
from rotator.policy.labels import parse_key_name
from rotator.policy.planner import plan_account
from rotator.policy.rules import View, make_view
from rotator.policy.status import State, states

Row = tuple[object, ...]

_LIFE: Final = (
    *("account", "secret", "key_id", "created_at", "adopted_at", "verified_at", "promoted_at", "retired_at"),
    *("revoke_due_at", "revoked_at", "by", "trigger", "reason", "incident", "run_id"),
)
HEADS: Final = {
    "population": (
        *("account", "secret", "arn", "owner", "state", "key_id", "age_days", "expires_at", "last_rotation"),
        *("rotate_before", "max_age", "validity", "grace", "window", "hold"),
    ),
    "rotations": _LIFE,
    "revocations": _LIFE,
    "emergencies": (
        *("requested_at", "account", "secret", "key_id", "by", "reason", "incident", "strategy", "outcome"),
        *("last_revoked_at", "verified_at", "seconds", "revoked_keys", "error", "run_id"),
    ),
    "exceptions": ("account", "secret_or_key", "kind", "first_at", "last_at", "now", "detail"),
    "unexplained": ("account", "secret", "key_id", "kind", "at", "detail", "principals"),
}
"""Each table's columns."""


def population(snapshot: AccountSnapshot, policy: Policy, now: datetime, history: History, owner_tag: str) -> list[Row]:
    """Return every managed secret as it is now."""
    plan = plan_account(snapshot, policy, now)
    found = {state.secret: state for state in states(snapshot, plan.actions, now, plan.alerts)}
    rows: list[Row] = []
    for view in _views(snapshot):
        state, spec, begins = found.get(view.entry.name), view.spec, view.key.valid_from if view.key else None
        rotated = history.keys.get((snapshot.account, view.key_id or ""))
        # The policy as its tags say it; what a secret has no tag for is the default, from Spec.
        rows.append(
            (
                *(snapshot.account, view.entry.name, view.entry.arn, view.entry.tags.get(owner_tag)),
                *(state.state if state else "skipped", view.key_id, None if begins is None else (now - begins).days),
                *(view.key.valid_to if view.key else None, rotated.at("promoted") if rotated else None),
                *(() if spec is None else (spec.rotate_before, spec.max_age, spec.validity, spec.grace)),
                *((None,) * 4 if spec is None else ()),
                *(view.entry.tags.get("rotator:window"), view.entry.tags.get("rotator:hold")),
            )
        )
    return rows


def rotations(history: History) -> list[Row]:
    """Return the keys that were created, adopted or made current in the period."""
    return _lives(history, ("created", "promoted", "adopted", "rejected"))


def revocations(history: History) -> list[Row]:
    """Return the keys that were revoked in the period."""
    return _lives(history, ("revoked",))


def emergencies(history: History) -> list[Row]:
    """Return the emergencies that were requested or completed in the period.

    ``seconds`` is from the request to the end, which a success reaches only after the last key was refused with 401.
    """
    rows: list[Row] = []
    for run in history.emergencies.values():
        if not (history.has(run.requested) or history.has(run.completed)):
            continue
        verified = run.completed if run.outcome == "success" else None
        seconds = None if verified is None or run.requested is None else (verified - run.requested).total_seconds()
        about = [
            run.line.get(name) for name in ("account", "secret", "key_id", "actor", "reason", "incident", "strategy")
        ]
        outcome, keys = run.outcome or "no end in the lines", " ".join(sorted(run.revoked))
        rows.append((run.requested, *about, outcome, run.last_revoked, verified, seconds, keys, run.error, run.run_id))
    return sorted(rows, key=lambda row: str(row[0]))


def exceptions(history: History, snapshots: Sequence[AccountSnapshot], policy: Policy, now: datetime) -> list[Row]:
    """Return holds, errors and skipped secrets: those in the lines of the period, and those of now."""
    current: dict[tuple[str, str, str], str] = {}
    for snapshot in snapshots:
        plan = plan_account(snapshot, policy, now)
        for skip in plan.skipped:
            current[snapshot.account, skip.secret, str(skip.reason)] = skip.detail
        for alert in plan.alerts:
            if alert.severity is Severity.ERROR:
                current[snapshot.account, alert.secret or alert.key_id or "", str(alert.kind)] = alert.detail
        for state in states(snapshot, plan.actions, now, plan.alerts):
            if state.state is State.HELD:
                current[snapshot.account, state.secret, "hold"] = state.hold or ""
    rows: list[Row] = []
    for place in sorted(history.exceptions.keys() | current.keys()):
        span = history.exceptions.get(place)
        detail = current.get(place) or (span.detail if span else "")
        times = (span.first, span.last) if span else (None, None)
        rows.append((*place, *times, "yes" if place in current else "no", detail))
    return rows


def unexplained(snapshot: AccountSnapshot, history: History) -> list[Row]:
    """Return what Infobip's list and the labels show, and no line that was read explains."""
    rows = [*_strange_keys(snapshot, history), *_strange_labels(snapshot, history)]
    return sorted(rows, key=lambda row: tuple(map(str, row[1:4])))


def _strange_keys(snapshot: AccountSnapshot, history: History) -> Iterator[Row]:
    account = snapshot.account
    for key in snapshot.keys.values():
        life, name = history.keys.get((account, key.id)), parse_key_name(key.name)
        where = name.secret if name else life.secret if life else ""
        created = life is not None and life.at("created") is not None
        tried = name is not None and ("key.created", name.version_id) in history.attempts
        if history.has(key.valid_from) and not (created or tried):
            detail = f"named {key.name}; its beginning is the one that Infobip shows"
            yield account, where, key.id, "key-created", key.valid_from, detail, ""
        revoked = life is not None and life.at("revoked") is not None
        tried = ("key.revoked", key.id) in history.attempts
        # A revocation sets an expiry, so a key that expired before the period was not disabled in it.
        recent = key.valid_to is None or key.valid_to >= history.begin
        if recent and not (key.enabled or revoked or tried):
            detail = "disabled; Infobip does not show when, or by whom"
            yield account, where, key.id, "key-disabled", None, detail, ""


def _strange_labels(snapshot: AccountSnapshot, history: History) -> Iterator[Row]:
    account = snapshot.account
    for view in _views(snapshot):
        name = view.entry.name
        promoted = history.promotions.get((account, name))
        if promoted is not None and view.key_id is not None and view.key_id != promoted[1]:
            detail = f"the last key that a line promotes is {promoted[1]}"
            yield account, name, view.key_id, "current-moved", promoted[0], detail, ""
        for item in view.life.retiring:
            life = history.keys.get((account, item.key_id))
            retired = None if life is None else life.at("retired")
            spec = view.spec
            scheduled = None if spec is None else item.revoke_at - spec.grace
            if retired is None and history.has(scheduled):
                detail = f"a retire label for {item.revoke_at:%Y-%m-%dT%H:%M:%SZ} that no line explains"
                yield account, name, item.key_id, "label-added", None, detail, ""
        for version, label in view.life.malformed:
            yield account, name, "", "label-added", None, f"{label} on version {version}", ""


def _views(snapshot: AccountSnapshot) -> list[View]:
    return [make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=lambda entry: entry.name)]


def _lives(history: History, steps: tuple[str, ...]) -> list[Row]:
    """Return the keys with one of these steps in the period; who and why are the first such step's."""
    found: list[tuple[datetime, Row]] = []
    for life in history.keys.values():
        inside = [step for step in steps if history.has(life.at(step))]
        if inside:
            at, *who = life.steps[inside[0]]
            found.append((at, (life.account, life.secret, life.key_id, *_times(life), *who)))
    return [row for _, row in sorted(found, key=lambda each: (each[0], str(each[1])))]


def _times(life: KeyLife) -> tuple[object, ...]:
    times = [life.at(step) for step in ("created", "adopted", "verified", "promoted", "retired")]
    return (*times, life.revoke_at, life.at("revoked"))


def time_text(moment: datetime) -> str:
    """Return a time as the tables have it: UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
