"""Which sweeps do nothing, and so need not be made.

A sweep is *passed over* where nothing at either far end has changed since the planner found nothing to do, no time that
it waits for has come, and no fault is drawn for any of the calls that it would make.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from rotator.core.decisions import renew_at
from rotator.core.labels import parse_key_name
from rotator.core.model import AccountSnapshot, Key, Reason
from rotator.core.planner import make_view, plan_account
from rotator.core.windows import next_open
from rotator.sandbox.model import SimKey
from tests.chaos.years_ledger import Ledger
from tests.chaos.years_world import ACCOUNTS, START, Enterprise
from tests.world import DAY

STALE = timedelta(minutes=5)
"""How long a listing may show what was."""
QUIET_REASONS = frozenset({Reason.HOLD, Reason.WINDOW})
"""Why a secret may be left alone without a change of its own; when a window opens is known."""


@dataclass(frozen=True)
class Quiet:
    """An account with nothing to do, as long as nothing changes.

    :param calls: that a sweep of it makes.
    :param since: before, listings may show something else.
    :param until: when time gives it something to do.
    """

    calls: int
    generation: int
    since: datetime
    until: datetime


class Idle:
    """Knows each account's next sweep, if that does nothing."""

    def __init__(self, world: Enterprise, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger
        self._quiet: dict[str, Quiet] = {}
        self._changed = dict.fromkeys(ACCOUNTS, START - DAY)
        self._unlabelled = (START - DAY, frozenset(ledger.unlabelled))
        self._besides_pages: dict[str, int] = {}

    def changed(self, account: str) -> None:
        """Something in Secrets Manager was changed that belongs to an account."""
        self._changed[account] = self.world.clock.now()
        self._quiet.pop(account, None)
        unlabelled = frozenset(self.ledger.unlabelled)
        if unlabelled != self._unlabelled[1]:
            self._unlabelled = (self.world.clock.now(), unlabelled)
            self._quiet.clear()  # every account's sweep reads what no label tells

    def next_sweep(self, account: str) -> Quiet | None:
        """What the next sweep is, if it does nothing; ``None`` if it may do something."""
        world, now = self.world, self.world.clock.now()
        quiet = self._quiet.get(account)
        if quiet is None or not quiet.since <= now < quiet.until or not self._as_it_was(account, quiet):
            return None
        if world.outages.touch(now) or not world.trouble[account].none_within(quiet.calls):
            return None
        return quiet

    def learn(self, account: str, begun: datetime, calls: int) -> None:
        """An undisturbed sweep that began then did nothing, and made so many calls."""
        if begun >= self._settled(account) and not self.ledger.unlabelled:
            self._besides_pages[account] = calls - self._pages(account)

    def look(self, account: str) -> None:
        """After a sweep: what of the next one?"""
        quiet = self._quiet.get(account)
        if quiet is None or self.world.clock.now() >= quiet.until or not self._as_it_was(account, quiet):
            self._remember(account)

    def _as_it_was(self, account: str, quiet: Quiet) -> bool:
        """Whether a kill or a fault left nothing behind at Infobip; a change of a secret drops the record itself."""
        far = self.world.far[account]
        used = max((session.last_used for session in far.state.sessions.values()), default=START)
        open_session = self.world.clock.now() - used < far.options.session_idle and bool(far.state.sessions)
        return quiet.generation == far.state.generation and not far.late and not open_session

    def _remember(self, account: str) -> None:
        """Ask the planner itself, over the true state, whether there is anything to do, and until when there is not."""
        self._quiet.pop(account, None)
        world, now, far = self.world, self.world.clock.now(), self.world.far[account]
        if self.ledger.unlabelled or account not in self._besides_pages:
            return  # a sweep makes calls of its own for those
        keys = {key.id: _as_listed(key) for key in far.keys(world.ids[account])}
        entries = tuple(self.ledger.entries[name] for name in world.names(account))
        snapshot = AccountSnapshot(account, world.store.peek(f"infobip/{account}"), entries, keys)
        plan = plan_account(snapshot, world.policy, now)
        if plan.actions or {skip.reason for skip in plan.skipped} - QUIET_REASONS:
            return
        calls, since = self._besides_pages[account] + self._pages(account), self._settled(account)
        waiting = {skip.secret for skip in plan.skipped if skip.reason is Reason.WINDOW}
        self._quiet[account] = Quiet(calls, far.state.generation, since, self._next_due(snapshot, now, waiting))

    def _pages(self, account: str) -> int:
        return max(1, -(-len(self.world.far[account].keys(self.world.ids[account])) // 100))

    def _settled(self, account: str) -> datetime:
        """From when on listings show what an account's sweep depends on."""
        return max(self._changed[account], self._unlabelled[0]) + STALE

    def _next_due(self, snapshot: AccountSnapshot, now: datetime, waiting: Collection[str]) -> datetime:
        """When time alone gives the account's planner something to do, if nothing else changes."""
        named: set[str] = set()
        due = [now + 365 * DAY]
        for entry in snapshot.secrets:
            view = make_view(snapshot, entry)
            named |= view.life.key_ids()
            if view.spec is None or view.spec.hold is not None:
                continue
            if (renewal := renew_at(view)) is not None and renewal > now:
                due.append(renewal)
            if entry.name in waiting and view.spec.window is not None and view.key is not None:
                due += [next_open(view.spec.window, now), view.key.valid_to or now]
            due += [item.revoke_at for item in view.life.retiring if item.revoke_at > now]
        own = [key for key in snapshot.keys.values() if parse_key_name(key.name) and key.alive(now)]
        due += [now for key in own if key.id not in named]
        return min(due)


@lru_cache(maxsize=16384)
def _as_listed(key: SimKey) -> Key:
    return Key(key.id, key.name, key.account_id, key.enabled, key.valid_from, key.valid_to, key.scopes)
