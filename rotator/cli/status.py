"""``rotator status``: every managed key, and what happens to it next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NotRequired, TypedDict

from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import AccountError, SecretStateShape, as_json, errors_field
from rotator.cli.options import account_option, command, secret_option, wide_option
from rotator.cli.plan_text import MOST_ROWS, last_parts
from rotator.engine.reconcile import Reconciler
from rotator.plan import AccountPlan, ActionKind
from rotator.policy.status import URGENCY, SecretState, State
from rotator.render import NO_SECRETS, Grid, Row, brief, key_words, shown, styled, zone

_BY_NEXT_SWEEP: Final = timedelta(minutes=1)
_STYLES: Final = {
    State.EXPIRED: "red",
    State.BROKEN: "red",
    State.MISCONFIGURED: "red",
    State.UNADOPTED: "yellow",
    State.EMPTY: "yellow",
    State.DUE: "cyan",
    State.OK: "green",
}


class StatusDocument(TypedDict):
    """``status``."""

    secrets: list[SecretStateShape]
    errors: NotRequired[list[AccountError]]


@command(StatusDocument)
@account_option
@secret_option
@wide_option
def status(call: Call, account: str | None, secret: str | None) -> int:
    """Show each managed secret's key: state, expiry and next action.

    States: ok, due, rotating, retiring (an old key is in its grace period),
    expired, broken (the key is disabled or not found), held, empty (no value),
    unadopted (no label yet), misconfigured (tags). OVERDUE: a rotation or
    revocation has not happened a day after it was due; `rotator plan` shows
    why.

    Exits 1 if an account can't be read.

    \b
    Examples:
      rotator status
      rotator status --json | jq '.secrets[] | select(.state != "ok")'
    """
    app = call.open()
    now = app.clock.now()  # before the plans, so that what they do now does not show as overdue
    found, broken = Reconciler(app.services).states(account=account, secret=secret)
    document = {"secrets": as_json(found)} | errors_field(broken)
    call.result(document, _parts(found, broken, now))
    return 1 if any(plan.error is not None for plan in broken) else 0


def _parts(found: Sequence[SecretState], broken: Sequence[AccountPlan], now: datetime) -> Iterator[RenderableType]:
    far = datetime.max.replace(tzinfo=now.tzinfo)
    for name in dict.fromkeys(state.account for state in found):
        mine = [state for state in found if state.account == name]
        mine.sort(key=lambda s: (URGENCY.index(s.state), s.expires_at or far, s.secret))
        yield styled(f"{shown(name, 60)} · {_counts(mine)}", "bold")
        yield ""
        heads = ("secret", "state", f"key expires ({zone(now)})", "next")
        yield Grid([row for state in mine for row in _rows(state, now)], (24, 13, 21), heads, most=MOST_ROWS)
        yield ""
    advice = "Nothing is due. Next sweep: `rotator plan`." if found else NO_SECRETS
    wrong = URGENCY[: URGENCY.index(State.DUE) + 1]
    if any(state.state in wrong for state in found):
        advice = "For reasons and the next sweep's actions: `rotator plan`."
    yield from last_parts(broken, advice)


def _counts(states: Sequence[SecretState]) -> str:
    counts = Counter(state.state for state in states)
    return ", ".join(f"{counts[state]} {state}" for state in URGENCY if counts[state])


def _rows(state: SecretState, now: datetime) -> Iterator[Row]:
    ends = "no key" if state.version_id is None else brief(state.expires_at, now)
    following = _next(state, now)
    if state.overdue:
        following = f"OVERDUE: {following}"
    yield shown(state.title), styled(str(state.state), _STYLES.get(state.state, "")), ends, following
    for item in state.retiring:
        at = f"revoked {brief(item.revoke_at, now)}" if item.revoke_at > now else "its revocation is due"
        if state.next_action is not ActionKind.REVOKE or item.revoke_at != state.next_action_at:
            yield "", "", "", f"{key_words(item.key_id)} is retiring, {at}"


def _next(state: SecretState, now: datetime) -> str:
    due = any(each.revoke_at <= now for each in state.retiring)
    if state.next_action is ActionKind.REVOKE and state.disabled and not due:
        return f"{key_words(state.disabled[0])} is disabled; the next sweep removes its labels"
    if state.hold is not None:
        return f'on hold: "{shown(state.hold, 120)}"'
    if state.state is State.MISCONFIGURED:
        return "blocked until its tags are fixed"
    if state.next_action is None:
        return "none; for the reason: `rotator plan`" if state.state in (State.UNADOPTED, State.EMPTY) else "nothing"
    if state.next_action_at is None:
        return str(state.next_action)
    if state.next_action_at < now:  # the next sweep's actions are due as of now; this one must wait
        return f"{state.next_action} is due but waiting"
    if state.next_action_at <= now + _BY_NEXT_SWEEP:
        return f"{state.next_action} at the next sweep"
    retiring = [key_words(item.key_id) for item in state.retiring if item.revoke_at == state.next_action_at]
    what = f" {retiring[0]}" if retiring and state.next_action is ActionKind.REVOKE else ""
    return f"{state.next_action}{what} {brief(state.next_action_at, now)}"
