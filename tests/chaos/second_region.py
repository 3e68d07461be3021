"""A second region: another Secrets Manager with the same secret names, the same deployment name and Infobip account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rotator.sandbox.infobip import KEYS_API
from rotator.sandbox.state import SimKey
from tests.chaos.rules import Rules
from tests.chaos.truth import named_for
from tests.doubles.memory_store import MemoryStore
from tests.world import World

REGION, AWS_ACCOUNT = "us-east-1", "210987654321"


class SecondRegion(World):
    """Shares clock and Infobip with the first one, and nothing else; it has an Infobip user of its own."""

    def __init__(self, first: World, *, aws_account: str = AWS_ACCOUNT, region: str = REGION) -> None:
        super().__init__(seed=2)
        self._first = first
        self.clock, self.infobip = first.clock, first.infobip
        self.store = MemoryStore(first.clock, account=aws_account, region=region, learn=self.redactor.learn)

    def account(self, name: str = "main", *, auth: str = "basic", password: str | None = None) -> str:
        """The first region's Infobip account, by another user."""
        account = self.infobip.state.accounts[self._first.accounts[name]]
        user = self.infobip.add_user(account, f"second-{name}", password)
        self.accounts[name] = account.id
        self.store_management_secret(name, user, auth)
        return account.id


def belongs_to(world: World, key: SimKey) -> bool:
    """Whether a key was made for a secret of that region, by the rotator or by hand."""
    return named_for(world, key.name) is not None or key.id in {first.id for first in world.first_keys.values()}


@dataclass
class RegionRules(Rules):
    """The rules for one of two regions: what the other does with its own keys is for the other's rules."""

    other: World = field(kw_only=True)

    def _is_judged(self, key: SimKey) -> bool:
        return super()._is_judged(key) and not belongs_to(self.other, key)


@dataclass
class TwoRegions:
    """Both, each with its own rules, and neither may change a key of the other's."""

    first: World
    second: SecondRegion
    rules: tuple[RegionRules, RegionRules] = field(init=False)

    def __post_init__(self) -> None:
        first, second = self.first, self.second
        self.rules = (
            RegionRules(first, pending=False, other=second),
            RegionRules(second, pending=False, other=first),
        )
        self._watched_from = len(first.infobip.calls)
        for rules in self.rules:
            rules.start()

    def wrong_changes(self) -> Iterator[str]:
        """Changes of a key by the user of the region that it does not belong to."""
        for call in self.first.infobip.calls[self._watched_from :]:
            key_id = call.path.removeprefix(f"{KEYS_API}/")
            if call.method not in ("PUT", "DELETE") or key_id not in self.first.infobip.state.keys:
                continue
            second = "second-" in call.principal
            if not belongs_to(self.second if second else self.first, self.first.infobip.key(key_id)):
                yield f"key {key_id} was changed by the {'second' if second else 'first'} region, and is not its own"

    def broken(self, *, after_grace: bool) -> list[str]:
        """What broke so far, and what is not as it should be now."""
        found = list(self.wrong_changes())
        for where, rules in zip(("first", "second"), self.rules, strict=True):
            found += [f"{where} region: {text}" for text in rules.final(after_grace=after_grace)]
        return list(dict.fromkeys(found))
