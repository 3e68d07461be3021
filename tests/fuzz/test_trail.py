"""Any event of CloudTrail: a read, none, or an unreadable event; and a plan that prints."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rotator.aws.cloudtrail import UnreadableEvent, read_of
from rotator.model import Read, Reads
from rotator.policy.planner import plan_account
from tests.fuzz.strategies import JSON, TEXTS
from tests.policy.build import DAY, NOW, POLICY, arn_of, key, secret, snap

SECRET = secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}, gate="adoption")
NAMES = st.sampled_from(["s", arn_of("s"), arn_of("s")[:-7]])
IDENTITIES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["AssumedRole", "IAMUser", "AWSService", "AWSAccount"]) | JSON,
        "arn": st.just("arn:aws:sts::123456789012:assumed-role/billing/x") | TEXTS | JSON,
        "invokedBy": TEXTS | JSON,
        "principalId": TEXTS | JSON,
        "accountId": TEXTS | JSON,
        "userName": TEXTS | JSON,
        "sessionContext": st.fixed_dictionaries({"sessionIssuer": st.fixed_dictionaries({"arn": TEXTS}) | JSON}) | JSON,
    },
)
RECORDS = st.fixed_dictionaries(
    {"requestParameters": st.fixed_dictionaries({"secretId": NAMES | JSON}, optional={"versionStage": JSON}) | JSON},
    optional={
        "userIdentity": IDENTITIES | JSON,
        "eventTime": st.just("2026-02-20T10:00:00Z") | TEXTS | JSON,
        "eventSource": st.just("secretsmanager.amazonaws.com") | JSON,
        "errorCode": JSON,
        "userAgent": TEXTS | JSON,
    },
)
EVENTS = st.fixed_dictionaries(
    {"EventName": st.just("GetSecretValue") | JSON, "CloudTrailEvent": RECORDS.map(json.dumps) | TEXTS | JSON},
    optional={
        "EventTime": st.datetimes(timezones=st.just(UTC) | st.none()) | JSON,
        "Resources": st.lists(st.fixed_dictionaries({"ResourceName": NAMES | JSON}) | JSON, max_size=3) | JSON,
    },
)


def read(event: dict[str, Any]) -> Read | None:
    try:
        return read_of(event, SECRET)
    except UnreadableEvent:
        return None


@given(EVENTS)
def test_event_is_read_or_none_or_unreadable(event: dict[str, Any]) -> None:
    """Threat: a CloudTrail event that can't be read. It counts as a gap, not as "no read"."""
    found = read(event)
    assert found is None or (found.principal and found.at.tzinfo is UTC and len(found.principal) <= 512)


@given(st.lists(st.builds(Read, TEXTS, st.datetimes(timezones=st.just(UTC)), st.booleans()), max_size=6))
def test_any_readers_never_wait_for_ever(reads: list[Read]) -> None:
    log = Reads(tuple(reads), datetime.min.replace(tzinfo=UTC), NOW)
    snapshot = replace(snap([SECRET], [key(), key("K2")]), readers={SECRET.arn: log})
    plan = plan_account(snapshot, POLICY, NOW)
    assert len(plan.actions) + len(plan.skipped) == 1
    assert all(skip.detail.isprintable() and len(skip.detail) < 500 for skip in plan.skipped)
    later = plan_account(snapshot, POLICY, NOW + 3 * DAY)
    assert [str(action.reason) for action in later.actions] == ["grace-over"]
