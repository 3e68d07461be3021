"""What holds for every plan, whatever the world looks like: the rules, written down once more in other words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings

from rotator.model import AccountSnapshot, Policy, SecretEntry
from rotator.plan import AccountPlan, ActionKind, Severity
from rotator.policy.labels import (
    key_label,
    parse_key_label,
    parse_key_name,
    parse_retire_label,
    retire_label,
    secret_id,
)
from rotator.policy.lifecycle import current_resolution
from rotator.policy.planner import plan_account
from rotator.policy.rules import make_view, renew_at
from rotator.policy.tags import spec_or_none
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, MINUTE, NOW, arn_of, labels, say_action, secret, snap, vid
from tests.policy.random_worlds import NAMES, in_use, labelled, messy, policies, tidy


def ends(plan: AccountPlan) -> Iterable[tuple[str, str, Reason]]:
    """The keys that a plan would disable: ``(secret, key, reason)``."""
    for action in plan.actions:
        if action.kind is ActionKind.REVOKE and action.reason is not Reason.KEY_NOT_ACTIVE:
            assert action.key_id is not None
            yield action.secret, action.key_id, action.reason


def entry_of(snapshot: AccountSnapshot, name: str) -> SecretEntry:
    return next(entry for entry in (*snapshot.secrets, *snapshot.others) if entry.name == name)


Rule = Callable[[AccountSnapshot, Policy], None]
RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    """It holds for whatever Secrets Manager can show, and for whatever can be written down."""
    RULES.append(check)
    return check


@rule
def no_key_in_use_is_ever_revoked(snapshot: AccountSnapshot, policy: Policy) -> None:
    used = in_use(snapshot)
    assert not {key_id for _, key_id, _ in ends(plan_account(snapshot, policy, NOW, force=True))} & used


@rule
def a_secrets_own_current_key_is_never_retired_nor_called_dead(snapshot: AccountSnapshot, policy: Policy) -> None:
    for action in plan_account(snapshot, policy, NOW).actions:
        if action.kind in (ActionKind.RETIRE, ActionKind.REVOKE):
            entry = entry_of(snapshot, action.secret)
            resolution = current_resolution(snapshot, entry)
            assert action.key_id not in labelled(entry)
            assert labelled(entry) or resolution is None or action.key_id != resolution.key_id


@rule
def only_what_is_named_by_us_is_revoked_and_only_in_its_time(snapshot: AccountSnapshot, policy: Policy) -> None:
    for name, key_id, reason in ends(plan_account(snapshot, policy, NOW, force=True)):
        on_labels = [label for words in entry_of(snapshot, name).versions.values() for label in words]
        times = [at for label in on_labels if (it := parse_retire_label(label)) and it[0] == key_id for at in it[1:]]
        made = snapshot.keys.get(key_id)
        if reason is Reason.GRACE_OVER:
            assert max(times) <= NOW
        else:
            assert reason is Reason.ORPHAN
            assert made is not None
            named = parse_key_name(made.name)
            assert named is not None
            assert (named.secret, named.deployment) == (name, "default")
            assert made.valid_from is not None
            assert made.valid_from <= NOW - timedelta(minutes=30)
            assert not times
            assert key_label(key_id) not in on_labels


@rule
def nothing_is_revoked_unless_the_current_key_works(snapshot: AccountSnapshot, policy: Policy) -> None:
    for name, _, reason in ends(plan_account(snapshot, policy, NOW)):
        if reason is Reason.GRACE_OVER:
            entry = entry_of(snapshot, name)
            (current,) = labelled(entry) or {
                str(found.key_id) if (found := current_resolution(snapshot, entry)) else ""
            }
            works = snapshot.keys[current]
            assert works.enabled
            assert works.valid_to is None or works.valid_to > NOW


@rule
def only_dead_keys_are_called_dead_and_they_cost_nothing(snapshot: AccountSnapshot, policy: Policy) -> None:
    for action in plan_account(snapshot, policy, NOW).actions:
        dead = action.reason is Reason.KEY_NOT_ACTIVE
        assert action.costs_update is (action.kind is ActionKind.REVOKE and not dead)
        if dead:
            assert action.key_id is not None
            gone = snapshot.keys.get(action.key_id)
            assert snapshot.complete if gone is None else not gone.enabled or gone.expired(NOW)


@rule
def the_budget_is_never_passed(snapshot: AccountSnapshot, policy: Policy) -> None:
    plan = plan_account(snapshot, policy, NOW, force=True)
    begun = [key.valid_from for key in snapshot.keys.values() if key.valid_from and key.valid_from <= NOW + MINUTE]
    made = sum(1 for at in begun if at > NOW - DAY)
    taken = sum(1 for at in begun if at > NOW - DAY + 10 * MINUTE)  # the others are free when the sweep gets to them
    creates = sum(1 for action in plan.actions if action.kind is ActionKind.ROTATE)
    updates = sum(1 for _ in ends(plan))
    room = policy.daily_limit - policy.reserve
    assert creates <= max(0, room - taken)
    assert updates <= max(0, room)
    assert plan.quota.creates_used == made


@rule
def a_limit_is_kept_by_what_is_not_forced(snapshot: AccountSnapshot, policy: Policy) -> None:
    active = sum(1 for key in snapshot.keys.values() if key.alive(NOW))
    assert len([*ends(plan_account(snapshot, policy, NOW))]) <= max(5, active // 4)


@rule
def no_key_named_for_another_is_revoked_or_retired(snapshot: AccountSnapshot, policy: Policy) -> None:
    for action in plan_account(snapshot, policy, NOW, force=True).actions:
        key = snapshot.keys.get(action.key_id or "")
        if key is None or not key.alive(NOW) or action.kind not in (ActionKind.RETIRE, ActionKind.REVOKE):
            continue
        name = parse_key_name(key.name)
        if name is not None and name.secret_id is not None:
            entry = entry_of(snapshot, action.secret)
            assert (name.deployment, name.secret_id) == ("default", secret_id(entry.arn))


@rule
def what_must_be_read_is_asked_for_before_it_is_done(snapshot: AccountSnapshot, policy: Policy) -> None:
    """Whoever answers gets no question twice, and what is revoked or passes on its scopes was asked about."""
    plan = plan_account(snapshot, policy, NOW)
    for action in plan.actions:
        costs = action.kind is ActionKind.REVOKE and action.costs_update
        assert not costs or action.key_id in plan.questions.copies
        made = snapshot.keys.get(action.key_id or "")
        if action.version_id is None or made is None or action.kind not in (ActionKind.ROTATE, ActionKind.REVOKE):
            continue
        entry = entry_of(snapshot, action.secret)
        if action.version_id not in entry.versions or not made.enabled or made.expired(NOW):
            continue
        asked = (entry.arn, action.version_id) in plan.questions.values
        current = "AWSCURRENT" in entry.versions[action.version_id]
        resolved = current and current_resolution(snapshot, entry) is not None
        if (costs or made.alive(NOW)) and parse_key_name(made.name) is None:
            assert asked or resolved, action


@rule
def what_is_long_due_is_told(snapshot: AccountSnapshot, policy: Policy) -> None:
    """Rule 10 in other words: a secret whose rotation is long due is rotated, told of, or waits on purpose."""
    plan = plan_account(snapshot, policy, NOW)
    if plan.error is not None:
        return
    alerts = [alert for alert in plan.alerts if alert.kind is Reason.OVERDUE]
    assert all(alert.severity is Severity.ERROR for alert in alerts)
    told = {alert.secret for alert in alerts if alert.action is ActionKind.ROTATE}
    for entry in snapshot.secrets:
        spec, view = spec_or_none(entry.tags), make_view(snapshot, entry)
        if spec is None or view.key is None or view.life.current_version is None:
            continue
        due, end, begin = renew_at(view.spec, view.key), view.key.valid_to, view.key.valid_from
        # A disabled key's lifetime is not known: its revocation set its expiry.
        life = end - begin if view.key.enabled and end is not None and begin is not None else None
        if due is not None and view.life.unlabelled and entry.last_changed is not None:
            due = max(due, entry.last_changed)  # before, no sweep could have done it
        late = due is not None and NOW - due >= (DAY if life is None else max(timedelta(0), min(DAY, life / 10)))
        skipped = {skip.reason for skip in plan.skipped if skip.secret == entry.name}
        if not late:
            assert entry.name not in told or view.mislabelled
        elif entry.name not in told:
            # A slot is waited for at most until the key expires; a wrong label is an alert of its own.
            assert (
                skipped & ON_PURPOSE
                or (Reason.DAILY_LIMIT in skipped and not view.key.expired(NOW))
                or view.mislabelled
            )


ON_PURPOSE = {Reason.HOLD, Reason.WINDOW, Reason.WAITING_FOR_CONSUMERS, Reason.DELETED, Reason.OWNED, Reason.REPLICA}


@rule
def what_is_skipped_rows_is_skipped_rows(snapshot: AccountSnapshot, policy: Policy) -> None:
    plan = plan_account(snapshot, policy, NOW, force=True)
    if plan.error is not None:
        return
    for entry in snapshot.secrets:
        spec = spec_or_none(entry.tags)
        held = spec is not None and spec.hold is not None
        foreign = spec is None or bool(entry.owning_service) or entry.primary_region == "us-east-1"
        if held or foreign or entry.deleted_at is not None:
            planned = [action for action in plan.actions if action.secret == entry.name]
            assert not planned
            assert entry.name in {skip.secret for skip in plan.skipped}


@rule
def a_secret_is_rotated_or_resumed_once(snapshot: AccountSnapshot, policy: Policy) -> None:
    plan = plan_account(snapshot, policy, NOW)
    begun = [action.secret for action in plan.actions if action.kind in (ActionKind.ROTATE, ActionKind.RESUME)]
    assert len(begun) == len(set(begun))
    assert len(plan.actions) == len(set(plan.actions))


@rule
def the_order_of_what_was_observed_means_nothing(snapshot: AccountSnapshot, policy: Policy) -> None:
    random, others = Random(len(snapshot.keys)), tuple(snapshot.others)

    def mix(entry: SecretEntry) -> SecretEntry:
        return replace(entry, versions=dict(random.sample(sorted(entry.versions.items()), len(entry.versions))))

    mixed = replace(
        snapshot,
        secrets=tuple(mix(entry) for entry in random.sample(snapshot.secrets, len(snapshot.secrets))),
        others=tuple(mix(entry) for entry in random.sample(others, len(others))),
        keys=dict(random.sample(sorted(snapshot.keys.items()), len(snapshot.keys))),
    )
    assert plan_account(mixed, policy, NOW) == plan_account(snapshot, policy, NOW)


@rule
def once_its_labels_are_set_right_there_are_none_to_set(snapshot: AccountSnapshot, policy: Policy) -> None:
    """A sweep's labelling leaves nothing of the kind to the next one: nothing flaps."""
    world = replace(snapshot, skew=None)
    for _ in range(2):  # a label that names a wrong key is fixed before anything else is looked at
        world = replace(world, secrets=relabelled(world, plan_account(world, policy, NOW)))
    assert [say_action(action) for action in plan_account(world, policy, NOW).actions if action.kind in LABELLING] == []


