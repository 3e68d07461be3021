"""The rotation rules, as ordered lists of predicates. Read from top to bottom.

Each takes a :class:`View` of one secret and the time, and returns a :class:`Decision` or ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Elsewhere, Key, Resolution, SecretEntry, Spec
from rotator.plan import Action, Questions, Severity, WithMessage
from rotator.policy.lifecycle import (
    AWS_LABELS,
    MAX_LABELS,
    Lifecycle,
    current_resolution,
    labels_after_rotation,
    read_lifecycle,
)
from rotator.policy.tags import spec_or_none, tag_problems
from rotator.policy.windows import is_open, next_open
from rotator.reasons import Reason

URGENT = timedelta(hours=24)
"""A key with less than this left (or less than a tenth of its life, for short-lived keys) can't wait for a window."""
WARN_HELD = timedelta(days=7)
"""A key with less than this left is worth a warning although the operator holds its secret."""


@dataclass(frozen=True, slots=True)
class View:
    """One managed secret, seen together with its key.

    :param spec: ``None`` when the tags have problems.
    :param resolution: which key the current value was found to be, if it was read.
    :param key_id: the current key, by label or else by that.
    :param key: that key as Infobip lists it; ``None`` if the account does not have it.
    :param key_unreadable: whether the account may have it anyway, because it could not be read by its id.
    :param elsewhere: where it was searched for, if the account does not have it.
    """

    entry: SecretEntry
    spec: Spec | None
    life: Lifecycle
    resolution: Resolution | None
    key_id: str | None
    key: Key | None
    key_unreadable: bool
    elsewhere: Elsewhere | None

    @property
    def mislabelled(self) -> str | None:
        """The key that the value was found to be, if the label names another one."""
        found = self.resolution.key_id if self.resolution is not None else None
        return found if self.life.current_key not in (None, found) else None

    @property
    def unresolved(self) -> str:
        """Why the value's key is not known although it was searched for, as a sentence; else ``""``."""
        return self.resolution.problem if self.resolution is not None else ""


def make_view(snapshot: AccountSnapshot, entry: SecretEntry) -> View:
    """Return one secret of the snapshot with everything that its decisions depend on."""
    resolution = current_resolution(snapshot, entry)
    resolved = resolution.key_id if resolution else None
    life = read_lifecycle(entry, resolved)
    key_id = life.current_key or resolved
    return View(
        entry,
        spec_or_none(entry.tags),
        life,
        resolution,
        key_id,
        key=snapshot.keys.get(key_id or ""),
        key_unreadable=key_id in snapshot.unreadable_keys,
        elsewhere=snapshot.elsewhere.get(key_id or ""),
    )


@dataclass(frozen=True, slots=True)
class Decision(WithMessage):
    """Why something is done or not; ``due_at``/``deadline`` if it is about time, ``severity`` if it is an alert.

    :param asks: what must be read before it is certain.
    """

    reason: Reason
    message: Message
    due_at: datetime | None = None
    deadline: datetime | None = None
    severity: Severity | None = None
    asks: Questions | None = None

    @classmethod
    def of(cls, reason: Reason, template: str, severity: Severity | None = None, /, **values: object) -> Decision:
        """A decision that is not about time, with its message's template and values."""
        return cls(reason, Message.of(template, **values), severity=severity)


Predicate = Callable[[View, datetime], Decision | None]


def first(predicates: tuple[Predicate, ...], view: View, now: datetime) -> Decision | None:
    """Return the decision of the first predicate that makes one."""
    for predicate in predicates:
        decision = predicate(view, now)
        if decision is not None:
            return decision
    return None


# ---- skipped -----------------------------------------------------------------------------------------------------


def pending_deletion(view: View, now: datetime) -> Decision | None:
    """Scheduled for deletion: nothing can be read or written."""
    if view.entry.deleted_at is None:
        return None
    return Decision.of(Reason.DELETED, "the secret is scheduled for deletion; restore it to resume rotation")


def owned_by_service(view: View, now: datetime) -> Decision | None:
    """Another AWS service manages it."""
    if not view.entry.owning_service:
        return None
    return Decision.of(Reason.OWNED, "the secret is managed by {service}", service=view.entry.owning_service)


def replica(view: View, now: datetime) -> Decision | None:
    """A replica follows its primary; only the primary can be written."""
    if not view.entry.is_replica:
        return None
    template = "the secret is a replica; its primary in {region} is rotated instead"
    return Decision.of(Reason.REPLICA, template, region=view.entry.primary_region)


