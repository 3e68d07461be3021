"""Where a forecast begins: what a snapshot says of each secret, as far as its future depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.core.crowding import SAFETY, margin
from rotator.core.decisions import BROKEN, LEAVE_ALONE, ROTATE_BLOCKED, ROTATE_WHEN, URGENT, View, first, renew_at
from rotator.core.draft import Draft
from rotator.core.guards import mass_missing
from rotator.core.holdings import Holdings
from rotator.core.model import AccountSnapshot, Policy, Reason, SecretEntry, Spec, Window
from rotator.core.orphans import plan_orphans
from rotator.core.ownership import Ownership
from rotator.core.planner import make_view
from rotator.core.spec import parse_spec
from rotator.core.spreading import lifetime
from rotator.core.text import printable
from rotator.core.times import plus
from rotator.core.what_if import WhatIf
from rotator.errors import ConfigurationError

_NOT_OURS = frozenset({Reason.DELETED, Reason.OWNED, Reason.REPLICA})


@dataclass(slots=True)
class Member:
    """A secret that is rotated in its turn, and its key as of now.

    :param ends: when its key ends; ``None``: never, or there is none.
    :param due: when its rotation is due; ``None``: never.
    :param broken: consumers have no working key.
    :param keep: how long before its end the key shall be replaced if it is one of a crowd.
    :param cut: how long before its end a rotation waits for its window no more.
    :param revokes: whether replacing the key leaves one to be revoked.
    """

    name: str
    spec: Spec
    key_id: str | None
    ends: datetime | None
    due: datetime | None
    broken: bool
    keep: timedelta
    cut: timedelta
    revokes: bool

    @property
    def life(self) -> timedelta:
        """How long a replacement lives."""
        return lifetime(self.spec, self.name)

    @property
    def due_after(self) -> timedelta:
        """How long after it was made a replacement's own rotation is due."""
        before = self.spec.rotate_before
        length = self.life - (before if isinstance(before, timedelta) else self.life * before)
        return length if self.spec.max_age is None else min(length, self.spec.max_age)

    @property
    def keep_later(self) -> timedelta:
        """:attr:`keep` of a replacement, as :func:`rotator.core.crowding.margin` has it."""
        before = self.spec.rotate_before
        length = before if isinstance(before, timedelta) else self.life * before
        return max(timedelta(0), min(SAFETY, self.life / 10, length / 2))


@dataclass(frozen=True, slots=True)
class Left:
    """A secret whose key is not rotated as things stand, and ends."""

    secret: str
    key_id: str | None
    ends: datetime
    reason: Reason


@dataclass(slots=True)
class Start:
    """An account as a forecast begins.

    :param revocations: from when on each is due, and its window.
    :param orphans: how many keys nobody has the value of.
    """

    members: list[Member] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    revocations: list[tuple[datetime, Window | None]] = field(default_factory=list)
    orphans: int = 0


def read_start(snapshot: AccountSnapshot, policy: Policy, now: datetime, what_if: WhatIf) -> Start:
    """Sort an account's secrets by what is to become of them.

    :raises ConfigurationError: what is supposed can't work with a secret's tags.
    """
    start = Start()
    views = [make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=lambda entry: entry.name)]
    holdings = Holdings.of(snapshot)
    trusted = mass_missing(views, snapshot) is None and snapshot.complete
    untouched: set[str] = set()
    for view in views:
        alone = first(LEAVE_ALONE, view, now)
        if alone is not None:
            if alone.reason not in (Reason.UNADOPTED, Reason.EMPTY):
                untouched.add(view.entry.arn)
            if alone.reason not in _NOT_OURS:
                start.left += _left(view, alone.reason)
            continue
        start.revocations += _revocations(snapshot, holdings, view, now)
        reason = _blocked(view, now, trusted=trusted)
        if reason is not None:
            start.left += _left(view, reason)
            continue
        if view.life.pending_version is not None:
            view = _resumed(snapshot, view, start, now)
        start.members.append(_member(view, _supposed(view, what_if), now))
    start.orphans = _orphans(snapshot, holdings, policy, now, untouched)
    start.members += more_like(start.members, what_if.more)
    return start