LABELLING = (ActionKind.LABEL, ActionKind.RETIRE)


def relabelled(world: AccountSnapshot, plan: AccountPlan) -> tuple[SecretEntry, ...]:
    """The secrets as a sweep's labelling leaves them."""
    found = {entry.name: {version: set(on) for version, on in entry.versions.items()} for entry in world.secrets}
    for action in plan.actions:
        if action.kind not in LABELLING:
            continue
        assert action.version_id is not None
        versions = found[action.secret]
        on = versions[action.version_id]
        if action.reason is Reason.STALE_LABEL:
            on.remove(action.detail)
            continue
        assert action.key_id is not None
        if action.reason is Reason.SUPERSEDED:
            on.add(retire_label(action.key_id, NOW + HOUR))
        else:
            on -= {label for label in on if parse_key_label(label)}
            for each in versions.values():
                each.discard(key_label(action.key_id))
            on.add(key_label(action.key_id))
    return tuple(
        replace(entry, versions={version: frozenset(on) for version, on in found[entry.name].items()})
        for entry in world.secrets
    )


@rule
def force_changes_revocations_only(snapshot: AccountSnapshot, policy: Policy) -> None:
    plain, forced = (plan_account(snapshot, policy, NOW, force=force) for force in (False, True))
    rest = [[a for a in plan.actions if a.kind is not ActionKind.REVOKE] for plan in (plain, forced)]
    assert rest[0] == rest[1]
    assert set(ends(plain)) <= set(ends(forced))


