"""What the planner decides: actions, skips, alerts and questions; and the results. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.message import NO_MESSAGE, Message
from rotator.model import Location, OfSecret
from rotator.reasons import Reason


class ActionKind(StrEnum):
    """What can be done to a secret or a key (``plan --json``: ``kind``)."""

    ROTATE = "rotate"
    RESUME = "resume"
    LABEL = "label"
    RETIRE = "retire"
    REVOKE = "revoke"


class Severity(StrEnum):
    """An ``error`` must be fixed. If it is about a whole account, its sweep fails. A ``warning`` is only reported."""

    WARNING = "warning"
    ERROR = "error"


class WithMessage:
    """Base class of plan items that have a message."""

    __slots__ = ()
    message: Message

    @property
    def detail(self) -> str:
        """The message as text for programs."""
        return str(self.message)


@dataclass(frozen=True, slots=True)
class Action(WithMessage, OfSecret):
    """One planned change to a secret or key.

    :param key_id: the key concerned: the old one for ``rotate``, the one to be promoted, labelled, retired or revoked.
    :param version_id: the version concerned: current for ``rotate`` and ``label``, pending for
        ``resume``, else superseded.
    :param due_at: since when it is due.
    :param deadline: when it is too late (the old key's expiry), if ever.
    :param label: the staging label to remove, if one contradicts the others.
    """

    kind: ActionKind
    account: str
    secret: str
    reason: Reason
    due_at: datetime
    key_id: str | None = None
    version_id: str | None = None
    deadline: datetime | None = None
    message: Message = NO_MESSAGE
    arn: str = ""
    label: str | None = None
    location: Location | None = None

    @property
    def costs_update(self) -> bool:
        """Whether it revokes a key, which counts against the daily limit; else at most labels are removed."""
        return self.kind is ActionKind.REVOKE and self.reason is not Reason.KEY_NOT_ACTIVE


@dataclass(frozen=True, slots=True)
class Skip(WithMessage, OfSecret):
    """A secret (or one of its actions) that is skipped, and why.

    :param key_id: the key that is not revoked; ``None`` if it is the rotation that is skipped.
    :param everything: whether it is the rotation and all revocations.
    :param scheduled: whether it only waits for a slot of the daily limit.
    :param by_account: whether the cause is the whole account, not this secret.
    """

    secret: str
    reason: Reason
    message: Message
    arn: str = ""
    key_id: str | None = None
    everything: bool = False
    scheduled: bool = False
    by_account: bool = False
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Alert(WithMessage, OfSecret):
    """A problem or notice for the operator.

    :param count: how many keys it is about, if it names none.
    :param by_account: whether the cause is the whole account, not this secret.
    :param action: the overdue kind of action.
    """

    kind: Reason
    message: Message
    secret: str | None = None
    key_id: str | None = None
    severity: Severity = Severity.WARNING
    count: int = 1
    by_account: bool = False
    action: ActionKind | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """One account's daily quota: its use in the last 24 hours, the limits, and the reserve for emergencies.

    :param creates_used: ``None``, as is ``updates_used``, if the disabled keys, which show a part of it, were not
        listed because there was nothing to do, or can't all be listed.
    :param most: creates and updates that scheduled work may use now at most, if the day's use was not or can't be
        counted; else ``None``.
    """

    creates_used: int | None
    creates_limit: int
    updates_used: int | None
    updates_limit: int
    reserve: int
    most: tuple[int, int] | None = None

    @property
    def creates_left(self) -> int:
        """How many creates scheduled work has left, at most."""
        left = max(0, self.creates_limit - self.reserve - (self.creates_used or 0))
        return left if self.most is None else min(left, self.most[0])

    @property
    def updates_left(self) -> int:
        """How many updates scheduled work has left, at most."""
        left = max(0, self.updates_limit - self.reserve - (self.updates_used or 0))
        return left if self.most is None else min(left, self.most[1])


@dataclass(frozen=True, slots=True)
class Questions:
    """Additional reads that a plan requires before it can be applied; most plans require none.

    :param values: ``(ARN, version id)`` whose value must be read for an ownership proof of its label.
    :param doubtful: the same for labels that are checked whether or not something is done to their secrets.
    :param copies: keys to be revoked, by id, with the ``(ARN, version id)`` that holds the value, if any. The current
        values of all managed secrets must be searched for these keys.
    :param versions: ARNs whose versions must be listed, deprecated ones included.
    :param disabled_keys: whether the disabled keys must be listed, because the plan uses creates or updates.
    :param readers: ARNs whose readers must be known: since when the revocation is due, and since when reads matter.
    :param elsewhere: ``(ARN, key id)`` of keys that the account does not have, to search for in the other accounts.
    """

    values: Set[tuple[str, str]] = frozenset()
    doubtful: Set[tuple[str, str]] = frozenset()
    copies: Mapping[str, tuple[str, str] | None] = field(default_factory=dict)
    versions: Set[str] = frozenset()
    disabled_keys: bool = False
    readers: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)
    elsewhere: Set[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return self != Questions()

    @staticmethod
    def merged(asked: Sequence[Questions]) -> Questions:
        """Return all questions as one; no rule asks for ``disabled_keys``."""
        readers: dict[str, tuple[datetime, datetime]] = {}
        for arn, (due, since) in (item for each in asked for item in each.readers.items()):
            known_due, known_since = readers.get(arn, (due, since))
            readers[arn] = min(due, known_due), min(since, known_since)
        return Questions(
            values=frozenset().union(*(each.values for each in asked)),
            doubtful=frozenset().union(*(each.doubtful for each in asked)),
            copies={key_id: holder for each in asked for key_id, holder in each.copies.items()},
            versions=frozenset().union(*(each.versions for each in asked)),
            readers=readers,
            elsewhere=frozenset().union(*(each.elsewhere for each in asked)),
        )


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """What a sweep of one account would do, in order, and what it skips.

    :param error: why the account could not be observed.
    :param deferred: due actions that wait for a slot, or for another sweep because there are too many.
    """

    account: str
    quota: Quota
    actions: tuple[Action, ...] = ()
    skipped: tuple[Skip, ...] = ()
    alerts: tuple[Alert, ...] = ()
    error: str | None = None
    keys: int = 0
    questions: Questions = field(default_factory=Questions)
    infobip_account: str | None = None
    deferred: tuple[Action, ...] = ()

    @property
    def ran_through(self) -> bool:
        """Whether the account was observed and no error concerns it as a whole, so that its sweep runs to the end.

        A problem in a single secret is only an alert and does not affect other secrets.
        """
        wide = (alert for alert in self.alerts if alert.secret is None)
        return self.error is None and not any(alert.severity is Severity.ERROR for alert in wide)


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan per account, all made at the same time."""

    generated_at: datetime
    accounts: tuple[AccountPlan, ...]


class Outcome(StrEnum):
    """The outcome of an action (``run --json``)."""

    DONE = "done"
    FAILED = "failed"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Promoted:
    """The key and version that a rotation created.

    :param moved: whether the replaced key is not in this Infobip account, where no sweep revokes it.
    """

    key_id: str
    version_id: str
    expires_at: datetime | None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """An action and its outcome; ``error`` is redacted text.

    :param promoted: the replacement, if any.
    :param by_account: whether the cause of a failure is the whole account, not this secret.
    """

    action: Action
    outcome: Outcome
    error: str | None = None
    promoted: Promoted | None = None
    duration: timedelta = timedelta(0)
    by_account: bool = False
