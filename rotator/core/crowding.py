"""Many keys that end at once, against a daily limit: which are rotated early, and which can't be rotated in time.

Every sweep asks anew, from what it sees: which rotations could not be made any more if nothing were done today? These
are *pulled forward*, and no others. The arithmetic is in :mod:`rotator.core.turns` and
:mod:`rotator.core.capacity`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from rotator.core.capacity import HORIZON, day_of, places, too_late
from rotator.core.decisions import BROKEN, ROTATE_BLOCKED, Decision, View, first, renew_at
from rotator.core.draft import Draft, Waiting
from rotator.core.durations import human_duration
from rotator.core.guards import DAY
from rotator.core.labels import parse_key_name
from rotator.core.model import BEGINS_WITHIN, AccountSnapshot, ActionKind, Key, Policy, Quota, Reason, Severity, Window
from rotator.core.text import printable
from rotator.core.times import LAST, plus
from rotator.core.turns import Kind, Limit, begin_now, crowded, turns_between
from rotator.core.windows import openings

SAFETY: Final = timedelta(days=3)
"""So long before its end a key that had to be pulled forward shall be replaced: an outage of that length costs none."""
WEEK: Final = timedelta(days=7)
NAMES: Final = 5
"""Of keys that can't be rotated in time, in an alert."""


class Candidate(NamedTuple):
    """A secret that is rotated, or could be.

    :param end: when its key ends; ``None`` where consumers have no working key now.
    :param decision: why a rotation is due; ``None`` if none is.
    :param waits: what a due rotation waits for.
    :param start: plans the rotation; ``None`` if it is planned already.
    :param leave: leaves the secret alone for a reason.
    """

    view: View
    end: datetime | None
    decision: Decision | None = None
    waits: Decision | None = None
    start: Callable[[Decision], None] | None = None
    leave: Callable[[Decision], None] | None = None


