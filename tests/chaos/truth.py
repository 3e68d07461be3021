"""What is true, read from the state of both servers, which the rotator never sees as a whole.

A label is a hint, so it counts for nothing here: a key belongs to a version by its name, or by the version's value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from rotator.engine.sweep import Sweep
from rotator.model import AccountSnapshot, Key, Policy, SecretEntry, Spec
from rotator.plan import AccountPlan, Severity
from rotator.policy.labels import parse_key_label, parse_key_name, parse_retire_label
from rotator.policy.planner import plan_account
from rotator.policy.tags import spec_or_none
from rotator.policy.values import contains
from rotator.reasons import Reason
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests.world import World

ALLOWED_DELAY, ALLOWED_SHARE = timedelta(hours=24), 10
"""A delay of so much, or of this part of a key's lifetime if that is shorter, is an error."""
ACCEPTED = frozenset(
    {Reason.HOLD, Reason.WINDOW, Reason.WAITING_FOR_CONSUMERS, Reason.DELETED, Reason.OWNED, Reason.REPLICA}
)
"""What may defer work for longer, and what is not the rotator's to do."""

PROBES = "/account/"
"""Where the paths begin that a new key is tried at."""


# ---- values ---------------------------------------------------------------------------------------------------------


def api_key_in(text: str | None, field: str = "api_key") -> str:
    """What a consumer takes out of a value: ``""`` where it can't be read."""
    if text is None or not text.startswith("{"):
        return text or ""
    try:
        return str(json.loads(text).get(field, ""))
    except ValueError:
        return ""


def contents(world: World, name: str) -> dict[str, Secret]:
    """What each version of a secret holds, binary values as Latin-1."""
    found = {}
    for version_id, version in world.store._records[name].versions.items():
        if version.text is not None:
            found[version_id] = version.text
        elif version.binary is not None:
            found[version_id] = Secret(version.binary.decode("latin-1"))
    return found


def current_content(world: World, name: str) -> Secret | None:
    """The value behind ``AWSCURRENT``."""
    version_id = world.store._records[name].labels.get("AWSCURRENT", "")
    return contents(world, name).get(version_id)


def holds(content: Secret | None, key: SimKey) -> bool:
    """Whether a key's value is anywhere in a content."""
    return content is not None and contains(content, Secret(str(key.value)))


# ---- keys -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16384)
def as_listed(key: SimKey, *, reveal: bool = True) -> Key:
    """A key as Infobip's list shows it."""
    return Key(
        key.id,
        key.name,
        key.account_id,
        key.enabled,
        key.valid_from,
        key.valid_to,
        key.scopes,
        key.permissions,
        frozenset(key.allowed_ips),
        frozenset(key.platform),
        reveal,
    )


def named_for(world: World, key_name: str) -> str | None:
    """The managed secret of this store, if any, whose rotation by this deployment created the key with that name."""
    name = parse_key_name(key_name)
    if name is None or name.secret_id is None or name.deployment != world.policy.deployment:
        return None
    return next((each for each in world.names() if name.is_for(each, world.store.peek(each).arn)), None)


def is_foreign(world: World, key_name: str) -> bool:
    """Whether the name is in the current form and gives another ARN or another deployment."""
    name = parse_key_name(key_name)
    return name is not None and name.secret_id is not None and named_for(world, key_name) is None


def labelled_and_proven(world: World, name: str) -> Iterator[str]:
    """The keys that a label of a secret names truly: the version holds the value, or the key has the version's name."""
    entry, texts = world.store.peek(name), contents(world, name)
    for version_id, labels in entry.versions.items():
        for key_id in filter(None, map(parse_key_label, labels)):
            key = world.infobip.state.keys.get(key_id)
            if key is None:
                continue
            given = parse_key_name(key.name)
            by_name = given is not None and given.version_id == version_id and named_for(world, key.name) == name
            if by_name or holds(texts.get(version_id), key):
                yield key_id


def would_act(snapshot: AccountSnapshot, policy: Policy, now: datetime) -> bool:
    """Whether a sweep may do anything: what the planner says of the true state, without the calls.

    A sweep does what its plan says and nothing else, so one that has nothing to do, and no question, need not be made;
    the tests compare that with making every one.
    """
    plan = plan_account(snapshot, policy, now)
    return bool(plan.actions or plan.questions)


