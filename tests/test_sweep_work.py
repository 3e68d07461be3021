"""How much a sweep looks at: a secret is read so and so often, however many accounts there are. Counted, not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.sweep import Sweep
from rotator.model import SecretEntry
from rotator.policy.labels import key_name
from tests.world import World

SECRETS = 48
A_SECRET = 12
"""How often its labels and its tags may be looked at: when it is listed, observed, planned, and for all accounts."""


class Watched(Mapping[str, Any]):
    """A mapping that counts how often somebody looks into it."""

    def __init__(self, real: Mapping[str, Any], name: str, seen: Counter[str]) -> None:
        self._real, self._name, self._seen = real, name, seen

    def __getitem__(self, key: str) -> Any:
        self._seen[self._name] += 1
        return self._real[key]

    def __iter__(self) -> Iterator[str]:
        self._seen[self._name] += 1
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


def looks(accounts: int, monkeypatch: pytest.MonkeyPatch, *, orphans: bool) -> tuple[Counter[str], Sweep]:
    """A sweep of ``SECRETS`` secrets in so many accounts: how often the labels of each were looked at."""
    world, seen = World(), Counter[str]()
    for number in range(SECRETS):
        world.managed(f"s{number:02}", account=f"a{number % accounts}")
    if orphans:  # keys that may be anybody's are looked for everywhere
        now = world.clock.now()
        for number in range(accounts):
            secret = f"s{number:02}"
            name = key_name(secret, world.store.peek(secret).arn, "default", f"{number:036}")
            made = now - timedelta(minutes=31)
            world.infobip.add_key(world.accounts[f"a{number}"], name, valid_from=made, valid_to=now + timedelta(days=9))
    listed = world.store.list_secrets

    def watched() -> tuple[SecretEntry, ...]:
        return tuple(replace(each, versions=Watched(each.versions, each.name, seen)) for each in listed())

    monkeypatch.setattr(world.store, "list_secrets", watched)
    return seen, world.sweep(dry_run=True)


@pytest.mark.parametrize("orphans", [False, True])
def test_no_account_reads_the_labels_of_all_the_others(monkeypatch: pytest.MonkeyPatch, orphans: bool) -> None:
    few, sweep = looks(2, monkeypatch, orphans=orphans)
    assert sum(len(plan.actions) for plan in sweep.plan.accounts) == 2 * orphans
    many, sweep = looks(24, monkeypatch, orphans=orphans)
    assert sum(len(plan.actions) for plan in sweep.plan.accounts) == 24 * orphans
    assert len(many) == len(few) == SECRETS
    assert max(many.values()) <= A_SECRET * (1 + orphans)  # a plan that revokes is made again, with what was asked
    assert sum(many.values()) <= sum(few.values()) + 24 * A_SECRET * orphans
