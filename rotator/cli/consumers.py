"""``rotator consumers``: who reads a secret, and who has not read it since its key was replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, TypedDict

import click
from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import Document, Time, shaped
from rotator.cli.options import command
from rotator.cli.plan_text import MOST_ROWS
from rotator.engine.consumers import Consumers, read_consumers
from rotator.engine.reconcile import Reconciler
from rotator.policy.gate import Consumer, principal_words
from rotator.render import Grid, Row, absolute, brief, counted, key_words, shown, styled, when, zone
from rotator.text import printable

MOST_DAYS: Final = 90
_PRINCIPAL: Final = 27
_TIME: Final = 24


class OldKey(TypedDict):
    """The key in its grace period."""

    key_id: str
    replaced_at: Time | None
    revoke_at: Time
    waits_until: Time | None


class ConsumerShape(TypedDict):
    """A principal that read the secret."""

    principal: str
    last_read_before: Time | None
    last_read_since: Time | None
    last_read_of_old_version_since: Time | None
    last_read: Time | None
    waited_for: bool


class ConsumersDocument(TypedDict):
    """``consumers``."""

    account: str
    secret: str
    gate: str | None
    retiring: OldKey | None
    days: int
    known_from: Time | None
    known_until: Time | None
    gap: str | None
    consumers: list[ConsumerShape]


@command(ConsumersDocument)
@click.argument("secret")
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=14,
    show_default=True,
    metavar="N",
    help="Include readers from the N days before the key was replaced.",
)
def consumers(call: Call, secret: str, days: int) -> int:
    """Show who still uses the old key of SECRET (name or ARN).

    Reads CloudTrail's event history: who read the secret in the days before
    its key was replaced, and who has not read it since. If no key is in its
    grace period, it lists all readers. Changes nothing.

    Requires cloudtrail:LookupEvents; covers this AWS account and region only.
    The tag rotator:gate=adoption makes the old key's revocation wait for them.

    Exits 1 if CloudTrail can't be read.

    \b
    Examples:
      rotator consumers prod/sms/otp --days 60
      rotator consumers prod/sms/otp --json | jq '.consumers[].principal'
    """
    app = call.open()
    found = read_consumers(Reconciler(app.services), secret, timedelta(days=days))
    call.result(consumers_document(found, days), consumers_parts(found, days, app.clock.now()))
    return 0


def consumers_document(found: Consumers, days: int) -> Document:
    """``consumers --json``."""
    gate, retiring = found.spec.gate, found.retiring
    waits_until = found.limit if gate else None
    return shaped(
        ConsumersDocument,
        found,
        secret=found.entry.name,
        gate="adoption" if gate else None,
        retiring=retiring and shaped(OldKey, retiring, replaced_at=found.promoted, waits_until=waits_until),
        days=days,
        consumers=[
            shaped(
                ConsumerShape,
                each,
                last_read_before=each.last_before if retiring else None,
                last_read_since=each.last_since if retiring else None,
                last_read_of_old_version_since=each.last_old if retiring else None,
                last_read=_last(each),
                waited_for=retiring is not None and each.waited_for,
            )
            for each in found.found
        ],
    )


def consumers_parts(found: Consumers, days: int, now: datetime) -> Iterator[RenderableType]:
    """Yield the readers, then what follows from them."""
    name = shown(found.entry.name)
    if found.retiring is None:
        yield styled(f"{name} · no key in its grace period", "bold")
    else:
        yield styled(f"{name} · {key_words(found.retiring.key_id)} was replaced {when(found.promoted, now)}", "bold")
    yield ""
    if found.found:
        rows, heads = [_row(each, found, now) for each in found.found], _heads(found, now)
        yield Grid(rows, (_PRINCIPAL, _TIME), heads, most=MOST_ROWS, rest="use --json for the full list")
    else:
        yield "  no reads"
    yield ""
    yield from _meaning(found, days, now)
    if found.gap is not None:
        yield styled(f"The list may be incomplete: {shown(found.gap)}.", "yellow")
    lag = f"CloudTrail is delayed: reads after {absolute(found.known_until, now)} may be missing."
    yield f"{lag} Only this AWS account and region are covered."
    if found.retiring is None:
        yield f"Next: `rotator status --secret {printable(found.entry.argument)}`."


def _heads(found: Consumers, now: datetime) -> Sequence[str]:
    if found.retiring is None:
        return "principal", f"last read ({zone(now)})", ""
    return "principal", "last read before", f"last read since ({zone(now)})"


def _row(each: Consumer, found: Consumers, now: datetime) -> Row:
    who = principal_words(each.principal, found.entry.arn)
    if found.retiring is None:
        return who, brief(_last(each), now), ""
    before = "none" if each.last_before is None else brief(each.last_before, now)
    if each.last_since is not None:
        return who, before, brief(each.last_since, now)
    since = "none since" if each.last_old is None else f"old version, {brief(each.last_old, now)}"
    return who, before, styled(since, "yellow")


def _meaning(found: Consumers, days: int, now: datetime) -> Iterator[RenderableType]:
    if found.retiring is None:
        return
    waited_for = len(found.waited_for)
    key = key_words(found.retiring.key_id)
    due = found.retiring.revoke_at
    until = f"to be revoked {when(due, now)}" if due > now else f"overdue for revocation since {when(due, now)}"
    if not waited_for:
        used = any(each.last_before is not None for each in found.found)
        who, done = ("Every principal that", " has read it since") if used else ("No principal", "")
        yield f"{who} read it in the {counted(days, 'day')} before the rotation{done}."
        yield f"No known principal still needs {key}; it is {until}."
        return
    yield f"{counted(waited_for, 'principal')} of {len(found.found)} may still use {key}; it is {until}."
    if found.spec.gate and found.limit is not None:
        yield (
            f"rotator:gate=adoption delays the revocation until they have read it, {when(found.limit, now)} at the "
            "latest."
        )
        yield "Restart or redeploy them so that they read the new value."
        return
    yield "Restart or redeploy them before then. To delay the revocation for them by up to one grace period:"
    yield f"  aws secretsmanager tag-resource --secret-id {printable(found.entry.argument)} \\"
    yield "    --tags Key=rotator:gate,Value=adoption"


def _last(each: Consumer) -> datetime | None:
    return max((at for at in (each.last_before, each.last_since, each.last_old) if at is not None), default=None)
