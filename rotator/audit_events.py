"""The events of audit lines, and what each means. The table in ``docs/audit.md`` is made from this one."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """The event of an audit line. ``when`` says, in Markdown, when it is written; "it" is the new key."""

    when: str

    def __new__(cls, name: str, when: str) -> Event:
        """Make a member."""
        self = str.__new__(cls, name)
        self._value_, self.when = name, when
        return self

    SWEEP_STARTED = "sweep.started", "a sweep starts; `account` and `secret` limit it"
    SWEEP_COMPLETED = (
        "sweep.completed",
        "it ended. `failure`: an account could not be swept or an action failed. `to_fix` counts alerts that a person "
        "must fix",
    )
    KEY_ADOPTED = (
        "key.adopted",
        "a key is now managed, or a wrong label was corrected",
    )
    KEY_CREATED = "key.created", "Infobip created a key"
    KEY_VERIFIED = (
        "key.verified",
        "it authenticates, or was not probed (`rotator:verify=skip`); `failure`: inconclusive",
    )
    KEY_REJECTED = (
        "key.rejected",
        "it differs from the request or does not work, and is revoked",
    )
    SECRET_STAGED = "secret.staged", "it is stored as `AWSPENDING`, with its label"
    SECRET_PROMOTED = "secret.promoted", "`AWSCURRENT` was moved: consumers get it"
    KEY_RETIRING = "key.retiring", "the old key's grace period starts"
    KEY_REVOKED = "key.revoked", "a key was revoked, for any reason"
    SECRET_UNLABELLED = (
        "secret.unlabelled",
        "a label was removed: its key does not work any longer, or it conflicted with others",
    )
    KEY_ORPHAN_FOUND = "key.orphan_found", "a key was created and never stored; it is revoked next"
    SECRET_ROLLED_BACK = "secret.rolled_back", "`rotator rollback` made the previous key current"
    ROTATION_FAILED = (
        "rotation.failed",
        "a rotation or, without a secret, an account's sweep failed",
    )
    REVOCATION_FAILED = "revocation.failed", "a key could not be revoked, or must not be; the next sweep retries"
    EMERGENCY_REQUESTED = "emergency.requested", "an emergency revocation starts"
    EMERGENCY_COMPLETED = (
        "emergency.completed",
        "`failure`: something was not done; `error` starts with that",
    )
    ALERT_RAISED = "alert.raised", "a warning (`success`) or something to fix (`failure`); `reason` is the alert's kind"
