"""Random worlds for the properties, and what is in use in them.

``tidy`` worlds hold only what Secrets Manager allows (a label is on one version, one version is current) and one key a
version; ``messy`` worlds hold anything.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from rotator.model import AccountSnapshot, Key, Policy, Resolution, SecretEntry
from rotator.policy.labels import parse_key_label
from rotator.policy.lifecycle import current_resolution, read_lifecycle
from tests.policy.build import DAY, HOUR, MINUTE, NOW, PLATFORM, SCOPES, SECOND, key, own, secret, short, snap, tagged

KEYS = [f"K{n}" for n in range(6)]
NAMES = ["a", "b", "c"]
VERSIONS = ["v0", "v1", "v2", "v3"]
OFFSETS = ["-90d", "-1h", "-1s", "+0s", "+1s", "+90d"]
LONG = 300 * DAY
LEFT = [None, -DAY, -SECOND, 0 * DAY, SECOND, MINUTE, DAY, DAY + HOUR, 30 * DAY, LONG, LONG, LONG]
SOON = [-SECOND, 0 * DAY, SECOND, 30 * MINUTE - SECOND, 30 * MINUTE]
AGE = [None, *SOON, DAY, DAY + 5 * MINUTE - SECOND, DAY + 5 * MINUTE, DAY + HOUR, 30 * DAY, LONG]
FINE: dict[str, str] = {}
TAGS: list[dict[str, str]] = [
    *(FINE, FINE, FINE, FINE, {"scopes": "sms:manage"}, {"scopes": "a b", "max_age": "1h"}, {"max_age": "30d"}),
    *({"window": "Mon 08:00-10:00 UTC"}, {"window": "Mon 08:00-09:00 UTC"}, {"rotate_before": "14d", "grace": "1h"}),
    *({"hold": "freeze"}, {"hold": ""}, {"grace": "soon"}, {"grace": "30m", "hold": "x"}, {"hodl": "x"}),
]

# Strategies are made once: made anew at each draw, they take longer than what they draw.
COUNTS = st.integers(0, len(VERSIONS))
PLACES = [st.sampled_from([*VERSIONS[:count], None]) for count in range(len(VERSIONS) + 1)]
NAMED = [st.lists(st.sampled_from([None, *KEYS]), min_size=count, max_size=count) for count in range(len(VERSIONS) + 1)]
RETIRING = st.lists(st.sampled_from([f"retire:{key_id}:{offset}" for key_id in KEYS for offset in OFFSETS]), max_size=4)


@st.composite
def tidy_versions(draw: st.DrawFn) -> dict[str, str]:
    """Each label on one version, one key label a version."""
    count = draw(COUNTS)
    versions: dict[str, list[str]] = {version: [] for version in VERSIONS[:count]}
    named = draw(NAMED[count])
    for version, key_id in zip(versions, named, strict=True):
        if key_id is not None and named.count(key_id) == 1:
            versions[version].append(f"key:{key_id}")
    for word in ("CURRENT", "PREVIOUS", "PENDING", *dict.fromkeys(draw(RETIRING))):
        if (place := draw(PLACES[count])) is not None:
            versions[place].append(word)
    return {version: " ".join(words) for version, words in versions.items()}


WORDS = [
    *("CURRENT", "CURRENT", "PREVIOUS", "PENDING", "x", "rotator:key:", "rotator:retire:K1:99991231T235959Z"),
    *(f"key:{key_id}" for key_id in KEYS),
    *(f"retire:{key_id}:{offset}" for key_id in KEYS for offset in OFFSETS[1:4]),
]
messy_versions = st.dictionaries(
    st.sampled_from(VERSIONS), st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), max_size=4
)


def _entry(name: str, account: str, versions: dict[str, str], tags: dict[str, str], whose: str) -> SecretEntry:
    entry = secret(
        name,
        {name + version: words for version, words in versions.items()},  # no version id is given twice
        account=account,
        owner="appflow" if whose == "owned" else None,
        primary={"replica": "us-east-1", "primary": "eu-central-1"}.get(whose),
        deleted=NOW if whose == "deleted" else None,
    )
    return tagged(entry, tags)


def entries(name: str, account: str, versions: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[SecretEntry]:
    whose = st.sampled_from(["mine"] * 8 + ["owned", "replica", "primary", "deleted"])
    return st.builds(_entry, st.just(name), st.just(account), versions, st.sampled_from(TAGS), whose)


KEY_NAMES = [
    *(["by hand"] * 8),
    *(own(of, of[0] + version) for of in (*NAMES, "gone") for version in ("v1", "v9")),
    *(own("a", "av9", "blue"), "a/rotator:default:av9"),
]


def keys(key_id: str) -> st.SearchStrategy[Key | None]:
    made = st.builds(
        key,
        st.just(key_id),
        left=st.sampled_from(LEFT),
        age=st.sampled_from(AGE),
        name=st.sampled_from(KEY_NAMES),
        enabled=st.sampled_from([True, True, True, False]),
        scopes=st.sampled_from([SCOPES, SCOPES, SCOPES, frozenset(), None]),
        readable=st.booleans(),
        platform=st.sampled_from([frozenset()] * 5 + [PLATFORM]),
    )
    return st.one_of(st.just(key(key_id, age=50 * HOUR)), made, made, st.none())


resolutions = st.sampled_from(
    [
        *(Resolution(key_id) for key_id in KEYS),
        Resolution(None, "can't be read"),
        Resolution(None, "no key of this account", known_foreign=True),
        Resolution(None, "no field", known_foreign=True, holds=frozenset({"K1", "K2"})),
        None,
    ]
)
ALL_KEYS = st.tuples(*(keys(key_id) for key_id in (*KEYS, "X")))
ALL_FOUND = st.tuples(*(resolutions for _ in NAMES))
COMPLETE = st.sampled_from([True, True, True, False])
SKEW = st.sampled_from([None] * 15 + [timedelta(minutes=6)])


def worlds(versions: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[AccountSnapshot]:
    """Snapshots of an account and another one."""
    mine, other = (st.tuples(*(entries(name, account, versions) for name in NAMES)) for account in ("main", "other"))
    return st.builds(_world, st.integers(1, len(NAMES)), mine, other, ALL_KEYS, ALL_FOUND, SKEW, COMPLETE)


def _world(
    count: int,
    mine: tuple[SecretEntry, ...],
    other: tuple[SecretEntry, ...],
    listed: tuple[Key | None, ...],
    found: tuple[Resolution | None, ...],
    skew: timedelta | None,
    complete: bool,
) -> AccountSnapshot:
    secrets, others = mine[:count], other[count:]
    ids = {each.id for each in listed if each is not None}
    # As they are observed: only where a label does not tell which key of the account it is.
    values = {
        (entry.name, short(read_lifecycle(entry).current_version)): resolution
        for entry, resolution in zip((*secrets, *others), found, strict=True)
        if resolution is not None and (not labelled(entry) or (complete and not labelled(entry) & ids))
    }
    known = [each for each in listed if each is not None]
    return snap(secrets, known, others=others, values=values, skew=skew, complete=complete)


policies = st.sampled_from([Policy(), Policy(daily_limit=4, reserve=2), Policy(daily_limit=1, reserve=3)])
tidy = worlds(tidy_versions())
messy = worlds(messy_versions)


def labelled(entry: SecretEntry) -> set[str]:
    """The keys whose labels are on a current version."""
    current = [label for on in entry.versions.values() if "AWSCURRENT" in on for label in on]
    return {key_id for label in current if (key_id := parse_key_label(label)) is not None}


def in_use(snapshot: AccountSnapshot) -> set[str]:
    """Every key that some secret's current version holds, or may hold."""
    used: set[str] = set()
    for entry in (*snapshot.secrets, *snapshot.others):
        used |= labelled(entry)
        resolution = current_resolution(snapshot, entry)
        if resolution is not None and any("AWSCURRENT" in on for on in entry.versions.values()):
            used |= resolution.holds | ({resolution.key_id} if resolution.key_id else set())
    return used
