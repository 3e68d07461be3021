"""Many keys that end at once, against a daily limit: which are rotated early, and which can't be rotated in time.

Every sweep asks anew, from what it sees: which rotations could not be made any more if nothing were done today? These
are *pulled forward*, and no others. The arithmetic is in :mod:`rotator.core.capacity`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from rotator.core.capacity import HORIZON, Crowd, day_of, must_start_today, places, too_late, until
from rotator.core.decisions import ROTATE_BLOCKED, Decision, View, first
from rotator.core.draft import Draft
from rotator.core.durations import human_duration
from rotator.core.guards import DAY, MAX_SKEW
from rotator.core.model import AccountSnapshot, Policy, Quota, Reason, Severity, Window
from rotator.core.orphans import own_name
from rotator.core.text import printable
from rotator.core.times import plus
from rotator.core.windows import is_open, openings

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


_Kind = tuple[Window | None, int, bool]


def pace_of(policy: Policy) -> timedelta:
    """After how long the sweeps use a place again: when Infobip has surely forgotten it, and the next sweep comes."""
    every = policy.sweep_every
    return -(-(DAY + MAX_SKEW) // every) * every


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
) -> None:
    """Pull forward what can't wait, leave what waits, and say what can't be done in time."""
    per_day, pace = places_a_day(snapshot, quota, policy, now), pace_of(policy)
    near = _by_kind(_near(candidates, per_day, now, pace), now, pace)
    started: set[int] = set()
    last = max((day for window, day, _ in near if window is not None), default=0)
    opens = {window: _open_days(window, last, now, pace) for window in {kind[0] for kind in near} if window is not None}
    unsafe = {kind: members for kind, members in near.items() if not _safe(kind, len(candidates), per_day, opens)}
    if unsafe:
        pulled = _to_pull(unsafe, opens, per_day, now, quota.creates_left)
        kinds = _by_kind(candidates, now, pace) if pulled else {}
        for candidate in pulled:
            if candidate.start is not None:
                candidate.start(candidate.decision or _decision(candidate, kinds, per_day, now, pace))
                started.add(id(candidate))
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
    late, in_window = (plus(now, days * pace + SAFETY) if days <= HORIZON else None for days in (day, 8 * day + 8))

    def is_near(candidate: Candidate) -> bool:
        spec = candidate.view.spec
        far = late if spec is None or spec.window is None else in_window
        return candidate.end is None or far is None or candidate.end < far

    return filter(is_near, candidates)


def _by_kind(candidates: Iterable[Candidate], now: datetime, pace: timedelta) -> dict[_Kind, list[Candidate]]:
    kinds: dict[_Kind, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        kinds[_kind(candidate, now, pace)].append(candidate)
    return kinds


def _kind(candidate: Candidate, now: datetime, pace: timedelta) -> _Kind:
    if candidate.end is None:
        return None, 0, True
    window = candidate.view.spec.window if candidate.view.spec and candidate.start is not None else None
    return window, max(0, day_of(plus(candidate.end, -margin(candidate.view)), now, pace)), candidate.start is None


def _safe(kind: _Kind, total: int, per_day: int, opens: Mapping[Window, int]) -> bool:
    """Whether it finds a place after today whatever all the others take, as most do: then it need not be looked at."""
    window, day, _ = kind
    days = day if window is None else ((opens[window] & until(day)) >> 1).bit_count()
    return total <= per_day * days


def _to_pull(
    kinds: Mapping[_Kind, list[Candidate]],
    opens: Mapping[Window, int],
    per_day: int,
    now: datetime,
    most: int,
) -> list[Candidate]:
    """What can't wait for tomorrow and is not planned yet, ``most`` of it; the ones that end first going first."""
    order = list(kinds)
    crowds = []
    for window, day, due in order:
        days = until(day)
        if window is not None and days & opens[window]:
            days &= opens[window]
        crowds.append(Crowd(days, len(kinds[window, day, due]), due))
    left = must_start_today(crowds, per_day)
    shut = {window for window in opens if not is_open(window, now)}
    too_narrow = [i for i, kind in enumerate(order) if left[i] and kind[0] in shut and not crowds[i].days & 1]
    for index in too_narrow:
        crowds[index].days = until(order[index][1])  # an end that can't wait wins over a window
    if too_narrow:
        left = must_start_today(crowds, per_day)
    today = sum(left)
    chosen: list[Candidate] = []
    for index, kind in enumerate(order):
        window, day, _ = kind
        # What ends today is done when it is due, unless there are more than today has places for.
        waits_for_window = window in shut and bool(opens[window] & 1) if window is not None else False
        if not left[index] or waits_for_window or (day == 0 and today <= per_day):
            continue
        members = sorted((one for one in kinds[kind] if one.start), key=_urgency)  # what is planned may have no end
        able = (one for one in members if first(ROTATE_BLOCKED, one.view, now) is None)
        chosen += islice(able, min(left[index], most))
    return sorted(chosen, key=_urgency)[:most]


def _open_days(window: Window, last: int, now: datetime, pace: timedelta) -> int:
    """On which of the days to come, up to the last one, a window opens, as a set of days.

    One opening is one day, though it may reach into the next: a place that is used in it is not free again so soon.
    """
    days = 0
    for opens, closes in openings(window, now, now + (last + 1) * pace):
        moment = opens
        while moment < closes:
            days |= 1 << (moment - now) // pace
            moment += pace
    return days


def _urgency(candidate: Candidate) -> tuple[datetime, str]:
    assert candidate.end is not None
    return candidate.end, candidate.view.entry.name


def _decision(
    candidate: Candidate, kinds: dict[_Kind, list[Candidate]], per_day: int, now: datetime, pace: timedelta
) -> Decision:
    """Why this one is pulled forward: how many keys end until when, and how many can be made."""
    assert candidate.end is not None
    left = human_duration(candidate.end - now)
    ends = Counter[int]()
    for (_, day, _), members in kinds.items():
        ends[day] += len(members)
    own = max(0, day_of(plus(candidate.end, -margin(candidate.view)), now, pace))
    total, worst = 0, (-HORIZON * per_day - 1, 0, 0)
    for day in sorted(ends):
        total += ends[day]
        if day >= own:
            worst = max(worst, (total - per_day * day, total, day))
    _, count, day = worst
    last = max(one.end for kind, members in kinds.items() if kind[1] <= day for one in members if one.end is not None)
    detail = f"{left} left; {count} keys end by {last:%d %b}, {per_day} a day can be made"
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
        if key.valid_from is not None and since < key.valid_from <= now and own_name(key, policy) is None
    )
    return ours - min(round(others * DAY / WEEK), ours // 2)


def _ours(quota: Quota) -> int:
    return max(0, min(quota.creates_limit, quota.updates_limit) - quota.reserve)


def made_lately(snapshot: AccountSnapshot, now: datetime) -> Iterable[datetime]:
    """When the creations were made that count against the daily limit now."""
    since = now - DAY - MAX_SKEW
    return (key.valid_from for key in snapshot.keys.values() if key.valid_from is not None and key.valid_from > since)


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
