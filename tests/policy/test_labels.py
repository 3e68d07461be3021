from __future__ import annotations

import hashlib
import string
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.key_format import is_deployment, is_key_id
from rotator.policy.labels import (
    KEY_NAME_LIMIT,
    KeyName,
    key_label,
    key_name,
    parse_key_label,
    parse_key_name,
    parse_retire_label,
    retire_label,
    secret_id,
)

KEY = "573711510E1C002E29679B12C7CB48AE"
VERSION = "6f1c0f3e-6d8b-4b5c-9a43-0e0a2a3b1c4d"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms/otp-AbCdEf"
ID = "2e9325279d"
ALNUM = string.ascii_letters + string.digits

key_ids = st.text(ALNUM + "_-", min_size=1, max_size=128)
deployments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)
version_ids = st.text(ALNUM + "-", min_size=32, max_size=64)
secret_names = st.text(ALNUM + "/_+=.@-", min_size=1, max_size=300) | st.text(min_size=1, max_size=300)
tricky_names = st.lists(
    st.sampled_from(["prod/x", "/rotator:", "default", ":", VERSION, f"/rotator:default:{VERSION}"]),
    min_size=1,
    max_size=6,
).map("".join)
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(key_ids)
def test_key_labels_are_read_back(key_id: str) -> None:
    assert parse_key_label(key_label(key_id)) == key_id
    assert len(key_label(key_id)) <= 256


@given(st.text() | st.text(max_size=140).map("rotator:key:".__add__))
def test_key_label_parses_only_as_written(label: str) -> None:
    key_id = parse_key_label(label)
    assert key_id is None or key_label(key_id) == label


@pytest.mark.parametrize(
    "label",
    [
        *("", KEY, "AWSCURRENT", "rotator:key:", "rotator:key:é", "rotator:key:" + "a" * 129),
        *(f"Rotator:key:{KEY}", f" rotator:key:{KEY}", f"rotator:key:{KEY}\n", f"rotator:key:{KEY}:x"),
    ],
)
def test_other_labels_are_no_key_labels(label: str) -> None:
    assert parse_key_label(f"rotator:key:{KEY}") == KEY
    assert parse_key_label(label) is None


@pytest.mark.parametrize("key_id", ["", "a b", "é", "a" * 129, "a:b", "a\n", "../x"])
def test_malformed_key_id_is_refused(key_id: str) -> None:
    assert not is_key_id(key_id)
    with pytest.raises(ValueError, match="key id"):
        key_label(key_id)
    with pytest.raises(ValueError, match="key id"):
        retire_label(key_id, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("at", "stamp"),
    [
        (datetime(2026, 11, 27, 10, 0, 5, tzinfo=UTC), "20261127T100005Z"),
        (datetime(2026, 11, 27, 10, 0, 5, 1, tzinfo=UTC), "20261127T100006Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "20270101T000000Z"),
        (datetime(2026, 11, 27, 10, 0, 0, tzinfo=timezone(timedelta(hours=5, minutes=30))), "20261127T043000Z"),
        (datetime(987, 1, 2, tzinfo=UTC), "09870102T000000Z"),
    ],
)
def test_retire_label(at: datetime, stamp: str) -> None:
    assert retire_label(KEY, at) == f"rotator:retire:{KEY}:{stamp}"


@given(key_ids, moments)
def test_retire_labels_are_never_early(key_id: str, at: datetime) -> None:
    label = retire_label(key_id, at)
    parsed = parse_retire_label(label)
    assert parsed is not None
    assert parsed[0] == key_id
    assert timedelta(0) <= parsed[1] - at < timedelta(seconds=1)
    assert parsed[1].utcoffset() == timedelta(0)
    assert len(label) <= 256


@given(
    st.text()
    | st.from_regex(r"rotator:retire:[A-Za-z0-9_-]{1,5}:[0-9]{8}T[0-9]{6}Z", fullmatch=True)
    | st.from_regex(r"rotator:retire:[A-Za-z0-9:_-]{1,5}:[0-9TZ]{14,17}")
)
def test_retire_label_parses_only_as_written(label: str) -> None:
    parsed = parse_retire_label(label)
    assert parsed is None or retire_label(*parsed) == label


@pytest.mark.parametrize(
    "stamp",
    [
        *("", "20261127", "20261127T100005", "2026-11-27T10:00:05Z", "20261127t100005z", "20261127T100005Z\n"),
        *("20261327T100005Z", "20260229T100005Z", "20261127T240000Z", "20261127T100060Z", "00001127T100005Z"),
        *("\u0662\u0660\u0662\u06661127T100005Z", "20261127T100005.5Z", " 20261127T100005Z", "20261127T100005Z:x"),
    ],
)
def test_other_times_are_no_retire_labels(stamp: str) -> None:
    assert parse_retire_label(f"rotator:retire:{KEY}:{stamp}") is None


def test_retire_label_needs_possible_time() -> None:
    with pytest.raises(ValueError, match="zone"):
        retire_label(KEY, datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="year"):
        retire_label(KEY, datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("the region", ARN.replace("eu-central-1", "eu-west-1")),
        ("the partition", ARN.replace(":aws:", ":aws-cn:")),
        ("the AWS account", ARN.replace("123456789012", "210987654321")),
        ("the random suffix, after it was created again", ARN.replace("AbCdEf", "GhIjKl")),
        ("nothing that can be encoded", ARN + "\ud800"),
    ],
)
def test_secret_of_same_name_has_another_id(what: str, other: str) -> None:
    written = key_name("prod/sms/otp", ARN, "default", VERSION)
    assert written == f"prod/sms/otp/rotator:default:{ID}:{VERSION}"
    name = parse_key_name(written)
    assert name == KeyName("prod/sms/otp", "default", VERSION, ID)
    assert name.is_for("prod/sms/otp", ARN), what
    assert secret_id(other) != secret_id(ARN) == hashlib.sha256(ARN.encode()).hexdigest()[:10] == ID
    assert not name.is_for("prod/sms/otp", other)


