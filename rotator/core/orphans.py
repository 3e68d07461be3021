"""Keys that no secret holds: orphans of this deployment, which go, and unknown ones, which are only reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from rotator.core.directory import Directory, Others
from rotator.core.draft import Draft, Rank
from rotator.core.durations import human_duration
from rotator.core.holdings import Holdings
from rotator.core.labels import CURRENT, KeyName, key_label, parse_key_name
from rotator.core.model import AccountSnapshot, Action, ActionKind, Key, Policy, Reason, SecretEntry
from rotator.core.text import printable
from rotator.core.times import plus

ORPHAN_AGE = timedelta(minutes=30)
"""Younger ones may belong to a run that is still at it."""
REPORT_UNKNOWN = timedelta(days=14)


def own_name(key: Key, policy: Policy) -> KeyName | None:
    """The key's name, if this deployment gave it."""
    name = parse_key_name(key.name)
    return name if name is not None and name.deployment == policy.deployment else None


def stored_here(key: Key, name: KeyName, entry: SecretEntry) -> bool:
    """Whether a secret has the version that a key was made for, and that version is not another key's."""
    labels = entry.versions.get(name.version_id)
    if labels is None:
        return False
    others = any(label.startswith("rotator:key:") for label in labels) and key_label(key.id) not in labels
    return not others


def plan_orphans(
    draft: Draft,
    snapshot: AccountSnapshot,
    holdings: Holdings,
    policy: Policy,
    now: datetime,
    left_alone: Callable[[SecretEntry], bool],
) -> None:
    """Keys of this deployment whose version does not exist in the secret that their name says.

    :param left_alone: whether a secret is, for whatever reason; such a one (a replica that lags behind, say) proves
        nothing about its keys.
    """
    own, others = Directory({"": snapshot.secrets}), Others.of(snapshot.others)
    resuming = {action.key_id for _, action in draft.ranked if action.kind is ActionKind.RESUME}
    # Nearly every key has its secret: names are read of the others only.
    loose = [key for key in holdings.loose if key.alive(now)]
    for key in sorted(loose, key=lambda key: key.id):
        name = own_name(key, policy)
        if name is None or key.id in resuming:
            continue
        if key.valid_from is None or plus(key.valid_from, ORPHAN_AGE) > now:
            continue
        having = (*own.storing(name.version_id), *others.storing(name.version_id))
        storing = sorted((entry for entry in having if stored_here(key, name, entry)), key=lambda entry: entry.name)
        named_for = [entry for entry in storing if name.may_belong_to(entry.name)]
        holder = next(iter((*named_for, *storing)), None)
        if holder is not None:
            if CURRENT not in holder.versions[name.version_id] and not left_alone(holder):
                detail = (
                    f"key {key.id} lives, though {holder.name} has had another one since and no label says until when: "
                    "it was enabled again, its labels were taken off, or the secret was moved to another account; "
                    "end it with `rotator revoke --key-id`"
                )
                draft.alert(Reason.KEY_REENABLED, detail, holder.name, key.id)
            continue
        owner = next(iter((*own.named_like(name), *others.named_like(name))), None)
        if owner is None:
            # The version may well exist in a secret that can't be seen from here: another region or AWS account that
            # was given the same deployment name. Ending it could be an outage there, so a person decides.
            detail = (
                f"key {key.id} is named for {printable(name.secret)}, which is no managed secret here, so nothing "
                "proves it unused; if it is, end it with `rotator revoke --key-id`, or give each deployment "
                "its own ROTATOR_DEPLOYMENT"
            )
            draft.alert(Reason.ORPHAN_UNPROVEN, detail, key_id=key.id)
            continue
        if left_alone(owner):
            continue
        draft.add(
            Rank.ORPHAN,
            Action(
                ActionKind.REVOKE,
                snapshot.account,
                owner.name,
                Reason.ORPHAN,
                due_at=plus(key.valid_from, ORPHAN_AGE),
                key_id=key.id,
                version_id=name.version_id,
                detail="made and never stored; nobody has its value",
                arn=owner.arn,
                costs_update=True,
            ),
        )


def report_unknown(draft: Draft, holdings: Holdings, now: datetime) -> None:
    """Keys that nobody rotates and that end soon: said, never touched."""
    ending = [key for key in holdings.loose if key.valid_to is not None and key.alive(now)]
    for key in sorted(ending, key=lambda key: key.id):
        if key.valid_to is None or parse_key_name(key.name) is not None:
            continue
        left = key.valid_to - now
        if left <= REPORT_UNKNOWN:
            detail = (
                f'key {key.id} "{printable(key.name, limit=60)}" ends in {human_duration(left)} and no managed secret '
                "holds it; `rotator adopt` takes it under management"
            )
            draft.alert(Reason.UNKNOWN_KEY_EXPIRING, detail, key_id=key.id)
