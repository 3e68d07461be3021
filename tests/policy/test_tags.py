"""Each tag by itself; their combinations are tested in ``test_spec``."""

from __future__ import annotations

import pytest

from rotator.policy.tags import TagProblem, tag_problems

MAIN = {"rotator:role": "key", "rotator:account": "main"}


def problems(**tags: str) -> tuple[TagProblem, ...]:
    found = tag_problems(MAIN | {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()})
    assert found
    return found


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
        ({"rotate_before": "1.0"}, "not between 0 and 1"),
        ({"rotate_before": "0.0"}, "not between 0 and 1"),
        ({"rotate_before": "0.99999999999999999"}, "not between 0 and 1"),
        ({"rotate_before": "-0.5"}, "neither a fraction nor a duration"),
        ({"rotate_before": "1e-1"}, "neither a fraction nor a duration"),
        ({"rotate_before": "nan"}, "neither a fraction nor a duration"),
        ({"rotate_before": "0s"}, "no time at all"),
        ({"max_age": "0d"}, "no time at all"),
        ({"max_age": "0.5"}, "not a duration"),
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
        ({"value_field": ""}, "not a field's name"),
        ({"value_field": "x" * 65}, "not a field's name"),
        ({"value_field": "a b"}, "not a field's name"),
        ({"value_field": "key_id"}, "the rotator writes itself"),
        ({"value_field": "expires_at"}, "the rotator writes itself"),
        ({"value_field": "base_url"}, "the rotator writes itself"),
        ({"verify": "no"}, "write probe or skip"),
        ({"verify_path": ""}, "not a path"),
        ({"verify_path": "account"}, "not a path"),
        ({"verify_path": "//evil.example/x"}, "not a path"),
        ({"verify_path": "/a//b"}, "not a path"),
        ({"verify_path": "/a/../b"}, "not a path"),
        ({"verify_path": "/.."}, "not a path"),
        ({"verify_path": "/a/./b"}, "not a path"),
        ({"verify_path": "/a b"}, "not a path"),
        ({"verify_path": "/a@b"}, "not a path"),
        ({"verify_path": "/a:80"}, "not a path"),
        ({"verify_path": "/a?b=c"}, "not a path"),
        ({"verify_path": "/a%2e"}, "not a path"),
        ({"verify_path": "/a\r\nX: y"}, "not a path"),
        ({"verify_path": "https://x/"}, "not a path"),
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