def misconfigured(view: View, now: datetime) -> Decision | None:
    """Tags that can't be read or can't work."""
    if view.spec is not None:
        return None
    problems = "; ".join(map(str, tag_problems(view.entry.tags)))
    return Decision.of(Reason.MISCONFIGURED, "{problems}", Severity.ERROR, problems=problems)


def held(view: View, now: datetime) -> Decision | None:
    """The operator holds it. A key that is about to expire is a warning anyway."""
    if view.spec is None or view.spec.hold is None:
        return None
    due, end = renew_at(view.spec, view.key), view.key.valid_to if view.key is not None else None
    if due is None or due > now or end is None or end - now > WARN_HELD:
        return Decision.of(Reason.HOLD, '"{hold}"', hold=view.spec.hold)
    template = '"{hold}"; its key ' + ("expired {time} ago" if end <= now else "expires in {time}")
    template += ", and is not rotated until the tag is removed"
    return Decision.of(Reason.HOLD, template, Severity.WARNING, hold=view.spec.hold, time=abs(end - now))


def inconsistent(view: View, now: datetime) -> Decision | None:
    """Labels contradict each other. Skipping is safer than guessing."""
    if view.life.problem is None:
        return None
    template = "{problem}; see `aws secretsmanager describe-secret`, and remove the wrong label"
    return Decision.of(Reason.INCONSISTENT, template, Severity.ERROR, problem=view.life.problem)


def foreign_rotation(view: View, now: datetime) -> Decision | None:
    """Another rotation function has a version pending."""
    if not view.life.foreign_pending:
        return None
    due = renew_at(view.spec, view.key)
    late = due is not None and due <= now
    template = "another rotation left a version with AWSPENDING; finish that rotation, or remove the label"
    return Decision.of(Reason.FOREIGN_ROTATION, template, Severity.ERROR if late else None)


def unadopted(view: View, now: datetime) -> Decision | None:
    """The key of the current value has not been identified."""
    if view.life.current_version is None or view.key_id is not None:
        return None
    problem = view.unresolved or "its key has not been identified yet"
    return Decision.of(Reason.UNADOPTED, "{problem}", Severity.ERROR, problem=problem)


def unproven_label(view: View, now: datetime) -> Decision | None:
    """The label names a key of the account, and the value is none. Anyone who can write labels can cause this."""
    labelled = view.life.current_key is not None and view.key is not None
    if not labelled or view.resolution is None or not view.resolution.known_foreign:
        return None
    return Decision.of(
        Reason.UNPROVEN_LABEL,
        "the label names key {key}, but the value is not proven to be that key: {problem}; store the correct key, or "
        "remove the label with `aws secretsmanager update-secret-version-stage`",
        Severity.ERROR,
        key=KeyId(view.key_id or ""),
        problem=view.unresolved,
    )


def key_unread(view: View, now: datetime) -> Decision | None:
    """The current key is not listed and could not be read by its id, so the account may have it or not."""
    if not _lacks_key(view) or not view.key_unreadable:
        return None
    template = "the current key {key} is not in Infobip's list and could not be read by its id, so nothing is done; "
    key = KeyId(view.key_id or "")
    return Decision.of(Reason.LISTING_INCOMPLETE, template + "sweeps retry", Severity.WARNING, key=key)


def key_not_found(view: View, now: datetime) -> Decision | None:
    """The account that the tag names does not have the current key. Only a person moves a secret to another account."""
    if not _lacks_key(view) or view.key_unreadable:
        return None
    account = view.spec.account if view.spec is not None else ""
    owner = view.elsewhere.account if view.elsewhere is not None else None
    message = no_such_key(account, view.key_id or "", view.entry.argument, owner)
    return Decision(Reason.KEY_NOT_FOUND, message, severity=Severity.ERROR)


def no_such_key(account: str, key_id: str, secret: str, owner: str | None = None) -> Message:
    """Return what is wrong if an account does not have a secret's current key, and what to do.

    :param secret: its name, or its ARN if there are several stores.
    :param owner: another account that has it.
    """
    return Message.of(
        "the Infobip account {account} has no key {key}, the current key"
        + ("; account {owner} has it" if owner is not None else "")
        + ": the tag rotator:account is wrong, the management credentials are another account's, or Infobip removed "
        "the key; correct the tag or the credentials, or set rotator:scopes and run `rotator rotate {secret} --reason "
        "...`, which gives the secret a key of this account",
        account=account,
        key=KeyId(key_id),
        owner=owner,
        secret=secret,
    )


