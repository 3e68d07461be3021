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
    ("tags", "sentence"),
    [
        ({"rotate_before": "90d"}, "is 90d, but a replacement lives 90d, so it would be due at once; write `0.33`"),
        ({"rotate_before": "2d", "validity": "1d"}, "write `0.33`, or lengthen rotator:validity"),
        ({"rotate_before": "2h", "validity": "90m"}, "write `1h`, or lengthen rotator:validity"),
        ({"rotate_before": "30m"}, "leaves 30m of a replacement's life, less than the shortest grace; write `0.33`"),
        ({"validity": "2h"}, "leaves 39m36s of a replacement's life, less than the shortest grace; write `1h`"),
        ({"validity": "1h"}, "rotator:validity gives a replacement 1h, no longer than the shortest grace; write `90d`"),
        (
            {"grace": "10d", "validity": "10d"},
            "rotator:grace is 10d, but a replacement is rotated with 3d7h12m left; write at most `3d7h12m`",
        ),
        ({"grace": "72h", "rotate_before": "2d"}, "rotator:grace is 3d, but a replacement is rotated with 2d left"),
        ({"grace": "72h", "rotate_before": "0.02"}, "rotated with 1d19h12m left"),
    ],
)
def test_times_that_cannot_work_together_are_said_with_a_fix(tags: dict[str, str], sentence: str) -> None:
    found = problems(**tags)
    assert len(found) == 1, found
    assert sentence in str(found[0])


def test_tags_with_odd_case_or_space_are_not_lost() -> None:
    for tag in ("Rotator:hold", " rotator:hold", "ROTATOR:HOLD", "rotator:hold "):
        assert [problem.fix for problem in tag_problems(MAIN | {tag: "x"})] == ["did you mean rotator:hold?"]


def test_a_missing_account_is_said() -> None:
    with pytest.raises(InvalidTags) as caught:
        parse_spec({"rotator:role": "key"}, "app/key")
    assert [str(problem) for problem in caught.value.problems] == [
        "rotator:account is missing; tag the secret with the name of its Infobip account"
    ]
    assert (caught.value.message, caught.value.advice) == (
        "app/key: rotator:account is missing",
        "Tag the secret with the name of its Infobip account",
    )
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
def test_the_fixes_of_times_that_cannot_work_do_work(tags: dict[str, str]) -> None:
    found = tag_problems(MAIN | tags)
    values = {problem.tag: re.search(r"`([^`]+)`", problem.fix) for problem in found}
    if not all(values.values()):  # a value that is wrong by itself
        assert all(tags[problem.tag] in ("0s", "5m") for problem in found if not values[problem.tag])
        return
    parsed = parse_spec(MAIN | tags | {tag: match[1] for tag, match in values.items() if match})
    before = parsed.rotate_before
    left = before if isinstance(before, timedelta) else parsed.validity * before
    assert left < parsed.validity
    assert parsed.grace <= left
    assert parsed.grace >= timedelta(hours=1) or tags.get("rotator:allow-short-grace") == "true"


def test_problems_stay_readable_whatever_the_tags_hold() -> None:
    found = tag_problems({"rotator:" + "x" * 5000: "y", "rotator:account": "\x1b" * 9000, "rotator:window": "M" * 9000})
    assert len(found) == 3
    assert all(len(str(problem)) < 500 for problem in found)


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"grace": "soon"}, 'rotator:grace is "soon", which is not a duration; write one such as 90s'),
        ({"grace": ""}, 'rotator:grace is "", which is not a duration'),
        ({"grace": "72"}, "say the unit, such as 72d for days or 72h for hours"),
        ({"grace": "30m"}, "rotator:grace is 30m, shorter than consumers may cache a value; write at least `1h`"),
        ({"grace": "4000d"}, "longer than 3650 days"),
        ({"rotate_before": "33%"}, "neither a fraction nor a duration; write a fraction such as 0.33"),
        ({"rotate_before": "0,33"}, "neither a fraction nor a duration"),
        ({"rotate_before": "14"}, "say the unit, such as 14d"),
        ({"rotate_before": "1"}, "say the unit"),
        ({"rotate_before": "0"}, "say the unit"),
        *(({"rotate_before": text}, "not between 0 and 1") for text in ("1.0", "0.0", "0.99999999999999999")),
        *(({"rotate_before": text}, "neither a fraction nor a duration") for text in ("-0.5", "1e-1", "nan")),
        ({"rotate_before": "0s"}, "no time at all"),
        ({"max_age": "0d"}, "no time at all"),
        ({"max_age": "0.5"}, "not a duration"),
        ({"max_age": "59m"}, "rotator:max-age is 59m: every sweep would rotate the key; write at least `1h`"),
        ({"validity": "9m"}, "too short for a key to be put to use; write at least 10m"),
        ({"validity": "0s"}, "too short"),
        ({"allow_short_grace": "yes"}, 'is "yes", which is not a known word here; write true or false'),
        ({"scopes": " "}, "names no scope; write the scopes, or remove the tag"),
        ({"scopes": "a,b"}, 'rotator:scopes is "a,b", which is not a scope'),
        ({"scopes": "a b;c"}, 'rotator:scopes holds "b;c", which is not a scope'),
        ({"scopes": "a", "scopes_2": ""}, "rotator:scopes-2"),
        ({"scopes_2": "a"}, "rotator:scopes-2 goes on from rotator:scopes, which is missing"),
        ({"scopes": "a", "scopes_2": "b", "scopes_4": "c"}, "goes on from rotator:scopes-3, which is missing"),
        (
            {"scopes": "a", "scopes_1": "b"},
            "rotator:scopes-1 is not a tag that the rotator knows; did you mean rotator:sc",
        ),
        ({"scopes": "a", "scopes_02": "b"}, "rotator:scopes-02 is not a tag"),
        *(({"value_field": text}, "not a field's name") for text in ("", "x" * 65, "a b")),
        *(({"value_field": name}, "the rotator writes itself") for name in ("key_id", "expires_at", "base_url")),
        ({"verify": "no"}, "write probe or skip"),
        *(
            ({"verify_path": path}, "not a path")
            for path in (
                *("", "account", "//evil.example/x", "/a//b", "/a/../b", "/..", "/a/./b", "/a b", "/a@b", "/a:80"),
                *("/a?b=c", "/a%2e", "/a\r\nX: y", "https://x/"),
            )
        ),
        (
            {"window": "Mon-Fri"},
            'rotator:window is "Mon-Fri", which is not a window; write days, hours and a time zone',
        ),
        ({"window": "Mon 09:00-17:00 Mars"}, 'rotator:window holds "Mars", which is not a time zone'),
        ({"gate": "always"}, "write adoption"),
        ({"account": ""}, "not an account's name"),
        ({"account": "-x"}, "not an account's name"),
        ({"account": "x" * 129}, "not an account's name"),
        ({"account": "a\nb"}, 'rotator:account is "a\\nb"'),
        ({"hodl": "x"}, "rotator:hodl is not a tag that the rotator knows; did you mean rotator:hold?"),
        ({"Hold": "x"}, "did you mean rotator:hold?"),
        ({"rotate_befor": "1d"}, "did you mean rotator:rotate-before?"),
        ({"zzzzzzzz": "x"}, "remove it; the tags are rotator:role"),
        ({"": "x"}, "is not a tag that the rotator knows"),
    ],
)
def test_what_is_wrong_is_said_with_its_fix(tags: dict[str, str], sentence: str) -> None:
    found = problems(**tags)
    assert len(found) == 1, found
    assert sentence in str(found[0])
