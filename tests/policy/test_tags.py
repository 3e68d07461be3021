"""The tags of a managed secret: each by itself, and together."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.model import Spec, Window
from rotator.policy.tags import (
    NO_REASON,
    InvalidTags,
    TagProblem,
    account_of,
    parse_spec,
    role,
    spec_or_none,
    tag_problems,
)

MAIN = {"rotator:role": "key", "rotator:account": "main"}


def spec(**tags: str) -> Spec:
    """The spec that tags give; `_` in names stands for `-`."""
    return parse_spec(MAIN | {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()})


def problems(**tags: str) -> tuple[TagProblem, ...]:
    found = tag_problems(MAIN | {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()})
    assert found
    return found


def proposed(problem: TagProblem) -> str | None:
    """The value that works, which the fix has in backticks; ``None`` for a tag that is wrong by itself."""
    found = re.search(r"`([^`]+)`", problem.fix)
    return found[1] if found else None


def named(problem: TagProblem) -> list[str]:
    """The tags that the fix names."""
    return re.findall(r"rotator:[a-z0-9-]+", problem.fix)


def test_defaults() -> None:
    assert spec() == Spec(account="main")
    assert parse_spec(MAIN | {"team": "sms", "aws:cloudformation:stack-name": "x", "rotators": "x"}) == Spec("main")


def test_every_tag() -> None:
    assert spec(
        rotate_before="14d",
        max_age="60d",
        validity="30d",
        grace="24h",
        allow_short_grace="false",
        scopes="sms:manage whatsapp:manage",
        scopes_2="2fa:manage sms:manage",
        value_field="token",
        verify="skip",
        verify_path="/sms/3/reports",
        window="Mon-Fri 09:00-17:00 Europe/Zagreb",
        hold="audit until 1 Dec",
        gate="adoption",
    ) == Spec(
        account="main",
        rotate_before=timedelta(days=14),
        max_age=timedelta(days=60),
        validity=timedelta(days=30),
        grace=timedelta(hours=24),
        scopes=frozenset({"sms:manage", "whatsapp:manage", "2fa:manage"}),
        value_field="token",
        verify=False,
        verify_path="/sms/3/reports",
        window=Window(frozenset(range(5)), 540, 1020, "Europe/Zagreb"),
        hold="audit until 1 Dec",
        gate=True,
    )


@pytest.mark.parametrize(
    ("tags", "field", "value"),
    [
        ({"rotate_before": "0.5"}, "rotate_before", 0.5),
        ({"rotate_before": ".5"}, "rotate_before", 0.5),
        ({"rotate_before": " 2w "}, "rotate_before", timedelta(weeks=2)),
        ({"grace": "1h"}, "grace", timedelta(hours=1)),
        ({"grace": "0s", "allow_short_grace": "true"}, "grace", timedelta(0)),
        ({"grace": "5m", "allow_short_grace": " TRUE\n"}, "grace", timedelta(minutes=5)),
        ({"verify": "Skip"}, "verify", False),
        ({"verify": "probe"}, "verify", True),
        ({"verify_path": "/"}, "verify_path", "/"),
        ({"verify_path": "/a/b/"}, "verify_path", "/a/b/"),
        ({"hold": ""}, "hold", NO_REASON),
        ({"hold": " \n"}, "hold", NO_REASON),
        ({"hold": "false"}, "hold", "false"),
        ({"hold": "evil\x1b[2J"}, "hold", "evil\\x1b[2J"),
        ({"scopes": "a  a\tb"}, "scopes", frozenset({"a", "b"})),
        ({"account": " main "}, "account", "main"),
        ({"account": "Main 2/eu@x"}, "account", "Main 2/eu@x"),
        # a default grace is cut to what is left of a replacement when it is rotated in its turn
        ({"validity": "1d"}, "grace", timedelta(hours=7, minutes=55, seconds=12)),
        ({"rotate_before": "2h"}, "grace", timedelta(hours=2)),
        ({"rotate_before": "1h"}, "grace", timedelta(hours=1)),
        ({"rotate_before": "10m", "allow_short_grace": "true"}, "grace", timedelta(minutes=10)),
        ({"rotate_before": "10d", "validity": "11d"}, "grace", timedelta(hours=72)),
        ({"rotate_before": "72h", "grace": "72h"}, "grace", timedelta(hours=72)),
        ({"rotate_before": "1h", "validity": "61m"}, "validity", timedelta(minutes=61)),
        ({"validity": "10m", "allow_short_grace": "true"}, "grace", timedelta(seconds=198)),
    ],
)
def test_values(tags: dict[str, str], field: str, value: object) -> None:
    assert getattr(spec(**tags), field) == value


@pytest.mark.parametrize(
    ("tags", "tag", "works"),
    [
        ({"rotate_before": "90d"}, "rotate-before", "0.33"),
        ({"rotate_before": "2d", "validity": "1d"}, "rotate-before", "0.33"),
        ({"rotate_before": "2h", "validity": "90m"}, "rotate-before", "1h"),
        ({"rotate_before": "30m"}, "rotate-before", "0.33"),
        ({"validity": "2h"}, "rotate-before", "1h"),
        ({"validity": "1h"}, "validity", "90d"),
        ({"grace": "10d", "validity": "10d"}, "grace", "3d7h12m"),
        ({"grace": "72h", "rotate_before": "2d"}, "grace", "2d"),
        ({"grace": "72h", "rotate_before": "0.02"}, "grace", "1d19h12m"),
        ({"grace": "30m"}, "grace", "1h"),
        ({"max_age": "59m"}, "max-age", "1h"),
    ],
)
def test_conflicting_times_name_working_one(tags: dict[str, str], tag: str, works: str) -> None:
    assert [(problem.tag, proposed(problem)) for problem in problems(**tags)] == [(f"rotator:{tag}", works)]


def test_tags_with_odd_case_are_not_lost() -> None:
    for tag in ("Rotator:hold", " rotator:hold", "ROTATOR:HOLD", "rotator:hold "):
        (problem,) = tag_problems(MAIN | {tag: "x"})
        assert (problem.tag, named(problem)) == (tag, ["rotator:hold"])


def test_missing_account_is_said() -> None:
    with pytest.raises(InvalidTags) as caught:
        parse_spec({"rotator:role": "key"}, "app/key")
    (problem,) = caught.value.problems
    assert problem.tag == "rotator:account"
    assert "app/key" in caught.value.message
    assert problem.detail in caught.value.message
    assert caught.value.advice.casefold() == problem.fix.casefold()
    assert spec_or_none({"rotator:role": "key"}) is None


def test_all_problems_are_said() -> None:
    found = problems(
        account="-",
        rotate_before="100d",
        max_age="x",
        grace="5m",
        scopes="a,b",
        scopes_3="c",
        value_field="",
        verify="x",
        verify_path="x",
        window="x",
        gate="x",
        hodl="x",
    )
    names = ("account", "rotate-before", "max-age", "grace", "scopes", "scopes-3", "value-field", "verify")
    expected = {f"rotator:{name}" for name in (*names, "verify-path", "window", "gate", "hodl")}
    assert {problem.tag for problem in found} == expected
    assert len(found) == len(expected)


def test_role_and_account() -> None:
    assert role({}) is None
    assert role(MAIN) == "key"
    assert role({"rotator:role": " management\n"}) == "management"
    assert role({"rotator:role": "other"}) == "other"
    assert account_of({"rotator:account": " main "}) == "main"
    assert account_of({}) is None


LENGTHS = st.sampled_from(["0s", "5m", "10m", "30m", "59m", "1h", "61m", "2h", "3h", "1d", "3d", "10d", "90d", "3650d"])
FRACTIONS = st.sampled_from(["0.001", "0.01", "0.33", "0.5", "0.999"])
times = st.fixed_dictionaries(
    {},
    optional={
        "rotator:validity": LENGTHS,
        "rotator:rotate-before": LENGTHS | FRACTIONS,
        "rotator:grace": LENGTHS,
        "rotator:allow-short-grace": st.sampled_from(["true", "false"]),
    },
)


@given(times)
@settings(max_examples=400)
@example({"rotator:validity": "1h", "rotator:rotate-before": "90d", "rotator:grace": "3650d"})
@example({"rotator:validity": "2h", "rotator:rotate-before": "5m", "rotator:grace": "3h"})
def test_fixes_of_conflicting_times_work(tags: dict[str, str]) -> None:
    found = tag_problems(MAIN | tags)
    values = {problem.tag: proposed(problem) for problem in found}
    if not all(values.values()):  # a value that is wrong by itself
        assert all(tags[problem.tag] in ("0s", "5m") for problem in found if not values[problem.tag])
        return
    parsed = parse_spec(MAIN | tags | {tag: value for tag, value in values.items() if value})
    before = parsed.rotate_before
    left = before if isinstance(before, timedelta) else parsed.validity * before
    assert left < parsed.validity
    assert parsed.grace <= left
    assert parsed.grace >= timedelta(hours=1) or tags.get("rotator:allow-short-grace") == "true"


def test_problems_stay_readable() -> None:
    found = tag_problems({"rotator:" + "x" * 5000: "y", "rotator:account": "\x1b" * 9000, "rotator:window": "M" * 9000})
    assert len(found) == 3
    assert all(len(str(problem)) < 500 for problem in found)


WRONG: dict[str, list[dict[str, str]]] = {
    "grace": [{"grace": text} for text in ("soon", "", "72", "4000d")],
    "rotate-before": [
        {"rotate_before": text}
        for text in (
            *("33%", "0,33", "14", "1", "0", "1.0", "0.0", "0.99999999999999999", "-0.5", "1e-1", "nan", "0s", "4000d"),
            "1d1d",
        )
    ],
    "max-age": [{"max_age": text} for text in ("0d", "0.5")],
    "validity": [{"validity": text} for text in ("9m", "0s")],
    "allow-short-grace": [{"allow_short_grace": "yes"}],
    "scopes": [{"scopes": text} for text in (" ", "a,b", "a b;c")],
    "scopes-2": [{"scopes": "a", "scopes_2": ""}, {"scopes_2": "a"}],
    "scopes-4": [{"scopes": "a", "scopes_2": "b", "scopes_4": "c"}],
    "scopes-1": [{"scopes": "a", "scopes_1": "b"}],
    "scopes-02": [{"scopes": "a", "scopes_02": "b"}],
    "value-field": [{"value_field": text} for text in ("", "x" * 65, "a b", "key_id", "expires_at", "base_url")],
    "verify": [{"verify": "no"}],
    "verify-path": [
        {"verify_path": path}
        for path in (
            *("", "account", "//evil.example/x", "/a//b", "/a/../b", "/..", "/a/./b", "/a b", "/a@b", "/a:80"),
            *("/a?b=c", "/a%2e", "/a\r\nX: y", "https://x/"),
        )
    ],
    "window": [{"window": text} for text in ("Mon-Fri", "Mon 09:00-17:00 Mars")],
    "gate": [{"gate": "always"}],
    "account": [{"account": text} for text in ("", "-x", "x" * 129, "a\nb")],
    "zzzzzzzz": [{"zzzzzzzz": "x"}],
    "": [{"": "x"}],
}


@pytest.mark.parametrize(
    ("tag", "tags"), [(tag, tags) for tag, rows in WRONG.items() for tags in rows], ids=lambda each: repr(each)[:60]
)
def test_tag_wrong_by_itself_is_named(tag: str, tags: dict[str, str]) -> None:
    (problem,) = problems(**tags)
    assert (problem.tag, proposed(problem)) == (f"rotator:{tag}", None)
    assert problem.fix


@pytest.mark.parametrize(
    ("tags", "fact"),
    [
        # the text that is wrong, or the part of it
        ({"grace": "soon"}, '"soon"'),
        ({"scopes": "a b;c"}, '"b;c"'),
        ({"account": "a\nb"}, '"a\\nb"'),
        ({"window": "Mon 09:00-17:00 Mars"}, '"Mars"'),
        # what to write instead
        *(({"grace": "72"}, fact) for fact in ("72d", "72h")),
        *(({"rotate_before": "33%"}, fact) for fact in ("0.33", "14d")),
        ({"rotate_before": "7"}, "7d"),
        ({"rotate_before": "1d1d"}, "unit d"),
        ({"validity": "9m"}, "10m"),
        ({"grace": "4000d"}, "3650d"),
        *(({"allow_short_grace": "yes"}, fact) for fact in ("true", "false")),
        *(({"verify": "no"}, fact) for fact in ("probe", "skip")),
        ({"gate": "always"}, "adoption"),
        # the tag that is meant, or missing
        ({"scopes_2": "a"}, "rotator:scopes,"),
        ({"scopes": "a", "scopes_2": "b", "scopes_4": "c"}, "rotator:scopes-3"),
        ({"scopes": "a", "scopes_1": "b"}, "rotator:scopes?"),
        ({"hodl": "x"}, "rotator:hold?"),
        ({"Hold": "x"}, "rotator:hold?"),
        ({"rotate_befor": "1d"}, "rotator:rotate-before?"),
        ({"zzzzzzzz": "x"}, "rotator:role, rotator:account, "),
    ],
)
def test_what_to_write_is_named(tags: dict[str, str], fact: str) -> None:
    (problem,) = problems(**tags)
    assert fact in str(problem)
