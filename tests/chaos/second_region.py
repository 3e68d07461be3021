"""A second region, or AWS account: another Secrets Manager with the same secret names and Infobip account.

Each has a deployment of its own, with the same name; or both are stores of one deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rotator.aws.stores import Member, Stores
from rotator.model import StoreId
from rotator.policy.labels import parse_key_name
from rotator.sandbox.infobip import KEYS_API
from rotator.sandbox.state import SimAccount, SimKey
from tests.chaos.rules import Rules
from tests.chaos.truth import named_for
from tests.doubles.memory_store import MemoryStore
from tests.world import HOUR, World

REGION, AWS_ACCOUNT = "us-east-1", "210987654321"
HOME = "123456789012"
"""The AWS account of the first one."""


class SecondRegion(World):
    """Shares clock and Infobip with the first one, and nothing else; it has an Infobip user of its own.

    :param joined: it is the second store of the first one's deployment, by a role where it is in another AWS account.
    """

    def __init__(
        self, first: World, *, aws_account: str = AWS_ACCOUNT, region: str = REGION, joined: bool = False
    ) -> None:
        super().__init__(seed=2)
        self._first = first
        self.clock, self.infobip = first.clock, first.infobip
        learn = (first if joined else self).redactor.learn
        self.store = MemoryStore(first.clock, account=aws_account, region=region, learn=learn)
        role = f"arn:aws:iam::{aws_account}:role/rotator" if aws_account != HOME else None
        self.id = StoreId(region, role)
        if joined:
            home = Member(StoreId("eu-central-1"), lambda: first.store)
            self.stores = first.stores = Stores([home, Member(self.id, lambda: self.store)])

    def account(self, name: str = "main", **management: str) -> SimAccount:
        """The first region's Infobip account, by another user."""
        account = self.infobip.state.accounts[self._first.accounts[name]]
        self.accounts[name] = account.id
        if self.stores is None:
            self.management(self.infobip.add_user(account, f"second-{name}"), name, **management)
        return account


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
            others = call.method not in ("PUT", "DELETE") or key_id not in self.first.infobip.state.keys
            if others or self.first.stores is not None:
                continue
            second = "second-" in call.principal
            if not belongs_to(self.second if second else self.first, self.first.infobip.key(key_id)):
                yield f"key {key_id} was changed by the {'second' if second else 'first'} region, and is not its own"

    def unproven(self, enabled: Iterable[SimKey]) -> list[str]:
        """Those of these keys that were revoked, and whose name is not that of a version that contains them."""
        found = []
        for key in enabled:
            name = parse_key_name(key.name)
            stores = (world.store for world in (self.first, self.second) if named_for(world, key.name) is not None)
            versions = {version for store in stores for version in store.peek(name.secret).versions} if name else ()
            if not self.first.infobip.key(key.id).enabled and (name is None or name.version_id not in versions):
                found.append(f"key {key.id} ({key.name}) was revoked while a store that may contain it was not listed")
        return found

    def converge(self) -> None:
        """Sweep both past every grace period."""
        for time in (HOUR, HOUR, 80 * HOUR, HOUR, HOUR):
            self.first.pass_time(time)
            self.first.sweep()
            if self.first.stores is None:
                self.second.sweep()

    def broken(self, *, after_grace: bool) -> list[str]:
        """What broke so far, and what is not as it should be now."""
        found = list(self.wrong_changes())
        for where, rules in zip(("first", "second"), self.rules, strict=True):
            found += [f"{where} region: {text}" for text in rules.final(after_grace=after_grace)]
        return list(dict.fromkeys(found))
