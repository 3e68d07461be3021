"""What prevents a rollback, and which key it makes current again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from rotator.durations import FIRST, LAST
from rotator.errors import Refused
from rotator.message import date_text
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.labels import PREVIOUS
from rotator.policy.lifecycle import Lifecycle, Retiring, stored_after
from rotator.policy.rules import SKIP_WHEN, Predicate, View, first
from rotator.reasons import Reason
from rotator.text import printable

LEAST_LEFT = timedelta(hours=1)
"""A rollback requires a key with at least this long until its expiry; else consumers would soon lose it."""


def require_allowed(view: View, now: datetime, rules: tuple[Predicate, ...] = SKIP_WHEN) -> Spec:
    """Return a secret's spec, if nothing about the secret itself prevents a rollback.

    :param rules: the rules to apply.
    :raises Refused: it is held, misconfigured, being rotated, not adopted, or managed by another service.
    """
    name, life = printable(view.entry.name), view.life
    if life.current_version is None:
        raise Refused(f"{name} can't be rolled back: it has no value", reason=Reason.EMPTY)
    if view.spec is not None and view.spec.hold is not None:
        raise Refused(
            f'{name} is on hold: "{printable(view.spec.hold)}"',
            advice="Remove the tag rotator:hold, roll back, then add the tag again to keep that key.",
            reason=Reason.HOLD,
        )
    if life.problem is None and life.current_key is None:
        raise Refused(
            f"{name} can't be rolled back: its current key is not identified yet, so it can't be retired",
            advice=f"Adopt it first: `rotator adopt {printable(view.entry.argument)}`.",
            reason=Reason.UNADOPTED,
        )
    skipped = first(rules, view, now)
    if skipped is not None:
        raise Refused(f"{name} was not rolled back: {skipped.reason}: {skipped.detail}", reason=skipped.reason)
    if life.pending_version is not None:
        raise Refused(
            f"{name} was not rolled back: its rotation is in progress (key {life.pending_key} is not promoted yet)",
            advice=f"Finish it with `rotator run --secret {printable(view.entry.argument)}`, then roll back.",
            reason=Reason.PENDING,
        )
    assert view.spec is not None  # else it is skipped as misconfigured
    return view.spec


def cant_go_back(entry: SecretEntry, key_id: str, why: str, reason: Reason) -> Refused:
    """Return the error for a key that is not a valid rollback target."""
    name = printable(entry.name)
    advice = f"Create a new key instead: `{_rotate(entry)}`."
    return Refused(f"{name} can't be rolled back to key {key_id}: {why}", advice=advice, reason=reason)


def previous_key(
    entry: SecretEntry,
    life: Lifecycle,
    dates: Mapping[str, datetime],
    keys: Mapping[str, Key],
    now: datetime,
    wanted: str | None = None,
) -> Retiring:
    """Return the superseded version to roll back to: the requested one, else the one that was current last.

    :param dates: when versions were created; needed if an emergency created one (see :func:`emergency_versions`).
    :param keys: the secret's keys that Infobip lists now, by id.
    :param wanted: the key id that the operator specified.
    :raises Refused: there is none, or it can't be used.
    """
    found = [item for item in life.retiring if wanted in (None, item.key_id)]
    if not found:
        for version, key_id in life.superseded:  # without a retire label yet, as after an emergency
            if wanted in (None, key_id) and PREVIOUS in entry.versions.get(version, ()):
                _refuse_leaked(entry, version, key_id, dates)
                check_usable(entry, key_id, keys.get(key_id), now)
        raise _not_in_grace(entry, life, wanted)
    item = max(found, key=lambda item: (PREVIOUS in entry.versions.get(item.version_id, ()), item.revoke_at))
    if life.holders.get(item.key_id) != item.version_id:
        raise cant_go_back(entry, item.key_id, "no label shows the version that contains it", Reason.UNADOPTED)
    _refuse_leaked(entry, item.version_id, item.key_id, dates)
    return item


def _refuse_leaked(entry: SecretEntry, version_id: str, key_id: str, dates: Mapping[str, datetime]) -> None:
    made = dates.get(version_id)
    for version in emergency_versions(entry):
        # A version of unknown age counts as older: refusing is safer than returning to a leaked key.
        if version != version_id and (made is None or made <= dates.get(version, LAST)):
            why = "an emergency revocation replaced it, so it may be compromised"
            raise cant_go_back(entry, key_id, why, Reason.EMERGENCY)


def rolled_back_from(life: Lifecycle, keys: Mapping[str, Key], dates: Mapping[str, datetime]) -> tuple[str, str] | None:
    """Return the newest version (and its key) that is newer than the current one. If there is one, this is a retry.

    The retry of a completed rollback must not undo it and must not go back one key further.

    :param keys: the secret's keys that Infobip lists now, by id.
    :param dates: when versions were created, as far as known.
    """
    if life.current_version is None:
        return None
    newer = [
        each for each in life.old_versions if _newer(each, (life.current_version, life.current_key or ""), keys, dates)
    ]

    def age(each: tuple[str, str]) -> tuple[datetime, datetime]:
        key = keys.get(each[1])
        made = key.valid_from if key is not None else None
        return dates.get(each[0], FIRST), made or FIRST

    return max(newer, key=age, default=None)


def check_usable(entry: SecretEntry, key_id: str, key: Key | None, now: datetime) -> Key:
    """Return the key if consumers can use it.

    :raises Refused: it is not found, disabled or expired, or expires within an hour.
    """
    if key is None:
        why = "the secret's Infobip account does not have it"
        raise cant_go_back(entry, key_id, why, Reason.KEY_NOT_FOUND)
    if not key.enabled:
        raise cant_go_back(entry, key_id, "it is disabled", Reason.KEY_DISABLED)
    if key.valid_to is not None and key.valid_to - now < LEAST_LEFT:
        at = f"{date_text(key.valid_to)} UTC"
        if key.expired(now):
            raise cant_go_back(entry, key.id, f"it expired {at}", Reason.EXPIRED)
        raise cant_go_back(entry, key.id, f"it expires {at}, in less than an hour", Reason.EXPIRING)
    return key


def emergency_versions(entry: SecretEntry) -> tuple[str, ...]:
    """Return the labelled versions that an emergency created. Older keys may have leaked."""
    return tuple(sorted(version for version in entry.versions if made_in_emergency(entry.arn, version)))


def _newer(
    one: tuple[str, str], other: tuple[str, str], keys: Mapping[str, Key], dates: Mapping[str, datetime]
) -> bool:
    """Whether a version was created after another one, by its key's ``validFrom`` if its own date does not show it."""
    newer = stored_after(dates, one[0], other[0])
    if newer is not None:
        return newer
    key, current = keys.get(one[1]), keys.get(other[1])
    if key is None or current is None or key.valid_from is None or current.valid_from is None:
        return False
    return key.valid_from > current.valid_from