def more_like(members: list[Member], count: int) -> Iterator[Member]:
    """So many more secrets: copies of these, taken evenly from all of them in the order in which their keys end.

    So the new ones have the old ones' tags, and their keys end when the old ones' do. That they are made uses no place.
    """
    models = sorted((one for one in members if one.ends is not None and not one.broken), key=_by_end)
    for number in range(count if models else 0):
        model = models[number * len(models) // count]
        yield replace(model, name=f"{model.name} +{number + 1}", key_id=None)


def _by_end(member: Member) -> tuple[datetime, str]:
    assert member.ends is not None
    return member.ends, member.name


def _left(view: View, reason: Reason) -> Iterator[Left]:
    if view.key is not None and view.key.enabled and view.key.valid_to is not None:
        yield Left(view.entry.name, view.key_id, view.key.valid_to, reason)


def _blocked(view: View, now: datetime, *, trusted: bool) -> Reason | None:
    decision = first(ROTATE_WHEN, view, now)
    if decision is not None and decision.reason is Reason.KEY_MISSING and not trusted:
        return Reason.LISTING_INCOMPLETE
    blocked = first(ROTATE_BLOCKED, view, now)
    return None if blocked is None else blocked.reason


def _supposed(view: View, what_if: WhatIf) -> Spec:
    assert view.spec is not None
    changed = what_if.tags()
    if not changed:
        return view.spec
    parsed = parse_spec({**view.entry.tags, **changed})
    if isinstance(parsed, Spec):
        return parsed
    said = "; ".join(str(problem) for problem in parsed)
    raise ConfigurationError(
        f"{' and '.join(what_if.words())} can't work for {printable(view.entry.name)}: {said}",
        advice="Suppose a longer validity, or change that secret's tags first.",
    )


def _resumed(snapshot: AccountSnapshot, view: View, start: Start, now: datetime) -> View:
    """As it is when the next sweep has promoted what a killed one stored; that takes no place."""
    assert view.spec is not None
    pending = snapshot.keys.get(view.life.pending_key or "")
    if pending is None or not pending.alive(now):
        return view
    if view.key is not None and view.key.enabled:
        start.revocations.append((plus(now, view.spec.grace), view.spec.window))
    life = replace(view.life, current_version=view.life.pending_version, current_key=pending.id)
    return replace(view, life=life, key_id=pending.id, key=pending)


def _member(view: View, spec: Spec, now: datetime) -> Member:
    key = view.key
    decision = first(ROTATE_WHEN, view, now)
    broken = decision is not None and decision.reason in BROKEN
    ends = key.valid_to if key is not None else None
    if broken and view.life.current_version is not None and (ends is None or ends > now):
        ends = now  # disabled or gone: nobody has a working key, whatever its end was to be
    cut = URGENT
    if key is not None and key.valid_from is not None and key.valid_to is not None:
        cut = min(URGENT, (key.valid_to - key.valid_from) / 10)
    return Member(
        name=view.entry.name,
        spec=spec,
        key_id=view.key_id,
        ends=ends,
        due=now if decision is not None else renew_at(view),
        broken=broken,
        keep=margin(view),
        cut=cut,
        revokes=key is not None and key.enabled,
    )


def _revocations(
    snapshot: AccountSnapshot, holdings: Holdings, view: View, now: datetime
) -> Iterator[tuple[datetime, Window | None]]:
    """Of keys in grace, as far as they cost an update: those still enabled that no other secret holds."""
    assert view.spec is not None
    due = [(item.key_id, item.revoke_at) for item in view.life.retiring]
    due += [(key_id, plus(now, view.spec.grace)) for _, key_id in view.life.superseded]
    for key_id, moment in due:
        key = snapshot.keys.get(key_id)
        if key is not None and key.enabled and not holdings.others_holding(key_id, view.entry.arn):
            yield moment, view.spec.window


def _orphans(
    snapshot: AccountSnapshot, holdings: Holdings, policy: Policy, now: datetime, untouched: Iterable[str]
) -> int:
    draft = Draft()
    arns = frozenset(untouched)

    def left_alone(entry: SecretEntry) -> bool:
        return entry.arn in arns

    plan_orphans(draft, snapshot, holdings, Ownership(snapshot, policy.deployment), now, left_alone)
    return sum(1 for action in draft.actions() if action.costs_update)