def _lacks_key(view: View) -> bool:
    """Whether the account was not seen to have the key that the label names, and the value is not another key of it."""
    return view.key is None and view.life.current_key is not None and view.mislabelled is None


def empty(view: View, now: datetime) -> Decision | None:
    """No value, and no scopes for its first key."""
    if view.life.current_version is not None or view.life.pending_version is not None:
        return None
    if view.spec is None or view.spec.scopes:
        return None
    template = "the secret has no value; set rotator:scopes so that a sweep creates its first key, or store a key in it"
    return Decision.of(Reason.EMPTY, template, Severity.ERROR)


NOT_OURS: tuple[Predicate, ...] = (
    pending_deletion,  # makes sure that the secret can be read and written
    owned_by_service,  # makes sure that no other AWS service overwrites what the rotator writes
    replica,  # makes sure that only the primary is written, which AWS copies here
)
"""Secrets that can't be written, or that others write."""
SKIP_MOVE_WHEN: tuple[Predicate, ...] = (
    *NOT_OURS,
    misconfigured,  # makes sure that every later link has a spec, and that no misspelt tag is ignored
    held,  # makes sure that a hold wins over everything that labels and keys say
    inconsistent,  # makes sure that there is one current version and one label per key, so that nothing is guessed
    foreign_rotation,  # makes sure that no other program's pending version is promoted or removed
    unadopted,  # makes sure that the key that consumers have is identified
    unproven_label,  # makes sure that the label of the current version does not hide which key consumers have
    key_unread,  # makes sure that an incomplete list is not mistaken for a missing key
    empty,  # makes sure that a first key is created only with scopes
)
"""What stops `rotator rotate` too, the only command that moves a secret to another Infobip account."""
SKIP_WHEN: tuple[Predicate, ...] = (
    *SKIP_MOVE_WHEN,
    key_not_found,  # makes sure that no sweep moves a secret to another Infobip account
)
"""What stops everything else."""

# ---- rotate ---------------------------------------------------------------------------------------------------------


def expires_by(spec: Spec | None, key: Key | None) -> datetime | None:
    """Return when a key's expiry makes a rotation due."""
    if spec is None or key is None or key.valid_to is None:
        return None
    before = spec.rotate_before
    if isinstance(before, timedelta):
        return plus(key.valid_to, -before)
    begin = key.valid_from or plus(key.valid_to, -spec.validity)
    return plus(key.valid_to, -(key.valid_to - begin) * before)


def too_old_by(spec: Spec | None, key: Key | None) -> datetime | None:
    """Return when a key's age makes a rotation due."""
    if spec is None or spec.max_age is None or key is None or key.valid_from is None:
        return None
    return plus(key.valid_from, spec.max_age)


def renew_at(spec: Spec | None, key: Key | None) -> datetime | None:
    """Return when the next rotation of a secret with that current key is due, or ``None`` if never."""
    expires, too_old = expires_by(spec, key), too_old_by(spec, key)
    return too_old if expires is None else expires if too_old is None else min(expires, too_old)


def first_key(view: View, now: datetime) -> Decision | None:
    """No value yet."""
    if view.life.current_version is not None:
        return None
    return Decision(Reason.FIRST_KEY, Message("the secret has no value yet"), due_at=now)


def key_disabled(view: View, now: datetime) -> Decision | None:
    """The current key was disabled."""
    if view.key is None or view.key.enabled:
        return None
    return Decision(Reason.KEY_DISABLED, Message("the current key is disabled"), due_at=now, deadline=now)


def expired(view: View, now: datetime) -> Decision | None:
    """The key has expired. A late rotation is better than none."""
    if view.key is None or view.key.valid_to is None or view.key.valid_to > now:
        return None
    message = Message.of("expired {time} ago", time=now - view.key.valid_to)
    return Decision(Reason.EXPIRED, message, due_at=expires_by(view.spec, view.key), deadline=view.key.valid_to)


def expiring(view: View, now: datetime) -> Decision | None:
    """The fraction or length of ``rotator:rotate-before`` is left."""
    due = expires_by(view.spec, view.key)
    if due is None or due > now or view.key is None or view.key.valid_to is None:
        return None
    message = Message.of("{left} left", left=view.key.valid_to - now)
    return Decision(Reason.EXPIRING, message, due_at=due, deadline=view.key.valid_to)