@rule
def one_secrets_plan_is_about_that_secret(snapshot: AccountSnapshot, policy: Policy) -> None:
    for name in NAMES:
        by_name, by_arn = (plan_account(snapshot, policy, NOW, secret=secret) for secret in (name, arn_of(name)))
        assert by_name == by_arn
        assert {action.secret for action in by_name.actions} | {skip.secret for skip in by_name.skipped} <= {name}
        assert {alert.secret for alert in by_name.alerts} <= {name, None}


@settings(max_examples=200)
@given(tidy, policies)
def test_every_rule_holds_in_tidy_worlds(snapshot: AccountSnapshot, policy: Policy) -> None:
    for check in RULES:
        check(snapshot, policy)


@settings(max_examples=200)
@given(messy, policies)
def test_every_rule_holds_in_messy_worlds(snapshot: AccountSnapshot, policy: Policy) -> None:
    for check in RULES:
        check(snapshot, policy)


@pytest.mark.parametrize("words", ["CURRENT", "CURRENT key:K1"])
def test_worlds_are_as_they_say(words: str) -> None:
    """The properties would be true of nothing: what they look for does occur."""
    snapshot = snap([secret("a", {"v0": words})], values={("a", "v0"): "K1"})
    assert in_use(snapshot) == {"K1"}
    assert labels(words) == snapshot.secrets[0].versions[vid("v0")]
