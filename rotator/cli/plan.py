"""``rotator plan``: what a sweep would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from rotator.cli.call import Call
from rotator.cli.documents import PlanDocument, as_json
from rotator.cli.options import account_option, command, secret_option, wide_option
from rotator.cli.plan_text import APPLY, plan_parts
from rotator.durations import MAX_DURATION, parse_duration
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import errors_in
from rotator.errors import ConfigurationError

WORK_TO_DO: Final = 3
SOMETHING_TO_FIX: Final = 4


@command(PlanDocument)
@account_option
@secret_option
@click.option("--at", metavar="TIME", help="Plan as of TIME: +14d, 2026-12-01T10:00 (UTC), 2026-12-01T10:00+01:00.")
@click.option(
    "--exit-code", is_flag=True, help="Exit 3 if there is work to do, 4 if there is none but something needs fixing."
)
@wide_option
def plan(call: Call, account: str | None, secret: str | None, at: str | None, exit_code: bool) -> int:
    """Show what a sweep would do, and every secret that it skips.

    Makes the same decisions as `rotator run`, and changes nothing.

    Exits 1 if an account can't be read or has an account-wide error.

    \b
    Examples:
      rotator plan
      rotator plan --secret prod/sms/otp
      rotator plan --at +14d            what will be due in two weeks
      rotator plan --json --exit-code   for a pipeline
    """
    app = call.open()
    moment = None if at is None else parse_moment(at, app.clock.now())
    found = Reconciler(app.services).plan(account=account, secret=secret, at=moment)
    call.result(as_json(found), plan_parts(found, "Nothing was changed.", APPLY if at is None else ""))
    if not all(part.ran_through for part in found.accounts):
        return 1
    if not exit_code:
        return 0
    if any(part.actions for part in found.accounts):
        return WORK_TO_DO
    return SOMETHING_TO_FIX if any(errors_in(part) for part in found.accounts) else 0


def parse_moment(text: str, now: datetime) -> datetime:
    """Parse a time that a person wrote, into UTC: ISO with or without an offset, or from now, such as ``+14d``.

    :raises ConfigurationError: it is neither, or too far from now.
    """
    try:
        if text.startswith("+"):
            return now + parse_duration(text[1:])
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f'--at "{text[:40]}" is not a valid time',
            advice="Use a time such as 2026-12-01T10:00:00Z, or an offset into the future such as +14d.",
        ) from None
    if abs(moment - now) > MAX_DURATION:
        raise ConfigurationError(
            f'--at "{text[:40]}" is more than {MAX_DURATION.days} days away', advice="Use an offset such as +14d."
        )
    return moment