def test_old_form_key_name_is_for_no_secret() -> None:
    """It tells no ARN: who holds such a key is proven by its value alone."""
    name = parse_key_name(f"prod/sms/otp/rotator:default:{VERSION}")
    assert name == KeyName("prod/sms/otp", "default", VERSION, None)
    assert not name.is_for("prod/sms/otp", ARN)


@given(secret_names | tricky_names, deployments, version_ids)
def test_key_names_are_read_back(secret: str, deployment: str, version_id: str) -> None:
    name = key_name(secret, ARN, deployment, version_id)
    assert len(name) <= KEY_NAME_LIMIT
    assert name.endswith(f"/rotator:{deployment}:{ID}:{version_id}")
    parsed = parse_key_name(name)
    assert parsed is not None
    assert (parsed.deployment, parsed.version_id, parsed.secret_id) == (deployment, version_id, ID)
    assert secret.startswith(parsed.secret)
    assert parsed.secret == secret or len(name) == KEY_NAME_LIMIT
    assert parsed.is_for(secret, ARN)


@given(st.text() | tricky_names)
def test_key_name_parses_only_as_written(name: str) -> None:
    parsed = parse_key_name(name)
    if parsed is None:
        return
    ids = parsed.version_id if parsed.secret_id is None else f"{parsed.secret_id}:{parsed.version_id}"
    assert name == f"{parsed.secret}/rotator:{parsed.deployment}:{ids}"
    written = key_name(parsed.secret, ARN, parsed.deployment, parsed.version_id)
    whole = f"{parsed.secret}/rotator:{parsed.deployment}:{ID}:{parsed.version_id}"
    assert written == whole or len(whole) > KEY_NAME_LIMIT


@given(secret_names, secret_names, version_ids)
def test_name_is_for_its_secret_only(one: str, other: str, version_id: str) -> None:
    parsed = parse_key_name(key_name(one, ARN, "default", version_id))
    assert parsed is not None
    same = key_name(one, ARN, "default", version_id) == key_name(other, ARN, "default", version_id)
    assert parsed.is_for(other, ARN) is same


def test_shorter_beginning_is_another_secret() -> None:
    room = KEY_NAME_LIMIT - len(f"/rotator:default:{ID}:{VERSION}")

    def is_for(secret: str, other: str) -> bool:
        return KeyName(secret, "default", VERSION, ID).is_for(other, ARN)

    assert not is_for("prod/sms", "prod/sms/otp")
    assert not is_for("prod/sms/otp", "prod/sms")
    assert is_for("x" * room, "x" * room + "more")
    assert not is_for("x" * (room - 1), "x" * room)
    assert not is_for("x" * (room - 1), "x" * room + "more")
    assert not is_for("x" * (room + 1), "x" * (room + 1))


@pytest.mark.parametrize(
    "name",
    [
        *("", "portal key", f"/rotator:default:{VERSION}", f"rotator:default:{VERSION}"),
        *(f"prod/rotator:default:{VERSION}\n", f"prod/rotator:default:{VERSION}:x", f"prod/rotator:default/{VERSION}"),
        *(f"prod/rotator:default:{VERSION[:31]}", f"prod/rotator:default:{'a' * 65}", f"prod/rotator:default:{ID}"),
        *(f"prod/rotator:default:{ID}:{VERSION}:x", f"prod/rotator:default:{ID.upper()}:{VERSION}"),
        *(f"prod/rotator:default:{ID[:9]}:{VERSION}", f"prod/rotator:default:{ID}0:{VERSION}"),
        *(f"prod/rotator:default::{VERSION}", f"prod/rotator::{VERSION}", f"prod/rotator:-x:{VERSION}"),
        *(f"prod/rotator:{'d' * 33}:{VERSION}", f"prod/rotator:défaut:{VERSION}", f"prod/ROTATOR:default:{VERSION}"),
    ],
)
def test_other_names_are_no_key_names(name: str) -> None:
    assert parse_key_name(name) is None


@pytest.mark.parametrize(
    ("secret", "deployment", "version_id", "said"),
    [
        ("", "default", VERSION, "secret's name"),
        ("prod", "", VERSION, "deployment"),
        ("prod", "a:b", VERSION, "deployment"),
        ("prod", "default", "short", "version id"),
        ("prod", "default", VERSION + "/", "version id"),
    ],
)
def test_key_name_refuses(secret: str, deployment: str, version_id: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        key_name(secret, ARN, deployment, version_id)


def test_longest_tail_leaves_room_for_name() -> None:
    name = key_name("x" * 512, ARN, "d" * 32, "a" * 64)
    assert len(name) == KEY_NAME_LIMIT
    assert name.startswith("x" * 138 + "/rotator:")
    assert is_deployment("d" * 32)