def too_old(view: View, now: datetime) -> Decision | None:
    """Older than ``rotator:max-age``."""
    due = too_old_by(view.spec, view.key)
    if due is None or due > now or view.key is None or view.key.valid_from is None:
        return None
    message = Message.of("{age} old", age=now - view.key.valid_from)
    return Decision(Reason.MAX_AGE, message, due_at=due, deadline=view.key.valid_to)


ROTATE_WHEN: tuple[Predicate, ...] = (
    first_key,  # makes sure that a secret without a value gets one
    key_disabled,  # makes sure that consumers get a key that works, whatever the old one's expiry
    expired,  # makes sure that a late rotation is done, and is urgent
    expiring,  # makes sure that a key is replaced before it expires
    too_old,  # makes sure that a key is replaced by its age, even if it never expires
)

BROKEN = frozenset({Reason.FIRST_KEY, Reason.KEY_DISABLED, Reason.EXPIRED})
"""Reasons that leave consumers without a working key. Such a rotation waits for nothing."""


def is_urgent(rotation: Decision | Action, now: datetime) -> bool:
    """Whether consumers have no working key, or will have none in a day."""
    soon = rotation.deadline is not None and rotation.deadline - now <= URGENT
    return soon or rotation.reason in BROKEN


# ---- what keeps a due rotation waiting ------------------------------------------------------------------------------


def scopes_unknown(view: View, now: datetime) -> Decision | None:
    """Infobip would give the replacement every scope of the user."""
    assert view.spec is not None
    if view.key is not None and view.key.platform:
        if not view.spec.scopes:
            return None
        template = "the key is linked to CPaaS X applications and so can't have scopes; remove rotator:scopes"
        return Decision.of(Reason.MISCONFIGURED, template, Severity.ERROR)
    if view.spec.scopes or (view.key is not None and view.key.scopes):
        return None
    what = "is not in Infobip's list" if view.key is None else "lists no scopes"
    template = f"the old key {what}, and a key created without scopes would get all of them; set rotator:scopes"
    return Decision.of(Reason.SCOPES_UNKNOWN, template, Severity.ERROR)


def labels_full(view: View, now: datetime) -> Decision | None:
    """AWS allows 20 labels per secret.

    The last two are for a rescue: by hand, or by a rotation if the current key does not work. In that case no key
    is revoked after its grace period, so a rotation that waited for a revocation would wait for ever.
    """
    count = labels_after_rotation(view.life, view.entry)
    most = MAX_LABELS if view.key is not None and view.key.alive(now) else AWS_LABELS
    if count <= most:
        return None
    template = "a rotation would need {count} staging labels (at most {most}); " + (
        "it waits until keys in their grace period are revoked"
        if view.life.old_versions
        else "remove unneeded labels with `aws secretsmanager update-secret-version-stage`"
    )
    return Decision.of(Reason.LABEL_LIMIT, template, Severity.ERROR, count=count, most=most)


ROTATE_BLOCKED: tuple[Predicate, ...] = (
    scopes_unknown,  # makes sure that a replacement never gets every scope of the user
    labels_full,  # makes sure that AWS's limit leaves labels for a rescue
)


def skipped(view: View, now: datetime) -> Reason | None:
    """Return why sweeps don't rotate a secret, due or not; ``None`` if they do."""
    decision = first((*SKIP_WHEN, *ROTATE_BLOCKED), view, now)
    return None if decision is None else decision.reason


def window_closed(view: View, decision: Decision, now: datetime) -> Decision | None:
    """The window is closed, and opens early enough to wait for it."""
    window = view.spec.window if view.spec else None
    if window is None or decision.reason in BROKEN or is_open(window, now):
        return None
    opens = next_open(window, now)
    if decision.deadline is not None and opens > latest_start(view, decision.deadline):
        return None
    template = "{reason}; waits for its window, which opens {opens:%a} {opens}"
    return Decision.of(Reason.WINDOW, template, reason=decision.reason, opens=opens)


def latest_start(view: View, deadline: datetime) -> datetime:
    """Return the last moment at which a rotation should start, whether or not its window is open."""
    lifetime = view.key.lifetime if view.key is not None else None
    return plus(deadline, -(URGENT if lifetime is None else min(URGENT, lifetime / 10)))
