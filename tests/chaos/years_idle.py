"""Which sweeps do nothing, and so need not be made.

A sweep is *skipped* where nothing at either server has changed since one that did nothing, the planner has nothing to
do in the true state, and no fault is drawn for any of the calls that it would make.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.engine.daily_check import BATCH
from rotator.model import AccountSnapshot
from rotator.policy.daily_selection import to_verify
from rotator.sandbox.state import SESSION_TIMEOUT
from tests.chaos.truth import as_listed, would_act
from tests.chaos.years_ledger import Ledger
from tests.chaos.years_world import ACCOUNTS, START, Enterprise
from tests.world import DAY

STALE = timedelta(minutes=5)
"""How long a listing may show what was."""


@dataclass(frozen=True)
class IdleAccount:
    """An account on which a sweep had nothing to do: how many calls it made, beside the daily verification of
    values, and of which state that was."""

    calls: int
    generation: int


class Idle:
    """Knows each account's next sweep, if that does nothing."""

    def __init__(self, world: Enterprise, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger
        self._known: dict[str, IdleAccount] = {}
        self._changed = dict.fromkeys(ACCOUNTS, START - DAY)

    def changed(self, account: str) -> None:
        """Something in Secrets Manager was changed that belongs to an account."""
        self._changed[account] = self.world.clock.now()
        self._known.pop(account, None)

    def learn(self, account: str, begun: datetime, calls: int) -> None:
        """An undisturbed sweep that began then did nothing, and made so many calls."""
        if begun >= self._changed[account] + STALE:
            more = self._calls_to_verify(self._true_state(account), begun)
            if more is not None:
                self._known[account] = IdleAccount(calls - more, self.world.servers[account].state.generation)

    def next_sweep(self, account: str) -> IdleAccount | None:
        """What the next sweep is, if it does nothing; ``None`` if it may do something."""
        world, now = self.world, self.world.clock.now()
        idle = self._known.get(account)
        if idle is None or not self._as_it_was(account, idle) or world.outages.touch(now):
            return None
        snapshot = self._true_state(account)
        more = self._calls_to_verify(snapshot, now)
        if more is None:
            return None
        idle = replace(idle, calls=idle.calls + more)
        none_fails = world.faults[account].none_within(idle.calls)
        return idle if none_fails and not would_act(snapshot, world.policy, now) else None

    def _as_it_was(self, account: str, idle: IdleAccount) -> bool:
        """Whether a kill or a fault left nothing behind at Infobip; a change of a secret drops the record itself."""
        infobip = self.world.servers[account]
        used = max((session.last_used for session in infobip.state.sessions.values()), default=START)
        open_session = self.world.clock.now() - used < SESSION_TIMEOUT and bool(infobip.state.sessions)
        return idle.generation == infobip.state.generation and not infobip.late and not open_session

    def _calls_to_verify(self, snapshot: AccountSnapshot, at: datetime) -> int | None:
        """How many calls the daily verification of values adds to a sweep at that time; it changes nothing.

        ``None`` if values are searched for, because time passes between searches.
        """
        count = len(to_verify(snapshot, at - self.world.policy.sweep_every, at))
        if count and not self.world.servers[snapshot.account].options.reveal:
            return None
        return -(-count // BATCH)

    def _true_state(self, account: str) -> AccountSnapshot:
        """What a sweep would observe if no listing were stale."""
        world = self.world
        infobip = world.servers[account]
        keys = {key.id: as_listed(key, reveal=infobip.options.reveal) for key in infobip.keys(world.accounts[account])}
        entries = tuple(self.ledger.entries[name] for name in world.names_of(account))
        return AccountSnapshot(account, entries, keys)
