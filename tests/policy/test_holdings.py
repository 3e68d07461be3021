"""Which secret holds which key: a shared directory gives what reading every label for an account gives."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from rotator.model import AccountSnapshot, Policy
from rotator.policy.holdings import Directory, Holdings, Others
from rotator.policy.labels import KeyName, key_name, parse_key_name, secret_id
from rotator.policy.lifecycle import current_resolution, read_lifecycle
from rotator.policy.planner import plan_account
from rotator.policy.rules import make_view
from tests.policy.build import NOW, arn_of, secret, vid
from tests.policy.random_worlds import KEYS, messy, policies, tidy

ByKey = dict[str, set[str]]


def read_in_full(snapshot: AccountSnapshot) -> tuple[ByKey, ByKey, set[str], list[str]]:
    """Who holds which key, who has it in grace, which are named, whose values are unknown: every label read once."""
    current: ByKey = {}
    graced: ByKey = {}
    named: set[str] = set()
    unknown = []
    for entry in (*snapshot.secrets, *snapshot.others):
        found = current_resolution(snapshot, entry)
        life = read_lifecycle(entry, found.key_id if found else None)
        held = set(life.at_work)
        if found is not None:
            held |= {*found.holds, *([found.key_id] if found.key_id else [])}
        named |= held | life.named
        for key_id in held:
            current.setdefault(key_id, set()).add(entry.arn)
        has_value = life.current_version is not None and entry.deleted_at is None
        for item in life.retiring:
            if item.revoke_at > NOW:
                graced.setdefault(item.key_id, set()).add(entry.arn)
        for _, key_id in life.superseded if has_value else ():
            graced.setdefault(key_id, set()).add(entry.arn)
        mine = entry in snapshot.secrets
        asked = found is not None and (found.key_id is not None or found.known_foreign)
        if has_value and not asked and (found is not None or (mine and life.current_key is None)):
            unknown.append(entry.name)
    return current, graced, named, sorted(unknown)


def shared(snapshot: AccountSnapshot) -> AccountSnapshot:
    """The same, as a sweep makes it: the other accounts' secrets in a directory of all accounts."""
    directory = Directory({"main": snapshot.secrets, "other": tuple(snapshot.others)})
    return replace(snapshot, others=Others(directory, "main"))


@given(messy | tidy)
def test_holdings_are_what_labels_say(snapshot: AccountSnapshot) -> None:
    current, graced, named, unknown = read_in_full(snapshot)
    names = {entry.arn: entry.name for entry in (*snapshot.secrets, *snapshot.others)}
    for seen in (snapshot, shared(snapshot)):
        views = [make_view(seen, entry) for entry in seen.secrets]
        holdings = Holdings(seen, views)
        assert list(holdings.unknown) == unknown
        assert {key.id for key in holdings.loose} == snapshot.keys.keys() - named
        for key_id in KEYS:
            assert holdings.names(key_id) is (key_id in named)
            for arn in (*names, "arn:none"):
                holding = sorted(names[each] for each in current.get(key_id, set()) - {arn})
                lately = sorted(names[each] for each in graced.get(key_id, set()) - {arn})
                assert holdings.others_holding(key_id, arn) == tuple(holding)
                assert holdings.others_in_grace(key_id, arn, NOW) == tuple(lately)


@given(messy | tidy, policies)
def test_plan_is_same_with_shared_directory(snapshot: AccountSnapshot, policy: Policy) -> None:
    assert plan_account(shared(snapshot), policy, NOW) == plan_account(snapshot, policy, NOW)


LONG = "x" * 300


def test_secret_is_found_by_keys_name() -> None:
    entries = tuple(secret(name) for name in ("a", "a/b", LONG, LONG + "y", "z"))
    others = Others.of(entries)

    def found(name: str, id_of: str | None = None) -> str | None:
        parsed = parse_key_name(key_name(name, arn_of(id_of or name), "default", vid("v1")))
        assert parsed is not None
        entry = others.named(parsed)
        return entry.name if entry is not None else None

    assert found("a") == "a"
    assert found("a/b") == "a/b"
    assert found("b") is None
    assert found("a", "a/b") is None  # another secret's id
    assert found(LONG) == LONG  # a name that is cut is found by its id
    assert found(LONG + "y") == LONG + "y"
    assert others.named(KeyName("a", "default", vid("v1"), None)) is None  # the older form has no id
    assert others.named(KeyName("a", "default", vid("v1"), "0" * 10)) is None


def test_others_are_those_of_other_accounts() -> None:
    mine = secret("m", {"v1": "CURRENT key:K1"})
    theirs = secret("t", {"v1": "CURRENT key:K1", "v0": "PREVIOUS"}, account="other")
    others = Others(Directory({"main": (mine,), "other": (theirs,)}), "main")
    assert [*others] == [theirs]
    assert others.naming("K1") == [theirs]
    assert others.named(KeyName("t", "default", vid("v9"), secret_id(theirs.arn))) == theirs
    assert others.named(KeyName("m", "default", vid("v9"), secret_id(mine.arn))) is None
    alone = Others(Directory({"main": (mine,)}), "main")
    assert [*alone] == []
    assert alone.naming("K1") == ()
    assert alone.named(KeyName("m", "default", vid("v1"), secret_id(mine.arn))) is None
