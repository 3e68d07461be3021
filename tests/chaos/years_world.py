"""The simulated enterprise: 300 secrets in three Infobip accounts, and the people who operate them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

from rotator.engine.sweep import Sweep
from rotator.sandbox.exchange import ErrorStyle
from rotator.sandbox.state import Options, SimKey
from tests.chaos.years_faults import AccountFaults, Chance, ChanceFaults, Outages
from tests.doubles.memory_store import MemoryStore
from tests.support.faulty_infobip import FaultyInfobip, put_faults
from tests.world import DAY, World

START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
SECRETS_EACH = 100
TOGETHER = {"alfa": 60, "charlie": 30}
"""How many of an account's keys were made in one afternoon."""
CLEARED = {"alfa": 90, "bravo": 90, "charlie": 240}
"""Every how many days people delete old keys in the portal: until then an account's listing grows."""
SCOPES = ("account-management:manage", "sms:manage", "sms:message:send", "voice:manage")

ACCOUNTS: dict[str, tuple[str, Options]] = {
    "alfa": ("basic", Options()),
    "bravo": ("ibsso", Options(reveal=False, name_contains=True, error_style=ErrorStyle.OLDER)),
    "charlie": ("oauth2", Options(propagation=timedelta(seconds=20), retry_after=True, refuse_past_end=True)),
}
"""How each authenticates, and how its Infobip behaves where the documents leave it open."""

SPECIAL: dict[int, dict[str, str]] = {
    **{key: {"max-age": "30d"} for key in range(60, 63)},
    **{key: {"window": "Mon-Fri 09:00-17:00 Europe/Zagreb"} for key in range(65, 70)},
    **{key: {"window": "Sat 22:00-04:00 UTC", "rotate-before": "45d"} for key in range(70, 72)},
    **{key: {"validity": "14d", "rotate-before": "8d"} for key in range(72, 73)},
    **{key: {"validity": "21d", "rotate-before": "8d", "grace": "5d"} for key in range(73, 75)},
    **{key: {"verify": "skip"} for key in range(77, 80)},
    **{key: {"grace": "24h"} for key in range(80, 83)},
    **{key: {"scopes": "sms:manage voice:manage account-management:manage"} for key in range(83, 86)},
}
"""Tags by a secret's number; the others have the defaults."""
PLAIN, UNADOPTED, EMPTY = range(86, 92), range(92, 96), range(96, 98)