def _rotate(entry: SecretEntry) -> str:
    return f"rotator rotate {printable(entry.argument)} --reason R"


def _not_in_grace(entry: SecretEntry, life: Lifecycle, wanted: str | None) -> Refused:
    name = printable(entry.name)
    if wanted is not None and wanted == life.current_key:
        text = f"key {wanted} is already the current key of {name}"
        return Refused(text, advice="Nothing was changed.", reason=Reason.GRACE_OVER)
    if any(wanted in (None, key_id) for _, key_id in life.superseded):
        return Refused(
            f"{f'key {wanted}' if wanted else 'the previous key'} of {name} has no retire label yet, so its grace "
            "period has not started",
            advice=f"Run `rotator run --secret {printable(entry.argument)}` to add one, then repeat the command.",
            reason=Reason.SUPERSEDED,
        )
    if wanted is None:
        return Refused(
            f"{name} can't be rolled back: it has no key in its grace period",
            advice=f"Create a new key instead: `{_rotate(entry)}`; revoked keys can't be restored.",
            reason=Reason.GRACE_OVER,
        )
    there = ", ".join(item.key_id for item in life.retiring) or "none"
    return Refused(
        f"key {printable(wanted, 40)} of {name} is not in its grace period; keys that are: {there}",
        advice=f"See `rotator status --secret {printable(entry.argument)}`.",
        reason=Reason.GRACE_OVER,
    )
