"""The final check before a change: a plan of the secret as it is now must contain the same action. Pure.

So each rule of the planner holds here too, and its reason is the reason of the refusal.
"""

from __future__ import annotations

from rotator.errors import Refused, StateChanged
from rotator.message import Message
from rotator.plan import Action, ActionKind
from rotator.policy.draft import Draft
from rotator.reasons import Reason


def require_planned(draft: Draft, action: Action) -> None:
    """Check that a new plan of the secret contains an action again: the same kind, reason, key and version.

    :raises Refused: a rule of the planner forbids it, and an operator has to know.
    :raises StateChanged: it waits, is no longer due, or depends on what has not been read.
    """
    what = f"{_DONE[action.kind]} of key {action.key_id} of {action.secret}"
    if any(_identity(each) == _identity(action) for each in draft.planned):
        if action.key_id in draft.questions.copies:
            raise StateChanged(
                f"the {what} was deferred: the managed secrets have not been searched for it",
                reason=Reason.UNREADABLE,
            )
        return
    waiting = draft.causes()(action.arn, action.key_id)
    for alert in draft.alerts:
        if (alert.key_id == action.key_id) if waiting is None else (alert.message is waiting.message):
            raise Refused(_text(what, alert.kind, alert.message), reason=alert.kind)
    if waiting is not None:
        raise StateChanged(_text(what, waiting.reason, waiting.message), reason=waiting.reason)
    raise StateChanged(f"the {what} is no longer due")


_DONE = {ActionKind.REVOKE: "revocation", ActionKind.RETIRE: "retirement"}


def _identity(action: Action) -> tuple[ActionKind, Reason, str | None, str | None, str]:
    return action.kind, action.reason, action.key_id, action.version_id, action.arn


def _text(what: str, reason: Reason, message: Message) -> str:
    return f"the {what} was stopped: {reason}: {message}"