# ---- two worlds with the same future ---------------------------------------------------------------------------------

_ID = re.compile(r"[0-9A-F]{32}|(?:[0-9a-f]{32}-)?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_MOMENT = re.compile(r"\d{8}T\d{6}Z|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def footprint(world: World, *more: object) -> str:
    """All that what happens next depends on: the state of both servers, and whatever else is given.

    Ids and values, which are drawn anew in each run, are numbered in the order in which they were made, and times are
    counted from now. Of the requests until now only the probes matter for longer than ten minutes.
    """
    now, state = world.clock.now(), world.infobip.state
    records = world.store._records
    names = {text: f"key {n}" for n, key in enumerate(state.keys.values()) for text in (key.id, key.value)}
    names |= {
        id_: f"version {n}" for n, id_ in enumerate(id_ for record in records.values() for id_ in record.versions)
    }

    def moment(found: re.Match[str]) -> str:
        return str(datetime.fromisoformat(found.group()).astimezone(UTC) - now)

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value - now
        if isinstance(value, Secret):
            return plain(value.reveal())
        if isinstance(value, str):
            named = _ID.sub(lambda found: names.setdefault(found.group(), f"other {len(names)}"), value)
            return _MOMENT.sub(moment, named)
        if is_dataclass(value):
            return [plain(getattr(value, field.name)) for field in fields(value)]
        if isinstance(value, dict):
            return sorted(([plain(name), plain(item)] for name, item in value.items()), key=str)
        if isinstance(value, set | frozenset):
            return sorted(map(plain, value), key=str)
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    probes = {
        (c.principal, c.effect) for c in world.infobip.calls if c.path.startswith(PROBES) and c.status in (200, 403)
    }
    servers = records, state.keys, state.creates, state.updates, state.sessions, state.tokens, world.infobip._late
    return str(plain((servers, probes, world.ours, world.emergency_keys, world.exempt, *more)))


# ---- rule 3 ---------------------------------------------------------------------------------------------------------


def revoked_too_early(*, current: bool, replaced_at: datetime | None, grace: timedelta, now: datetime) -> str:
    """What was wrong with the revocation of a key at this moment, or ``""``; it is not an emergency.

    :param current: whether a secret's ``AWSCURRENT`` holds it.
    :param replaced_at: when it was last replaced there.
    """
    if current:
        return "it is the current key"
    if replaced_at is not None and now - replaced_at < grace:
        return f"{now - replaced_at} after it was replaced"
    return ""


# ---- rule 10 --------------------------------------------------------------------------------------------------------


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
                yield f"rule 10: account {plan.account} was not observed, and the sweep reports success"
            continue
        for name in set(names) - corrected:
            entry = world.store.peek(name)
            spec = spec_or_none(entry.tags)
            if spec is not None and spec.account == plan.account and spec.hold is None:
                yield from _unreported_of(world, plan, entry, spec, begun)


def _unreported_of(world: World, plan: AccountPlan, entry: SecretEntry, spec: Spec, begun: datetime) -> Iterator[str]:
    def overdue(due: datetime, key: SimKey) -> bool:
        return due + min(ALLOWED_DELAY, (key.valid_to - key.valid_from) / ALLOWED_SHARE) < begun

    skipped = {skip.reason for skip in plan.skipped if skip.secret == entry.name}
    alerts = {a.severity for a in plan.alerts if a.secret == entry.name and a.kind is Reason.OVERDUE}
    if skipped & ACCEPTED or Severity.ERROR in alerts:
        return
    proven = set(labelled_and_proven(world, entry.name))
    for labels in entry.versions.values():
        for key_id, at in filter(None, map(parse_retire_label, labels)):
            key = world.infobip.state.keys.get(key_id)
            if key is None or not key.enabled or key.valid_to <= begun or key_id not in proven:
                continue
            if overdue(at, key) and not is_foreign(world, key.name):
                yield f"rule 10: the revocation of key {key_id} of {entry.name}, due at {at}, is overdue, unreported"
    key = world.infobip.key_of(api_key_in(world.try_read(entry.name), spec.value_field))
    if key is None or key.id not in proven:
        return
    due = rotation_due(spec, key)
    scheduled = Reason.DAILY_LIMIT in skipped and key.valid_to > begun
    if overdue(due, key) and not scheduled:
        yield f"rule 10: the rotation of {entry.name}, due at {due}, is overdue, unreported"
