"""The short way through an idle secret's labels says what the rules say, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.core.labels import key_label, retire_label
from rotator.core.lifecycle import read_any, read_idle, read_lifecycle
from rotator.core.versions import IdleVersions, idle_versions
from tests.core.build import at, secret

IDS = ["K1", "K2"]
LABELS = [
    *("AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"),
    *(key_label(key_id) for key_id in IDS),
    *(retire_label(key_id, at("+1d")) for key_id in IDS),
    *("rotator:key:", "rotator:key:not an id", "rotator:retire:K1:soon", "somebody's own"),
]
IDLE = st.frozensets(st.sampled_from(["AWSCURRENT", "AWSPENDING", key_label("K1"), key_label("K2")]), max_size=4)
MESSY = st.frozensets(st.sampled_from(LABELS), max_size=4)
VERSIONS = st.dictionaries(
    st.sampled_from(["v1", "v2", "v3", ""]), IDLE | MESSY | st.just(frozenset({"AWSPREVIOUS"})), max_size=4
)


@given(VERSIONS, st.sampled_from([None, *IDS]))
@example({"v1": frozenset({"AWSCURRENT", key_label("K1")}), "v2": frozenset({"AWSPREVIOUS"})}, "K2")
@example({"": frozenset({"AWSCURRENT", key_label("K1")})}, None)
def test_it_says_the_same_as_the_rules_or_nothing(versions: dict[str, frozenset[str]], resolved: str | None) -> None:
    shortly, fully = read_idle(versions), read_any(tuple(versions.items()), resolved)
    assert shortly in (None, fully)


@given(VERSIONS, st.sampled_from([None, *IDS]))
@example({"v1": frozenset({"AWSCURRENT", key_label("K1")}), "": frozenset({"AWSPREVIOUS"})}, None)
def test_what_is_kept_small_is_the_same(versions: dict[str, frozenset[str]], resolved: str | None) -> None:
    small = idle_versions({version: list(labels) for version, labels in versions.items()})
    shortly = read_idle(versions)
    if small is None:
        before = [version for version, labels in versions.items() if labels == {"AWSPREVIOUS"}]
        assert shortly is None or len(before) > 1 or "" in before
        return
    assert small == versions
    assert versions == small
    assert dict(small.items()) == versions
    assert all(small.get(version) == versions.get(version) for version in ("v1", "v2", "v3", ""))
    assert len(small) == len(versions)
    assert small.life.label_count == sum(map(len, versions.values()))
    assert repr(small) == repr(dict(small))
    assert read_idle(small) == shortly == read_any(tuple(small.items()), resolved)


def test_labels_that_are_listed_in_a_way_of_their_own_are_not_kept_small() -> None:
    label = key_label("K1")
    assert idle_versions({"v1": ["AWSCURRENT", label], "v2": []}) is None
    assert idle_versions({"v1": ["AWSCURRENT", label, label]}) is None
    kept = idle_versions({"v1": ["AWSPENDING", label, "AWSCURRENT", "AWSCURRENT"], "v2": ["AWSPREVIOUS"]})
    assert isinstance(kept, IdleVersions)
    assert kept == {"v1": {label, "AWSCURRENT", "AWSPENDING"}, "v2": {"AWSPREVIOUS"}}


@pytest.mark.parametrize(
    "versions",
    [
        {"v1": "CURRENT key:K1"},
        {"v1": "CURRENT PENDING key:K1"},
        {"v2": "CURRENT PENDING key:K1", "v1": "PREVIOUS"},
        {"v2": "PREVIOUS", "v1": "CURRENT key:K1"},
    ],
)
def test_what_most_secrets_look_like_goes_the_short_way(versions: dict[str, str]) -> None:
    entry = secret("s", versions)
    shortly = read_idle(entry.versions)
    assert shortly is not None
    assert shortly == read_any(tuple(entry.versions.items()), None) == read_lifecycle(entry)


@pytest.mark.parametrize(
    "versions",
    [
        {},
        {"v1": "PREVIOUS"},
        {"v1": "CURRENT"},
        {"v1": "CURRENT key:K1 key:K2"},
        {"v1": "CURRENT PREVIOUS key:K1"},
        {"v1": "CURRENT key:K1", "v2": "CURRENT key:K2"},
        {"v1": "CURRENT key:K1", "v2": "PENDING"},
        {"v1": "CURRENT key:K1", "v2": "key:K2"},
        {"v1": "CURRENT key:K1", "v2": "PREVIOUS retire:K2:+1d"},
    ],
)
def test_anything_under_way_goes_the_long_way(versions: dict[str, str]) -> None:
    assert read_idle(secret("s", versions).versions) is None