def pace_of(policy: Policy) -> timedelta:
    """After how long the sweeps use a place again: at the first sweep that is a day later, or more."""
    every = policy.sweep_every
    return -(-DAY // every) * every


def margin(view: View) -> timedelta:
    """How long before its end a key in a crowd shall be replaced: :data:`SAFETY`, less where it is rotated late anyway.

    At most a tenth of the key's life, and half of what ``rotator:rotate-before`` asks for.
    """
    key, spec = view.key, view.spec
    if key is None or spec is None or key.valid_to is None:
        return timedelta(0)
    life = key.valid_to - (key.valid_from or plus(key.valid_to, -spec.validity))
    before = spec.rotate_before
    before = before if isinstance(before, timedelta) else life * before
    return max(timedelta(0), min(SAFETY, life / 10, before / 2))


def relieve(
    draft: Draft,
    snapshot: AccountSnapshot,
    candidates: Sequence[Candidate],
    quota: Quota,
    policy: Policy,
    now: datetime,
    *,
    alone: bool = False,
) -> None:
    """Pull forward what can't wait, leave what waits or makes room, and say what can't be done in time.

    :param alone: whether only one secret's rotation is asked for, which then makes room for none.
    """
    per_day, pace = places_a_day(snapshot, quota, policy, now), pace_of(policy)
    clock = Clock(now, policy.sweep_every)
    near = _by_kind(_near(candidates, per_day, now, pace), clock, pace)
    limit = _limit(snapshot, near, _ours(quota), per_day, clock, pace, _broken(candidates))
    asked = crowded({kind: len(members) for kind, members in near.items()}, len(candidates), limit)
    started: set[int] = set()
    if asked and quota.creates_left:
        begun = begin_now(asked, limit)
        chosen = _pulled(near, begun, now)
        late = _by_day(candidates, now, pace) if chosen else {}
        for candidate in chosen:
            if candidate.start is not None:
                candidate.start(candidate.decision or _decision(candidate, late, per_day, now, pace))
                started.add(id(candidate))
        if not alone:
            _make_room(draft, near, asked, begun)
    for candidate in candidates:
        if candidate.waits is not None and candidate.leave is not None and id(candidate) not in started:
            candidate.leave(candidate.waits)
    _say_too_late(draft, snapshot, candidates, _ours(quota), per_day, now, pace)


def _near(candidates: Sequence[Candidate], per_day: int, now: datetime, pace: timedelta) -> Iterable[Candidate]:
    """Without those that end so late that their kind is safe: nothing more is to be worked out about them."""
    if per_day <= 0:
        return candidates
    day = -(-len(candidates) // per_day)
    # Days beyond the horizon are not told apart: then none of them is late enough.
    late, in_window = (plus(now, days * pace + SAFETY) if days <= HORIZON else None for days in (day, 16 * day + 16))

    def is_near(candidate: Candidate) -> bool:
        spec = candidate.view.spec
        far = late if spec is None or spec.window is None else in_window
        return candidate.start is None or candidate.end is None or far is None or candidate.end < far

    return filter(is_near, candidates)


@dataclass(frozen=True, slots=True)
class Clock:
    """The sweeps to come, by number; this one is 0."""

    now: datetime
    every: timedelta

    def last_by(self, moment: datetime) -> int:
        """The last sweep that is not after a moment."""
        return (moment - self.now) // self.every

    def first_from(self, moment: datetime) -> int:
        """The first sweep that is not before a moment."""
        return -((self.now - moment) // self.every)


def shall_be_done(candidate: Candidate) -> datetime:
    """Until when its key shall be replaced, some time before it ends."""
    assert candidate.end is not None
    return plus(candidate.end, -margin(candidate.view))


def _broken(candidates: Iterable[Candidate]) -> int:
    return sum(1 for one in candidates if one.decision is not None and one.decision.reason in BROKEN)


def _by_kind(candidates: Iterable[Candidate], clock: Clock, pace: timedelta) -> dict[Kind, list[Candidate]]:
    kinds: dict[Kind, list[Candidate]] = defaultdict(list)
    span = pace // clock.every
    for candidate in candidates:
        if candidate.decision is None or candidate.decision.reason not in BROKEN:
            kinds[_kind(candidate, clock, span)].append(candidate)
    return kinds


def _kind(candidate: Candidate, clock: Clock, span: int) -> Kind:
    window = candidate.view.spec.window if candidate.view.spec else None
    latest = end = HORIZON * span
    if candidate.end is not None:
        latest = max(0, min(latest, clock.last_by(shall_be_done(candidate))))
        end = max(0, min(end, clock.first_from(candidate.end) - 1))
    ready = 0
    if candidate.decision is None:
        due = renew_at(candidate.view)
        ready = span if due is None else max(0, min(span, clock.first_from(due)))
    return Kind(window, latest, end, ready, candidate.start is None)


def _limit(
    snapshot: AccountSnapshot,
    kinds: Iterable[Kind],
    ours: int,
    per_day: int,
    clock: Clock,
    pace: timedelta,
    broken: int,
) -> Limit:
    """The places of the sweeps to come, less what is used and what consumers in need use now."""
    span = pace // clock.every
    until_when: dict[Window, int] = {}
    for kind in kinds:
        if kind.window is not None:
            until_when[kind.window] = max(until_when.get(kind.window, 0), kind.end)
    opens = {window: _open_turns(window, last, clock) for window, last in until_when.items()}
    again = [min(span, clock.first_from(plus(moment, DAY))) for moment in made_lately(snapshot, clock.now)]
    return Limit(per_day, span, taken(again, ours, per_day, span, broken), opens)


def _open_turns(window: Window, last: int, clock: Clock) -> int:
    """The sweeps at which a window is open, as a set, up to the last one."""
    turns = 0
    for opens, closes in openings(window, clock.now, plus(clock.now, (last + 1) * clock.every)):
        turns |= turns_between(opens - clock.now, closes - clock.now, clock.every)
    return turns


def _pulled(kinds: Mapping[Kind, list[Candidate]], begun: Mapping[Kind, int], now: datetime) -> list[Candidate]:
    """Who is pulled forward: of each kind the ones that end first."""
    chosen: list[Candidate] = []
    for kind, count in begun.items():
        if not kind.due:
            members = sorted(kinds[kind], key=_urgency)
            able = (one for one in members if first(ROTATE_BLOCKED, one.view, now) is None)
            chosen += islice(able, count)
    return sorted(chosen, key=_urgency)


def _make_room(
    draft: Draft, kinds: Mapping[Kind, list[Candidate]], asked: Mapping[Kind, int], begun: Mapping[Kind, int]
) -> None:
    """What is due and can wait does, where the place is needed by something that can't."""
    waiting: set[str] = set()
    for kind in asked:
        if kind.due and begun.get(kind, 0) < len(kinds[kind]):
            waiting |= {one.view.entry.arn for one in sorted(kinds[kind], key=_urgency)[begun.get(kind, 0) :]}
    if not waiting:
        return
    kept = []
    for item in draft.ranked:
        action = item[1]
        if action.kind is ActionKind.ROTATE and action.arn in waiting:
            detail = f"rotate ({action.reason}) waits: today's places are needed for keys that can't wait as long"
            draft.leave(action.secret, Reason.DAILY_LIMIT, detail)
            draft.waiting[(action.arn, None)] = Waiting(Reason.DAILY_LIMIT, detail, scheduled=True)
        else:
            kept.append(item)
    draft.ranked = kept


def _urgency(candidate: Candidate) -> tuple[datetime, str]:
    return candidate.end or LAST, candidate.view.entry.name


def _by_day(candidates: Iterable[Candidate], now: datetime, pace: timedelta) -> dict[int, tuple[int, datetime]]:
    """How many keys shall be replaced on which day at the latest, and when the last of them ends."""
    found: dict[int, tuple[int, datetime]] = {}
    for one in candidates:
        if one.end is not None:
            day = max(0, day_of(shall_be_done(one), now, pace))
            count, last = found.get(day, (0, one.end))
            found[day] = count + 1, max(last, one.end)
    return found


def _decision(
    candidate: Candidate, late: Mapping[int, tuple[int, datetime]], per_day: int, now: datetime, pace: timedelta
) -> Decision:
    """Why this one is pulled forward: how many keys end until when, and how many can be made.

    :param late: as :func:`_by_day` gives it.
    """
    assert candidate.end is not None
    own = max(0, day_of(shall_be_done(candidate), now, pace))
    total, end, worst = 0, candidate.end, -HORIZON * per_day - 1
    count, last = 1, candidate.end
    for day in sorted(late):
        total, end = total + late[day][0], max(end, late[day][1])
        if day >= own and total - per_day * day >= worst:
            worst, count, last = total - per_day * day, total, end
    detail = (
        f"{human_duration(candidate.end - now)} left; {count} keys end by {last:%d %b}, {per_day} a day can be made"
    )
    if candidate.view.spec is not None and candidate.view.spec.window is not None:
        detail += ", and its window opens too late"
    return Decision(Reason.CAPACITY, detail, due_at=now, deadline=candidate.end)


def places_a_day(snapshot: AccountSnapshot, quota: Quota, policy: Policy, now: datetime) -> int:
    """How many rotations a day can be counted on in the days to come.

    Each takes an update too, when its old key is revoked. What others made in the last week, people and programs, is
    taken to go on; but for no more than half, so that a fleet's first day does not look like its last.
    """
    ours = _ours(quota)
    since = now - WEEK
    others = sum(
        1
        for key in snapshot.keys.values()
        if key.valid_from is not None and since < key.valid_from <= now and not _is_ours(key, policy)
    )
    return ours - min(round(others * DAY / WEEK), ours // 2)


def _is_ours(key: Key, policy: Policy) -> bool:
    name = parse_key_name(key.name)
    return name is not None and name.deployment == policy.deployment


def _ours(quota: Quota) -> int:
    return max(0, min(quota.creates_limit, quota.updates_limit) - quota.reserve)


def taken(again: Iterable[int], ours: int, per_day: int, span: int, broken: int) -> list[int]:
    """How many places are taken in each sweep of the first day.

    :param again: of every creation that counts now, the first sweep at which it counts no more.
    :param ours: how many scheduled work may use today; others may use some of them on the days to come.
    :param broken: how many consumers are in need of a key, and get one before anybody else.
    """
    ends = Counter(again)
    used, found = ends.total(), []
    for turn in range(span):
        used -= ends[turn] if turn else sum(count for at, count in ends.items() if at <= 0)
        found.append(used + broken - (ours - per_day))
    return found


def made_lately(snapshot: AccountSnapshot, now: datetime) -> Iterable[datetime]:
    """When the creations were made that count against the daily limit now."""
    since, until = now - DAY, now + BEGINS_WITHIN
    made = (key.valid_from for key in snapshot.keys.values())
    return (at for at in made if at is not None and since < at <= until)


def _say_too_late(
    draft: Draft,
    snapshot: AccountSnapshot,
    candidates: Sequence[Candidate],
    ours: int,
    per_day: int,
    now: datetime,
    pace: timedelta,
) -> None:
    """One alert an account: how many, which, from when, and what helps."""
    alive = [candidate for candidate in candidates if candidate.end is not None and candidate.end > now]
    broken = [candidate for candidate in candidates if candidate.end is None or candidate.end <= now]
    ends = Counter(day_of(candidate.end, now, pace) for candidate in alive if candidate.end is not None)
    free = places(made_lately(snapshot, now), ours, now, pace)[:per_day]
    total, crowded = len(broken), len(broken) > free.count(now)
    for day in sorted(ends):
        total += ends[day]
        crowded = crowded or total > per_day * day
    if not crowded:  # all of them surely find a place
        return
    alive.sort(key=_urgency)
    late = [one for one in broken[free.count(now) :] if one.view.life.current_version is not None]
    late += [alive[index] for index in too_late([one.end for one in alive if one.end], free, pace, first=len(broken))]
    if not late:
        return
    names = ", ".join(printable(one.view.entry.name, limit=60) for one in late[:NAMES])
    more = f" and {len(late) - NAMES} more" if len(late) > NAMES else ""
    what = "1 key ends" if len(late) == 1 else f"{len(late)} keys end"
    begins = f"from {late[0].end:%d %b %H:%M} UTC on" if late[0].end else "some have ended or do not work already"
    detail = (
        f"{what} before there is a place in the daily limit ({per_day} a day), {begins}: {names}{more}; "
        "`rotator rotate` uses the reserve; have Infobip raise the limit (ROTATOR_DAILY_LIMIT), keep less in reserve "
        "(ROTATOR_RESERVE), or give replacements a longer life (rotator:validity)"
    )
    one = late[0] if len(late) == 1 else None
    draft.alert(
        Reason.NOT_IN_TIME,
        detail,
        one.view.entry.name if one else None,
        one.view.key_id if one else None,
        Severity.ERROR,
        len(late),
    )