class Enterprise(World):
    """Everything, and a sweep of one account. The same seed is the same enterprise.

    :param rate: of faults, 0..1, over all calls.
    """

    def __init__(self, seed: int, rate: float) -> None:
        super().__init__(start=START)
        self.seed = seed
        self.rng = random.Random(f"enterprise {seed}")
        self.people = random.Random(f"people {seed}")
        self.store = MemoryStore(
            self.clock, staleness=timedelta(minutes=5), keep_unlabelled=30 * DAY, learn=self.redactor.learn
        )
        self.outages = Outages()
        self.servers: dict[str, FaultyInfobip] = {}
        self.faults: dict[str, AccountFaults] = {}
        self.by_hand = False
        for name, (auth, options) in ACCOUNTS.items():
            self._account(name, auth, options, rate)
        for name in ACCOUNTS:
            self._secrets(name)

    # ---- making it --------------------------------------------------------------------------------------------------

    def _account(self, name: str, auth: str, options: Options, rate: float) -> None:
        infobip = FaultyInfobip(self.clock, seed=self.rng.getrandbits(32), options=options)
        faults = AccountFaults(Chance(f"{self.seed} {name}", rate), self.clock.now, slow_keys=bool(options.propagation))
        infobip.faults = put_faults(infobip, ChanceFaults(faults))
        self.servers[name], self.faults[name] = infobip, faults
        account = infobip.add_account(name)
        self.accounts[name] = account.id
        user = infobip.add_user(account, f"ops-{name}")
        value = self._credentials(name, auth, str(user.password))
        tags = {"rotator:role": "management", "rotator:account": name}
        self.store.create_secret(f"rotator/{name}", tags, value, self.new_id())

    def _credentials(self, name: str, auth: str, password: str) -> str:
        url = f"http://127.0.0.1:{8000 + list(ACCOUNTS).index(name)}"
        return json.dumps({"base_url": url, "username": f"ops-{name}", "password": password, "auth": auth})

    def _secrets(self, account: str) -> None:
        now = self.clock.now()
        for number in range(SECRETS_EACH):
            name = f"{account}/service-{number:02}"
            special = SPECIAL.get(number, {})
            tags = {f"rotator:{tag}": text for tag, text in special.items()}
            tags |= {"rotator:role": "key", "rotator:account": account}
            if number in EMPTY:
                self.store.create_secret(name, {**tags, "rotator:scopes": " ".join(SCOPES[:2])})
                continue
            together = number < TOGETHER.get(account, 0)
            age = 40 * DAY + self.rng.random() * DAY / 6 if together else self.rng.random() * 55 * DAY
            life = timedelta(days=int(special.get("validity", "90d")[:-1]))
            key = self.make_key(account, f"by hand: {name}", now - age * (life / (90 * DAY)), life)
            text = key.value if number in PLAIN else json.dumps({"api_key": key.value, "note": f"of {name}"})
            version = self.new_id()
            self.store.create_secret(name, tags, text, version)
            if number not in UNADOPTED:
                self.store.label_by_hand(name, f"rotator:key:{key.id}", version)

    def make_key(self, account: str, name: str, begin: datetime, life: timedelta) -> SimKey:
        """A key made in the portal."""
        begin = begin.replace(microsecond=0)
        scopes = self.rng.sample(SCOPES, 2)
        return self.servers[account].add_key(
            self.accounts[account], name, scopes=scopes, valid_from=begin, valid_to=begin + life
        )

    # ---- people -----------------------------------------------------------------------------------------------------

    def new_password(self, account: str) -> None:
        """The management password is changed, at Infobip and in the secret."""
        user = self.servers[account].state.users[f"ops-{account}"]
        user.password = self.servers[account].state.new_token()
        value = self._credentials(account, ACCOUNTS[account][0], user.password)
        self.store.put_value_by_hand(f"rotator/{account}", value, self.new_id())

    def new_value(self, account: str, name: str) -> None:
        """An operator makes a key in the portal and stores it by hand."""
        key = self.make_key(account, f"by hand again: {name}", self.clock.now(), 90 * DAY)
        text = self.store.consumer_read(name)
        value = json.dumps({**json.loads(text), "api_key": key.value}) if text.startswith("{") else key.value
        self.store.put_value_by_hand(name, value, self.new_id())

    def clear_up(self, account: str) -> None:
        """An operator deletes keys in the portal that ended, or were revoked, more than two months ago."""
        old = self.clock.now() - 60 * DAY
        for key in self.servers[account].keys(self.accounts[account]):
            if key.valid_to < old:
                self.servers[account].delete_key(key.id)

    def hold(self, name: str, held: bool) -> None:
        if held:
            self.store.tag(name, {"rotator:hold": "audit freeze"})
        else:
            self.store.untag(name, "rotator:hold")

    # ---- the rotator ------------------------------------------------------------------------------------------------

    def sweep_of(self, account: str) -> Sweep:
        """One sweep, as the worker for one account makes it: nothing is left of the sweep before.

        Its chance hangs on the account and the time alone, not on what happened before.
        """
        self.infobip, mine = self.servers[account], self.rng
        self.rng = random.Random(f"{self.seed} {account} {self.clock.now().isoformat()}")
        self.redactor.forget()
        try:
            return self.sweep(account=account)
        finally:
            self.rng = mine

    def names_of(self, account: str) -> list[str]:
        return [f"{account}/service-{number:02}" for number in range(SECRETS_EACH)]

    def set_outages(self, outages: Outages) -> None:
        """From now on known to all servers."""
        self.outages = outages
        for faults in self.faults.values():
            faults.outages = outages
