"""Rule 10, from outside: what is overdue by the tags, the labels and the keys, and whether a sweep reported it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from rotator.engine.sweep import Sweep
from rotator.model import AccountPlan, Reason, SecretEntry, Severity, Spec
from rotator.policy.labels import parse_retire_label
from rotator.policy.tags import parse_spec
from rotator.sandbox.state import SimKey
from tests.chaos.ownership_truth import is_foreign, labelled_and_proven
from tests.world import World

ALLOWED = timedelta(hours=24)
SHARE = 10
"""A delay of so much, or of this part of a key's lifetime if that is shorter, is an error."""
ACCEPTED = frozenset({Reason.HOLD, Reason.WINDOW, Reason.NOT_ADOPTED, Reason.DELETED, Reason.OWNED, Reason.REPLICA})
"""What may defer work for longer, and what is not the rotator's to do."""


def allowed_delay(key: SimKey) -> timedelta:
    """How late a rotation or a revocation of a key may be."""
    return min(ALLOWED, (key.valid_to - key.valid_from) / SHARE)


def rotation_due(spec: Spec, key: SimKey) -> datetime:
    """When the tags say that a key is to be replaced."""
    before = spec.rotate_before
    left = before if isinstance(before, timedelta) else (key.valid_to - key.valid_from) * before
    due = key.valid_to - left
    return due if spec.max_age is None else min(due, key.valid_from + spec.max_age)


def unreported(world: World, sweep: Sweep, begun: datetime, names: Collection[str]) -> Iterator[str]:
    """What was overdue when a sweep began, still is, and is no alert in the sweep's result.

    A sweep that corrects a wrong label reports that instead; the next one rotates.
    """
    corrected = {result.action.secret for result in sweep.results if result.action.reason is Reason.MISLABELLED}
    for plan in sweep.plan.accounts:
        if plan.error is not None:
            if sweep.ok:
                yield f"rule 10: account {plan.account} was not observed, and the sweep says that all is well"
            continue
        for name in names:
            entry = world.store.peek(name)
            spec = parse_spec(entry.tags)
            if not isinstance(spec, tuple) and spec.account == plan.account and spec.hold is None:
                if name in corrected:
                    continue
                yield from _of_secret(world, plan, entry, spec, begun)


def _of_secret(world: World, plan: AccountPlan, entry: SecretEntry, spec: Spec, begun: datetime) -> Iterator[str]:
    skipped = {skip.reason for skip in plan.skipped if skip.secret == entry.name}
    overdue = [a for a in plan.alerts if a.secret == entry.name and a.kind is Reason.OVERDUE]
    if skipped & ACCEPTED or any(alert.severity is Severity.ERROR for alert in overdue):
        return
    proven = set(labelled_and_proven(world, entry.name))
    for labels in entry.versions.values():
        for key_id, at in filter(None, map(parse_retire_label, labels)):
            key = world.infobip.state.keys.get(key_id)
            if key is None or not key.enabled or key.valid_to <= begun or key_id not in proven:
                continue
            if at + allowed_delay(key) < begun and not is_foreign(world, key.name):
                yield f"rule 10: the revocation of key {key_id} of {entry.name}, due at {at}, is overdue in silence"
    key = world.infobip.key_of(_current(world, entry.name, spec))
    if key is None or key.id not in proven:
        return
    slot = Reason.DAILY_LIMIT in skipped and key.valid_to > begun
    if rotation_due(spec, key) + allowed_delay(key) < begun and not slot:
        yield f"rule 10: the rotation of {entry.name}, due at {rotation_due(spec, key)}, is overdue in silence"


def _current(world: World, name: str, spec: Spec) -> str:
    text = world.try_read(name) or ""
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text).get(spec.value_field, ""))
    except ValueError:
        return ""
