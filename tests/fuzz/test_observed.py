"""Tags, labels, names and keys as they may stand in a listing: the plan says something readable, and never fails."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.engine.observe import management_of, observe_fleet
from rotator.engine.secret_changes import managed_account
from rotator.errors import RotatorError
from rotator.model import AccountSnapshot, Key, Policy, SecretEntry
from rotator.plan import ActionKind
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import plan_account
from rotator.policy.status import states
from rotator.policy.tags import account_of, role, spec_or_none, tag_problems
from rotator.reasons import Reason
from rotator.sandbox.clocks import VirtualClock
from tests.doubles.memory_store import MemoryStore
from tests.fuzz.strategies import KEY_NAMES, LABELS, TAGS, TEXTS, VERSIONS, result_of
from tests.support.moments import START

TIMES = (
    st.none()
    | st.sampled_from([START, START - timedelta(days=80), START + timedelta(days=5)])
    | st.just(datetime.max.replace(tzinfo=START.tzinfo))
)
MANAGED = st.builds(lambda tags: {"rotator:role": "key", "rotator:account": "main", **tags}, TAGS)
ENTRIES = st.builds(
    SecretEntry,
    # AWS itself lets nothing odd into names, ARNs and regions.
    arn=st.sampled_from(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/x-AbCdEf", "arn", ""]),
    name=st.sampled_from(["prod/x", "prod/y", "p" * 512, "=+@-"]),
    tags=MANAGED | TAGS,
    versions=st.dictionaries(VERSIONS | TEXTS, st.frozensets(LABELS, max_size=4), max_size=4),
    owning_service=st.none() | st.just("rds"),
    primary_region=st.none() | st.just("us-east-1"),
    deleted_at=TIMES,
    last_changed=TIMES,
)
KEYS = st.builds(
    Key,
    id=st.sampled_from(["K1", "K2", "k-3_", "A" * 128]),  # the client takes nothing else for an id
    name=KEY_NAMES,
    account_id=st.none() | TEXTS,
    enabled=st.booleans(),
    valid_from=TIMES,
    valid_to=TIMES,
    scopes=st.none() | st.frozensets(TEXTS, max_size=2),
)


@given(TAGS)
def test_any_tags_are_read_or_explained(tags: dict[str, str]) -> None:
    """Threat: any text as a tag. It is read, or the secret is skipped with the fix."""
    spec, problems = spec_or_none(tags), tag_problems(tags)
    assert role(tags) == tags.get("rotator:role", "").strip() or role(tags) is None
    assert account_of(tags) is None or "rotator:account" in tags
    assert (spec is None) == bool(problems)
    assert spec is None or (spec.hold is not None) == ("rotator:hold" in tags)
    assert all(str(problem).isprintable() for problem in problems)


@settings(max_examples=60)
@given(st.lists(ENTRIES, max_size=4), st.lists(KEYS, max_size=4), st.sampled_from([START, START + timedelta(days=400)]))
def test_any_snapshot_gives_readable_plan(entries: list[SecretEntry], keys: list[Key], now: datetime) -> None:
    """Threat: any labels and key names. The plan is readable, and revokes only keys that a label or their own name
    gives to this deployment.
    """
    snapshot = AccountSnapshot(
        account="main",
        management=SecretEntry("arn:m", "rotator/main", {}, {}),
        secrets=tuple({entry.arn: entry for entry in entries}.values()),
        keys={key.id: key for key in keys},
    )
    plan = plan_account(snapshot, Policy(), now)
    states(snapshot, plan.actions, now)
    for text in [skip.detail for skip in plan.skipped] + [alert.detail for alert in plan.alerts]:
        assert text.isprintable(), ascii(text)
    for action in plan.actions:
        assert action.detail.isprintable() or action.reason is Reason.STALE_LABEL, ascii(action.detail)
        if action.kind is ActionKind.REVOKE:
            # Whatever stands in labels and names, only a key that a label or its own name gives us is ever ended.
            named = {key_id for entry in entries for key_id in read_lifecycle(entry).named}
            own = {key.id for key in keys if (name := parse_key_name(key.name)) and name.deployment == "default"}
            assert action.key_id in named | own


@settings(max_examples=60)
@given(st.lists(TAGS, max_size=4), TEXTS)
def test_fleet_sorted_accounts_explained(secrets: list[dict[str, str]], name: str) -> None:
    store = MemoryStore(VirtualClock(START), strict=False)
    for number, tags in enumerate(secrets):
        store.create_secret(f"prod/{number}", {"rotator:role": "key", **tags}, None)
    fleet = observe_fleet(store)
    for wanted in (*fleet.accounts, name):
        _, error = result_of(partial(management_of, fleet, wanted), RotatorError)
        assert str(error).isprintable()
    for entry in store.list_secrets():
        _, error = result_of(partial(managed_account, entry), RotatorError)
        assert str(error).isprintable(), ascii(str(error))
    assert all(alert.detail.isprintable() for alert in fleet.alerts)
