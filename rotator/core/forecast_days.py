"""A fleet's future, sweep by sweep: what is due, what finds a place in the daily limit, what ends before its turn.

Times are whole microseconds from the forecast's begin. Between two sweeps of a forecast lies a fifth of a *pace*, the
time after which a place is used again: less where secrets have windows, or replacements are so short-lived that one of
them could come due and end in between, and never less than between two real ones.
"""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from datetime import datetime
from typing import Final

from rotator.core.capacity import HORIZON
from rotator.core.crowding import made_lately, pace_of, places_a_day, taken
from rotator.core.forecast_crowds import MICRO, Crowds, Openings, Spell
from rotator.core.forecast_start import Member, Start
from rotator.core.forecast_state import URGENT_MICROS, WITHIN, DayCount, KeyState, Missed, Places, Replacement
from rotator.core.guards import DAY, MAX_SKEW, quota_used
from rotator.core.model import AccountSnapshot, Policy, Window
from rotator.core.times import plus
from rotator.core.turns import Kind, turns_between
from rotator.core.windows import openings

SWEEPS_A_DAY: Final = 5
HOURLY: Final = 25
"""Where secrets have windows."""
_A_DAY: Final = DAY // MICRO


class Simulation:
    """One account's days. Run it once.

    :param policy: with what is supposed to be otherwise.
    """

    def __init__(self, snapshot: AccountSnapshot, start: Start, policy: Policy, now: datetime) -> None:
        quota = quota_used(snapshot, policy, now)
        self.most = max(0, policy.daily_limit - policy.reserve)
        self.per_day = places_a_day(snapshot, quota, policy, now)
        self._replacements = [Replacement.of(member) for member in start.members]
        windowed = any(one.spec.window is not None for one in start.members)
        a_day = _sweeps_a_day(self._replacements, policy, windowed=windowed)
        self._slot = pace_of(policy) // MICRO // a_day
        self._pace = self._slot * a_day
        # What is open between two sweeps of the forecast is found open by one of the real ones in between.
        self._back = max(0, self._slot - policy.sweep_every // MICRO)
        self._now = now
        windows = {one.spec.window for one in start.members} | {window for _, window in start.revocations}
        self._openings = {window: Openings(window, now) for window in windows if window is not None}
        self._a_day = a_day
        self._crowds = Crowds(a_day, {})
        self._creates = Places(deque(sorted(self._micro(moment) for moment in made_lately(snapshot, now))))
        ended = (key.valid_to for key in snapshot.keys.values() if not key.enabled and key.valid_to is not None)
        recent = sorted(self._micro(moment) for moment in ended if now - DAY < moment <= now + MAX_SKEW)
        self._updates = Places(deque(recent))
        self._states = [self._begin(member) for member in start.members]
        self._ends: dict[int, tuple[int, str]] = {}
        self._coming: list[tuple[int, int, int]] = []  # due, member, turn
        self._ready: list[tuple[int, str, int]] = []  # deadline, name, member: due, and waiting for nothing but a place
        self._ending: list[tuple[int, int, int]] = []  # end, member, turn
        # From when on each can be revoked, when it is due, its number, its window; and those that only want a place.
        self._retiring: list[tuple[int, int, int, Window | None]] = []
        self._revocable: list[tuple[int, int, Window | None]] = []
        for number, (moment, window) in enumerate(start.revocations):
            self._retiring.append((self._micro(moment), self._micro(moment), number, window))
        heapq.heapify(self._retiring)
        self._retired = len(self._retiring)
        self._orphans = start.orphans
        self._open_misses: dict[int, int] = {}
        # Which have ended before their turn. Between two sweeps of the forecast lie real ones: what came due since the
        # last one is taken to have been replaced by those.
        self._late: set[int] = set()
        self.days: list[DayCount] = []
        self.missed: list[Missed] = []
        self._idle: list[int] = []
        for number in range(len(self._states)):
            self._enter(number)

    def run(self, days: int) -> None:
        """Let so many days of 24 hours pass."""
        self.days = [DayCount() for _ in range(days)]
        far = days * _A_DAY + HORIZON * self._pace
        self._crowds.opens = {window: self._turns(window, far) for window in self._openings}
        reached = -1
        for sweep in range(-(-days * _A_DAY // self._slot)):
            now = sweep * self._slot
            day = now // _A_DAY
            for missing in range(reached + 1, day):  # sweeps may be further apart than a day
                self.days[missing] = self._standing(self.days[reached])
            reached = day
            self._sweep(sweep, now, self.days[day])
        for missing in range(reached + 1, days):
            self.days[missing] = self._standing(self.days[reached])

    def too_late_from(self, end: int) -> int:
        """The last sweep before that moment that left a place unused; 0 if none did."""
        index = bisect.bisect_left(self._idle, end)
        return self._idle[index - 1] if index else 0

    # ---- one sweep --------------------------------------------------------------------------------------------------

    def _sweep(self, sweep: int, now: int, day: DayCount) -> None:
        self._break(now)
        self._come_due(now)
        self._wait_again(now)
        left = self._creates.left(now, self.most if now < self._pace else self.per_day)
        begun = self._crowds.begin(sweep, self.per_day, self._taken(sweep, now)) if left else None
        pulled = self._pull(sweep, left, begun or {})
        held: list[tuple[int, str, int]] = []
        while left and (pulled or self._ready):
            early = bool(pulled) and (not self._ready or pulled[-1] < self._ready[0])
            entry = pulled.pop() if early else heapq.heappop(self._ready)
            number = entry[2]
            if early:
                self._leave_crowd(number)
            elif self._makes_room(number, sweep, begun):
                held.append(entry)
                continue
            else:
                self._leave_due(number)
            # What only waited for its window is due, and none that is pulled forward.
            due = self._states[number].due
            day.pulled_forward += early and (due is None or due > now)
            self._rotate(number, now)
            left -= 1
            day.rotations += 1
        for entry in held:
            heapq.heappush(self._ready, entry)
        self._end(now)
        self._revoke(now, day)
        day.waiting, day.free = len(self._ready), left
        if left:
            self._idle.append(now)

    def _break(self, now: int) -> None:
        """Keys that have ended: nothing that they would wait for matters any more."""
        if not self._ending or self._ending[0][0] > now:
            return
        for end, number, turn in self._ending:
            state = self._states[number]
            if end > now or turn != state.turn or state.broken:
                continue
            if state.crowded:
                self._leave_crowd(number)
                heapq.heappush(self._ready, (end, state.member.name, number))
            else:
                self._leave_due(number)
            waited = state.due is not None and state.due <= now - self._slot
            if end < now and (waited or end <= now - self._back):
                self._late.add(number)
            state.due, state.broken = None, True
            self._crowds.broken += 1

    def _come_due(self, now: int) -> None:
        while self._coming and self._coming[0][0] <= now:
            _, number, turn = heapq.heappop(self._coming)
            state = self._states[number]
            if turn != state.turn or (state.due is None and state.broken):
                continue
            opens = self._waits_until(state, now)
            if opens is not None:
                heapq.heappush(self._coming, (opens, number, turn))
                continue
            if state.crowded:
                self._leave_crowd(number)
            self._make_ready(number, now)

    def _waits_until(self, state: KeyState, now: int) -> int | None:
        """When the window opens for which a due rotation waits."""
        window = state.member.spec.window
        if window is None or state.broken or self._is_open(window, now):
            return None
        opens, _ = self._openings[window].after(now)
        return None if state.ends is not None and opens > state.ends - state.cut else opens

    def _is_open(self, window: Window, now: int) -> bool:
        return self._openings[window].within(max(0, now - self._back), now)

    def _make_ready(self, number: int, now: int) -> None:
        state = self._states[number]
        # Without an end it comes after what can't wait, and before the rest.
        deadline = now + URGENT_MICROS if state.ends is None and not state.broken else state.ends
        heapq.heappush(self._ready, (now if deadline is None else deadline, state.member.name, number))
        if state.broken:
            self._crowds.broken += 1
        else:
            self._crowds.due[state.member.spec.window, self._spell(state)] += 1

    def _leave_due(self, number: int) -> None:
        state = self._states[number]
        if state.broken:
            self._crowds.broken -= 1
        else:
            self._crowds.take_due(state.member.spec.window, self._spell(state))

    def _wait_again(self, now: int) -> None:
        """What was due, and whose window has closed before it found a place."""
        if not self._openings or not self._ready:
            return
        kept = []
        for entry in self._ready:
            number = entry[2]
            state = self._states[number]
            opens = self._waits_until(state, now)
            if opens is None:
                kept.append(entry)
                continue
            self._leave_due(number)
            heapq.heappush(self._coming, (opens, number, state.turn))
            self._join_crowd(number)
        heapq.heapify(kept)
        self._ready = kept

    def _makes_room(self, number: int, sweep: int, begun: dict[Kind, int] | None) -> bool:
        """Whether it is due and waits all the same: its place is needed for what can't wait."""
        state = self._states[number]
        if begun is None or state.broken:
            return False
        kind = self._crowds.kind(state.member.spec.window, self._spell(state), sweep, due=True)
        if not begun.get(kind):
            return True
        begun[kind] -= 1
        return False

    def _spell(self, state: KeyState) -> Spell:
        """By which sweeps it is judged, as :mod:`rotator.core.crowding` does it."""
        far = 1 << 62
        ready = 0 if state.due is None else -(-state.due // self._slot)
        if state.ends is None:
            return Spell(far, far, ready)
        return Spell((state.ends - state.keep) // self._slot, -(-state.ends // self._slot) - 1, ready)

    def _taken(self, sweep: int, now: int) -> list[int]:
        again = [-((now - used - WITHIN) // self._slot) for used in self._creates.used]
        found = taken(again, self.per_day, self.per_day, self._a_day, self._crowds.broken)
        for turn in range(self._a_day - sweep):
            found[turn] -= self.most - self.per_day
        return found

    def _turns(self, window: Window, far: int) -> int:
        found = 0
        for opens, closes in openings(window, self._now, plus(self._now, far * MICRO)):
            begin, end = opens - self._now, closes - self._now + self._back * MICRO
            found |= turns_between(begin, end, self._slot * MICRO)
        return found

    def _pull(self, sweep: int, left: int, begun: dict[Kind, int]) -> list[tuple[int, str, int]]:
        """Whom the planner would pull forward now, the ones that end first last."""
        found: list[int] = []
        for kind, count in begun.items():
            if not kind.due:
                found += self._crowds.first_of(kind, sweep, min(count, left), self._ends)
        chosen = sorted((*self._ends[number], number) for number in found)[:left]
        return chosen[::-1]

    def _rotate(self, number: int, now: int) -> None:
        state = self._states[number]
        member = state.member
        self._creates.used.append(now)
        if state.revokes:
            self._retired += 1
            due = now + self._replacements[number].grace
            heapq.heappush(self._retiring, (due, due, self._retired, member.spec.window))
        index = self._open_misses.pop(number, None)
        if index is not None:
            missed = self.missed[index]
            self.missed[index] = Missed(missed.secret, missed.key_id, missed.ends, now)
        elif number in self._late and state.ends is not None:
            self.missed.append(Missed(member.name, state.key_id, state.ends, now))
        self._late.discard(number)
        new = self._replacements[number]
        self._states[number] = KeyState(
            member,
            ends=now + new.life,
            due=now + new.due,
            keep=new.keep,
            cut=new.cut,
            broken=False,
            revokes=True,
            key_id=None,
            turn=state.turn + 1,
        )
        self._enter(number)

    def _end(self, now: int) -> None:
        """Keys that have ended, though this sweep has done what it could."""
        while self._ending and self._ending[0][0] <= now:
            end, number, turn = heapq.heappop(self._ending)
            state = self._states[number]
            if turn != state.turn:
                continue
            self._open_misses[number] = len(self.missed)
            self.missed.append(Missed(state.member.name, state.key_id, end, None))

    def _revoke(self, now: int, day: DayCount) -> None:
        left = self._updates.left(now, self.most if now < self._pace else self.per_day)
        again: list[tuple[int, int, int, Window | None]] = []
        while self._retiring and self._retiring[0][0] <= now:
            _, due, order, window = heapq.heappop(self._retiring)
            if window is not None and not self._is_open(window, now):
                again.append((self._openings[window].after(now)[0], due, order, window))
            else:
                heapq.heappush(self._revocable, (due, order, window))
        # What has found no place waits for its window again when that has closed.
        closed = [entry for entry in self._revocable if entry[2] is not None and not self._is_open(entry[2], now)]
        if closed:
            self._revocable = [entry for entry in self._revocable if entry not in closed]
            heapq.heapify(self._revocable)
            again += [(self._openings[entry[2]].after(now)[0], *entry) for entry in closed if entry[2] is not None]
        for one in again:
            heapq.heappush(self._retiring, one)
        while left and self._revocable:
            heapq.heappop(self._revocable)
            self._updates.used.append(now)
            left -= 1
            day.revocations += 1
        if self._orphans:
            coming = sum(1 for _, due, _, _ in self._retiring if now < due <= now + self._pace)
            ended = min(self._orphans, max(0, left - coming))
            self._updates.used.extend([now] * ended)
            self._orphans -= ended
            left -= ended
            day.revocations += ended
        day.overdue = len(self._revocable) + self._orphans if not left or self._orphans else 0

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _begin(self, member: Member) -> KeyState:
        return KeyState(
            member,
            ends=None if member.ends is None else self._micro(member.ends),
            due=None if member.due is None else self._micro(member.due),
            keep=member.keep // MICRO,
            cut=member.cut // MICRO,
            broken=member.broken,
            revokes=member.revokes,
            key_id=member.key_id,
        )

    def _enter(self, number: int) -> None:
        """A new key's dates."""
        state = self._states[number]
        if state.ends is not None:
            self._ends[number] = state.ends, state.member.name
            heapq.heappush(self._ending, (state.ends, number, state.turn))
        if state.due is not None:
            heapq.heappush(self._coming, (state.due, number, state.turn))
        self._join_crowd(number)

    def _join_crowd(self, number: int) -> None:
        state = self._states[number]
        if state.ends is not None and not state.broken:
            self._crowds.add(number, self._spell(state), state.member.spec.window)
            state.crowded = True

    def _leave_crowd(self, number: int) -> None:
        state = self._states[number]
        assert state.ends is not None
        self._crowds.remove(number, self._spell(state), state.member.spec.window)
        state.crowded = False

    def _standing(self, before: DayCount) -> DayCount:
        return DayCount(waiting=before.waiting, overdue=before.overdue, free=before.free)

    def _micro(self, moment: datetime) -> int:
        return (moment - self._now) // MICRO


def _sweeps_a_day(replacements: list[Replacement], policy: Policy, *, windowed: bool) -> int:
    pace = pace_of(policy)
    shortest = min((each.life - each.due for each in replacements), default=pace // MICRO)
    real = max(1, pace // policy.sweep_every)
    if windowed:  # how much a window holds is a matter of its hours
        return min(HOURLY, real)
    return min(SWEEPS_A_DAY, real) if shortest > pace // MICRO // SWEEPS_A_DAY else real
