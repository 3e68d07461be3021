"""``rotator consumers``: who reads a secret, and who has not read it since its key was replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from rotator.engine.consumers import Consumers
    from rotator.policy.gate import Consumer

MOST_ROWS: Final = 60
MOST_DAYS: Final = 90
_PRINCIPAL: Final = 27
_TIME: Final = 24


@click.command(short_help="Show who reads a secret, and who has not since.")
@click.argument("secret")
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=14,
    show_default=True,
    metavar="N",
    help="Who read it in the N days before its key was replaced.",
)
@common_options
@pass_options
def consumers(options: Options, secret: str, days: int) -> int:
    """Show who still uses the old key of SECRET (name or ARN).

    Reads CloudTrail's event history: which roles and users read the secret
    in the days before its key was replaced, and which of them have not read
    it since. Without a key in grace it lists who reads the secret at all.
    Changes nothing.

    It needs cloudtrail:LookupEvents, and sees this AWS account and region
    only. With the tag rotator:gate=adoption the old key is not revoked
    before all of them have read the new one, or a further grace is over.

    Exits 1 where CloudTrail can't be read.

    \b
    Examples:
      rotator consumers prod/sms/otp
      rotator consumers prod/sms/otp --days 60
      rotator consumers prod/sms/otp --json | jq '.consumers[].principal'
    """
    from rotator.engine.consumers import read_consumers
    from rotator.engine.reconcile import Reconciler

    output = Output(options)
    with opened(options) as app:
        found = read_consumers(Reconciler(app.services), secret, timedelta(days=days))
        if output.is_json:
            output.document(consumers_document(found, days))
        else:
            output.text(*consumers_parts(found, days, app.clock.now()))
    return 0


def consumers_document(found: Consumers, days: int) -> dict[str, Any]:
    """``consumers --json``."""
    from rotator.cli.documents import time_text

    replaced = found.retiring is not None
    return {
        "account": found.account,
        "secret": found.entry.name,
        "gate": "adoption" if found.spec.gate else None,
        "retiring": None
        if found.retiring is None
        else {
            "key_id": found.retiring.key_id,
            "replaced_at": time_text(found.promoted),
            "revoke_at": time_text(found.retiring.revoke_at),
            "waits_until": time_text(found.limit) if found.spec.gate else None,
        },
        "days": days,
        "known_from": time_text(found.since),
        "known_until": time_text(found.until),
        "gap": None if found.gap is None else str(found.gap),
        "consumers": [
            {
                "principal": each.principal,
                "last_read_before": time_text(each.last_before) if replaced else None,
                "last_read_since": time_text(each.last_since) if replaced else None,
                "last_read_of_old_version_since": time_text(each.last_old) if replaced else None,
                "last_read": time_text(_last(each)),
                "waited_for": replaced and each.waited_for,
            }
            for each in found.found
        ],
    }


def consumers_parts(found: Consumers, days: int, now: datetime) -> Iterator[RenderableType]:
    """Who, then what it means and what to do."""
    from rotator.render import Grid, absolute, key_words, shown, styled, when

    name = shown(found.entry.name)
    if found.retiring is None:
        yield styled(f"{name} · no key in grace, nothing to wait for", "bold")
    else:
        yield styled(f"{name} · {key_words(found.retiring.key_id)} was replaced {when(found.promoted, now)}", "bold")
    yield ""
    if found.found:
        yield Grid(list(_rows(found, now)), (_PRINCIPAL, _TIME), heads=_heads(found, now))
        if len(found.found) > MOST_ROWS:
            yield f"  … and {len(found.found) - MOST_ROWS} more; --json has them all"
    else:
        yield "  nobody"
    yield ""
    yield from _meaning(found, days, now)
    if found.gap is not None:
        yield styled(f"Somebody may be missing: {shown(found.gap)}.", "yellow")
    lag = f"CloudTrail lags: reads after {absolute(found.until, now)} may be missing."
    yield f"{lag} It shows this AWS account and region only."
    if found.retiring is None:
        yield f"What comes next for it: `rotator status --secret {name}`."


def _heads(found: Consumers, now: datetime) -> Sequence[str]:
    from rotator.render import zone

    if found.retiring is None:
        return "principal", f"last read ({zone(now)})", ""
    return "principal", "last read before", f"last read since ({zone(now)})"


def _rows(found: Consumers, now: datetime) -> Iterator[Sequence[str | Text]]:
    from rotator.policy.gate import principal_words
    from rotator.render import brief, styled

    for each in found.found[:MOST_ROWS]:
        who = principal_words(each.principal, found.entry.arn)
        if found.retiring is None:
            yield who, brief(_last(each), now), ""
            continue
        before = "not" if each.last_before is None else brief(each.last_before, now)
        if each.last_since is not None:
            since: str | Text = brief(each.last_since, now)
        elif each.last_old is not None:
            since = styled(f"old version, {brief(each.last_old, now)}", "yellow")
        else:
            since = styled("not since", "yellow")
        yield who, before, since


def _meaning(found: Consumers, days: int, now: datetime) -> Iterator[RenderableType]:
    from rotator.render import counted, key_words, shown, when

    if found.retiring is None:
        return
    name, waited_for = shown(found.entry.name), len(found.waited_for)
    key = key_words(found.retiring.key_id)
    due = found.retiring.revoke_at
    end = f"revoked from {when(due, now)} on" if due > now else f"due to be revoked since {when(due, now)}"
    if not waited_for:
        used = any(each.last_before is not None for each in found.found)
        who, done = ("Everybody who", " has read it since") if used else ("Nobody", "")
        yield f"{who} read it in the {counted(days, 'day')} before{done}."
        yield f"Nobody is known to need {key}, which is {end}."
        return
    yield f"{counted(waited_for, 'principal')} of {len(found.found)} may still use {key}, which is {end}."
    if found.spec.gate and found.limit is not None:
        yield f"rotator:gate=adoption: the revocation waits for them, at the latest until {when(found.limit, now)}."
        yield "Restart or deploy them, so that they read the new value."
        return
    yield "Restart or deploy them before that. To let the revocation wait for them, once as long again at most:"
    yield f"  aws secretsmanager tag-resource --secret-id {name} \\"
    yield "    --tags Key=rotator:gate,Value=adoption"


def _last(each: Consumer) -> datetime | None:
    return max((at for at in (each.last_before, each.last_since, each.last_old) if at is not None), default=None)
