"""Which sweeps do nothing, and so need not be made.

A sweep is *skipped* where nothing at either server has changed since nothing was to be done, no time has come that
the planner waits for, and no fault is drawn for any of the calls that it would make.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from rotator.durations import plus
from rotator.model import AccountSnapshot, Key, Policy, SecretEntry
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import plan_account
from rotator.policy.rules import ROTATE_WHEN, View, first, renew_at, window_closed
from rotator.policy.scheduling import margin, quota_window
from rotator.policy.tags import spec_or_none
from rotator.policy.windows import is_open, next_open, openings
from rotator.sandbox.state import SESSION_IDLE, SimKey
from tests.chaos.years_ledger import Ledger
from tests.chaos.years_world import ACCOUNTS, START, Enterprise
from tests.world import DAY

STALE = timedelta(minutes=5)
"""How long a listing may show what was."""
NEVER = START + 10_000 * DAY


@dataclass(frozen=True)
class IdleAccount:
    """An account with nothing to do, as long as nothing changes.

    :param calls: that a sweep of it makes.
    :param since: before, listings may show something else.
    :param until: when time gives it something to do.
    :param early_from: from when on the planner has to be asked whether the daily limit makes it begin early.
    """

    calls: int
    generation: int
    since: datetime
    until: datetime
    early_from: datetime


class Idle:
    """Knows each account's next sweep, if that does nothing."""

    def __init__(self, world: Enterprise, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger
        self._known: dict[str, IdleAccount] = {}
        self._changed = dict.fromkeys(ACCOUNTS, START - DAY)
        self._besides_pages: dict[str, int] = {}
        self._enabled: dict[str, tuple[int, int]] = {}
        self._due: dict[str, tuple[SecretEntry, SimKey | None, datetime, datetime]] = {}

    def changed(self, account: str) -> None:
        """Something in Secrets Manager was changed that belongs to an account."""
        self._changed[account] = self.world.clock.now()
        self._known.pop(account, None)

    def next_sweep(self, account: str) -> IdleAccount | None:
        """What the next sweep is, if it does nothing; ``None`` if it may do something."""
        world, now = self.world, self.world.clock.now()
        idle = self._known.get(account)
        if idle is None or not idle.since <= now < idle.until or not self._as_it_was(account, idle):
            return None
        if world.outages.touch(now) or not world.faults[account].none_within(idle.calls):
            return None
        if now >= idle.early_from and self._would_begin_early(account, now):
            return None
        return idle

    def learn(self, account: str, begun: datetime, calls: int) -> None:
        """An undisturbed sweep that began then did nothing, and made so many calls."""
        if begun >= self._settled(account) and not self.ledger.unlabelled[account]:
            self._besides_pages[account] = calls - self._pages(account)

    def update(self, account: str) -> None:
        """After a sweep: whether the next one does nothing."""
        idle = self._known.get(account)
        if idle is None or self.world.clock.now() >= idle.until or not self._as_it_was(account, idle):
            self._remember(account)

    def _as_it_was(self, account: str, idle: IdleAccount) -> bool:
        """Whether a kill or a fault left nothing behind at Infobip; a change of a secret drops the record itself."""
        infobip = self.world.infobip[account]
        used = max((session.last_used for session in infobip.state.sessions.values()), default=START)
        open_session = self.world.clock.now() - used < SESSION_IDLE and bool(infobip.state.sessions)
        return idle.generation == infobip.state.generation and not infobip.late and not open_session

    def _remember(self, account: str) -> None:
        self._known.pop(account, None)
        if self.ledger.unlabelled[account] or account not in self._besides_pages:
            return  # a sweep makes calls of its own for those
        now = self.world.clock.now()
        until, early_from = self._next_due(account, now)
        if until > now:
            calls = self._besides_pages[account] + self._pages(account)
            generation = self.world.infobip[account].state.generation
            self._known[account] = IdleAccount(calls, generation, self._settled(account), until, early_from)

    def _would_begin_early(self, account: str, now: datetime) -> bool:
        """What the planner says over the true state."""
        world = self.world
        keys = {key.id: _hashable(key) for key in world.infobip[account].keys(world.ids[account])}
        entries = tuple(self.ledger.entries[name] for name in world.names(account))
        snapshot = AccountSnapshot(account, world.store.peek(f"infobip/{account}"), entries, keys)
        return bool(plan_account(snapshot, world.policy, now).actions)

    def _pages(self, account: str) -> int:
        """The pages of enabled keys: an idle sweep lists no others."""
        state = self.world.infobip[account].state
        generation, count = self._enabled.get(account, (-1, 0))
        if generation != state.generation:
            count = sum(1 for key in state.by_account[self.world.ids[account]].values() if key.enabled)
            self._enabled[account] = state.generation, count
        return max(1, -(-count // 100))

    def _settled(self, account: str) -> datetime:
        """From when on listings show what an account's sweep depends on."""
        return self._changed[account] + STALE

    def _next_due(self, account: str, now: datetime) -> tuple[datetime, datetime]:
        """When time alone gives a sweep something to do, if nothing else changes; not after ``now``: it has already.

        Then from when on the daily limit may do that.
        """
        if any(key.valid_to > now for key in self.ledger.unheld(account)):
            return now, now
        names = list(self.world.names(account))
        dues = [self._secret_due(account, name, now, len(names)) for name in names]
        return min(due for due, _ in dues), min(early for _, early in dues)

    def _secret_due(self, account: str, name: str, now: datetime, total: int) -> tuple[datetime, datetime]:
        entry = self.ledger.entries[name]
        keys = self.world.infobip[account].state.keys
        key = keys.get(self.ledger.current.get(name, ""))
        expiries = []
        for item in read_lifecycle(entry).retiring:
            if item.key_id not in keys or not keys[item.key_id].enabled:
                return now, now  # a disabled key loses its labels at once, and so does an expired one
            expiries.append(keys[item.key_id].valid_to)
        known = self._due.get(name)
        if known is not None and known[0] is entry and known[1] is key and known[2] > now:
            return known[2:]
        due, early = _due(entry, key, now, total, self.world.policy)
        due = min((due, *expiries))
        self._due[name] = entry, key, due, early
        return due, early


@lru_cache(maxsize=16384)
def _hashable(key: SimKey) -> Key:
    """As it is listed, but for its permissions: the planner's caches need a hash."""
    return Key(key.id, key.name, key.account_id, key.enabled, key.valid_from, key.valid_to, key.scopes)


def _due(
    entry: SecretEntry, key: SimKey | None, now: datetime, total: int, policy: Policy
) -> tuple[datetime, datetime]:
    spec, life = spec_or_none(entry.tags), read_lifecycle(entry)
    if spec is None:
        return now, now
    if spec.hold is not None:
        return NEVER, NEVER
    if key is None or not key.enabled or life.pending_version or life.superseded or life.stale or life.problem:
        return now, now
    view = View(entry, spec, (), life, key.id, _hashable(key))
    opens = now if spec.window is None or is_open(spec.window, now) else next_open(spec.window, now)
    due = [opens if item.revoke_at <= now else item.revoke_at for item in life.retiring]
    decision = first(ROTATE_WHEN, view, now)
    if decision is None:
        due.append(renew_at(view) or NEVER)
    else:
        due.append(now if window_closed(view, decision, now) is None else min(opens, key.valid_to))
    # With so many slots left there is one after today whatever the others use: scheduling leaves it out.
    slots = (policy.daily_limit - policy.reserve) // 2  # what others create uses slots too, at most so many
    days, last = -(-total // slots), plus(key.valid_to, -margin(view))
    if spec.window is None:
        return min(due), plus(last, -(days + 1) * quota_window(policy))
    # In two openings less than a day apart a slot can be used only once, and others may use the slots of two.
    days = 4 * days + 2
    begun = [opens for opens, _ in openings(spec.window, last - 9 * days * DAY, last)]
    return min(due), plus(begun[-days - 1], -2 * quota_window(policy))
