"""Who still uses an old key, and how long its revocation waits for them: over the composed chain where it decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.model import AccountSnapshot, Key, Read, Reads, ReadsUnknown
from rotator.policy.emergency_ids import emergency_version_id
from rotator.policy.gate import LOOK_BACK, consumers, gap_in, principal_words, promoted_at, waits_until
from rotator.policy.lifecycle import Retiring, read_lifecycle
from rotator.telemetry.metrics import OVERDUE, state_samples
from tests.policy.build import DAY, HOUR, NOW, SECOND, Case, arn_of, at, key, secret, snap, tagged

GRACE = 72 * HOUR
PROMOTED = NOW - HOUR - GRACE
"""By the label: it is due since an hour."""
DUE = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}
BOTH = (key(), key("K2", age=73 * HOUR))
REVOKED = "revoke grace-over s K1@v1"
WAITS = "skip s waiting-for-consumers"
SAYS = WAITS + "; warning waiting-for-consumers s K1"
BILLING, SMS = "arn:aws:iam::123456789012:role/billing", "arn:aws:iam::210987654321:role/path/sms"


def reads(*found: Read, since: datetime = NOW - 20 * DAY, until: datetime = NOW, gap: str = "") -> Reads:
    return Reads(found, since, until, gap)


def gated(
    readers: Reads | ReadsUnknown | None, versions: dict[str, str] = DUE, keys: tuple[Key, ...] = BOTH, **tags: str
) -> AccountSnapshot:
    found = snap([tagged(secret("s", versions, gate="adoption"), tags)], keys)
    return found if readers is None else replace(found, readers={arn_of("s"): readers})


BEFORE = Read(BILLING, PROMOTED - HOUR)
SINCE = Read(BILLING, PROMOTED + HOUR)
EMERGENCY = emergency_version_id(arn_of("s"), "INC-1", "seed")

CASES = (
    Case("nobody reads it", gated(reads()), REVOKED),
    Case("read before and since", gated(reads(BEFORE, SINCE)), REVOKED),
    Case("read before and not since", gated(reads(BEFORE)), SAYS),
    Case("read at the very moment of the promotion", gated(reads(BEFORE, Read(BILLING, PROMOTED))), REVOKED),
    Case("read a second before it", gated(reads(Read(BILLING, PROMOTED - SECOND))), SAYS),
    Case("read 14 days before", gated(reads(Read(BILLING, PROMOTED - 14 * DAY))), SAYS),
    Case("read more than 14 days before", gated(reads(Read(BILLING, PROMOTED - 14 * DAY - SECOND))), REVOKED),
    Case("read since only", gated(reads(SINCE)), REVOKED),
    Case("one of two has not", gated(reads(BEFORE, SINCE, Read(SMS, BEFORE.at))), SAYS),
    Case("an old version read since is no new value", gated(reads(replace(SINCE, current=False))), SAYS),
    Case("both versions read since", gated(reads(replace(SINCE, current=False), SINCE)), REVOKED),
    Case("without the tag nothing waits", snap([secret("s", DUE)], BOTH), REVOKED),
    Case("not looked at", gated(None), WAITS),
    Case("the log can't be read", gated(ReadsUnknown("denied")), SAYS),
    Case("the answer has a gap", gated(reads(gap="an event could not be made out")), SAYS),
    Case("the answer was cut within the 14 days", gated(reads(since=PROMOTED - 13 * DAY)), SAYS),
    Case("the answer was cut just before them", gated(reads(since=PROMOTED - 14 * DAY)), REVOKED),
    Case("the log lags behind the promotion", gated(reads(until=PROMOTED - SECOND)), SAYS),
    Case("the grace is not over", gated(None, {**DUE, "v1": "PREVIOUS key:K1 retire:K1:+1s"})),
    Case("a hold stands", gated(None, hold="x"), "skip s hold"),
    Case(
        "the key is disabled already", gated(None, keys=(key(enabled=False), BOTH[1])), "revoke key-not-active s K1@v1"
    ),
    Case("it has expired", gated(reads(BEFORE), keys=(key(left=0 * DAY), BOTH[1])), "revoke key-not-active s K1@v1"),
    Case("its own end is near", gated(reads(BEFORE), keys=(key(left=SECOND), BOTH[1])), SAYS),
    Case("a further grace is over", gated(reads(BEFORE), {**DUE, "v1": "PREVIOUS key:K1 retire:K1:-72h"}), REVOKED),
    Case(
        "a second before that",
        gated(reads(Read(BILLING, NOW - 144 * HOUR)), {**DUE, "v1": "PREVIOUS key:K1 retire:K1:-71h59m59s"}),
        SAYS,
    ),
    Case(
        "a further grace is over, and the log can't be read",
        gated(ReadsUnknown("denied"), {**DUE, "v1": "PREVIOUS key:K1 retire:K1:-72h"}),
        REVOKED,
    ),
    Case("the window is shut: that is said first", gated(None, window="Mon 08:00-09:00 UTC"), "skip s window"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_waits(case: Case) -> None:
    """Threat: repeated reads of an old version to delay its revocation under rotator:gate. It waits for one further
    grace period at most, never past the key's expiry.
    """
    case.check()


def test_superseded_by_emergency_never_waits() -> None:
    entry = secret("s", DUE, gate="adoption")
    labels = dict(zip((EMERGENCY, *list(entry.versions)[1:]), entry.versions.values(), strict=True))
    plan = Case("", snap([replace(entry, versions=labels)], BOTH)).plan()
    assert [str(action.reason) for action in plan.actions] == ["grace-over"]


def test_what_is_said() -> None:
    many = [Read(f"arn:aws:iam::123456789012:role/r{n}", BEFORE.at) for n in range(5)]
    (skip,) = Case("", gated(reads(*many))).plan().skipped
    told = skip.message.values
    assert (told["key"], told["limit"]) == ("K1", at("+2d23h"))
    assert str(told["names"]).startswith("role/r0, role/r1, role/r2 ")
    assert "role/r3" not in str(told["names"])
    (skip,) = Case("", gated(reads(Read("\x1b[2J\n" * 99, BEFORE.at)))).plan().skipped
    assert skip.detail.isprintable()
    assert len(skip.detail) < 250
    (alert,) = Case("", gated(ReadsUnknown("cloudtrail:LookupEvents is denied"))).plan().alerts
    assert alert.message.values["gap"] == "cloudtrail:LookupEvents is denied"


def test_reads_asked_from_earliest_promotion() -> None:
    three = {"v3": "CURRENT key:K3", "v2": "key:K2 retire:K2:-1h", "v1": "PREVIOUS key:K1 retire:K1:-2h"}
    entry = secret("s", three, gate="adoption")
    plan = Case("", snap([entry], [key("K3", age=73 * HOUR), key("K2", age=75 * HOUR), key()])).plan()
    promoted = NOW - 2 * HOUR - GRACE
    assert plan.questions.readers == {entry.arn: (at("-2h"), promoted - LOOK_BACK)}


def test_waiting_on_purpose_is_not_overdue() -> None:
    def overdue(snapshot: AccountSnapshot) -> float:
        samples = state_samples(snapshot, Case("", snapshot).plan(), NOW, ())
        (value,) = [each.value for each in samples if each.family is OVERDUE]
        return value

    assert overdue(gated(reads(BEFORE))) == 0
    assert overdue(gated(reads(BEFORE, SINCE))) == 1  # its revocation was planned, and did not happen


def moment(versions: dict[str, str], keys: tuple[Key, ...], grace: timedelta = GRACE) -> datetime:
    life = read_lifecycle(secret("s", versions))
    return promoted_at(life.retiring[0], life, {each.id: each for each in keys}, grace)


def test_time_of_promotion() -> None:
    assert moment(DUE, BOTH) == PROMOTED
    assert moment(DUE, ()) == PROMOTED
    assert moment(DUE, (key(age=None), key("K2", age=None))) == PROMOTED
    # The grace was lengthened meanwhile: the replacement did not exist before it was made.
    assert moment(DUE, BOTH, 30 * DAY) == NOW - 73 * HOUR
    # Rolled back: the current key is older than the one that retires.
    assert moment(DUE, (key(age=DAY), key("K2", age=40 * DAY))) == PROMOTED
    # Of two later keys the earlier one followed it.
    three = {"v3": "CURRENT key:K3", "v2": "key:K2 retire:K2:+1h", "v1": "key:K1 retire:K1:-1h"}
    assert moment(three, (*BOTH, key("K3", age=HOUR)), 30 * DAY) == NOW - 73 * HOUR
    # Nothing is promoted after the grace that follows it.
    assert moment(DUE, (key(), key("K2", age=0 * DAY))) == at("-1h")


def test_how_long_it_waits() -> None:
    item = Retiring("v1", "K1", NOW)
    assert waits_until(item, key(), GRACE) == NOW + GRACE
    assert waits_until(item, key(left=HOUR), GRACE) == NOW + HOUR
    assert waits_until(item, key(left=None), GRACE) == NOW + GRACE
    assert waits_until(item, None, GRACE) == NOW + GRACE


def test_last_read_of_each_consumer_counts() -> None:
    later = replace(BEFORE, at=BEFORE.at + SECOND)
    found = consumers(reads(later, BEFORE, SINCE, Read(SMS, BEFORE.at), Read("a", SINCE.at)), PROMOTED)
    assert [(each.principal, each.last_before, each.last_since, each.waited_for) for each in found] == [
        (SMS, BEFORE.at, None, True),
        ("a", None, SINCE.at, False),
        (BILLING, later.at, SINCE.at, False),
    ]
    assert consumers(reads(BEFORE), PROMOTED, timedelta(minutes=59)) == ()


def test_gaps() -> None:
    assert gap_in(reads(), PROMOTED) is None
    gap = gap_in(reads(since=NOW - 12 * DAY), PROMOTED)
    assert gap is not None
    assert gap.values == {"since": NOW - 12 * DAY}
    assert gap_in(reads(since=NOW - 12 * DAY), PROMOTED, DAY) is None


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        (BILLING, "role/billing"),
        ("arn:aws:iam::123456789012:root", "root"),
        ("arn:aws-cn:sts::123456789012:federated-user/ana", "federated-user/ana"),
        ("batch.amazonaws.com", "batch.amazonaws.com"),
        ("arn:aws:iam::123456789012:user/a\x1b[31m\n", "user/a\\x1b[31m\\n"),
        ("", ""),
    ],
)
def test_principals_as_people_name_them(principal: str, name: str) -> None:
    assert principal_words(principal, arn_of("s")) == name


def test_foreign_principal_shows_its_account() -> None:
    told = principal_words(SMS, arn_of("s"))
    assert "role/path/sms" in told
    assert "210987654321" in told
