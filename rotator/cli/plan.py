"""``rotator plan``: what a sweep would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened
from rotator.durations import MAX_DURATION, parse_duration
from rotator.errors import ConfigurationError
from rotator.model import Plan, Severity

WORK_TO_DO: Final = 3
SOMETHING_TO_FIX: Final = 4


@click.command(short_help="Show what a sweep would do. Changes nothing.")
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option("--secret", metavar="S", help="Only this secret (name or ARN).")
@click.option("--at", metavar="TIME", help="As of then: +14d, 2026-12-01T10:00 (in UTC), 2026-12-01T10:00+01:00.")
@click.option("--exit-code", is_flag=True, help="Exit 3: there is work to do; 4: no work, but something to fix.")
@common_options
@pass_options
def plan(options: Options, account: str | None, secret: str | None, at: str | None, exit_code: bool) -> int:
    """Show what a sweep would do, and every secret that it skips.

    Looks at tags and staging labels in Secrets Manager and at the keys at
    Infobip, and decides as `rotator run` does. Changes nothing.

    Exits 1 where an account can't be observed or has an error as a whole.

    \b
    Examples:
      rotator plan
      rotator plan --secret prod/sms/otp
      rotator plan --at +14d            what will be due in two weeks
      rotator plan --json --exit-code   for a pipeline: 3 is "work to do",
                                        4 "no work, but something to fix"
    """
    from rotator.cli.documents import plan_document
    from rotator.cli.plan_text import plan_parts, plan_summary
    from rotator.engine.reconcile import Reconciler

    output = Output(options)
    with opened(options) as app:
        moment = None if at is None else parse_moment(at, app.clock.now())
        found = Reconciler(app.services).plan(account=account, secret=secret, at=moment)
        if output.is_json:
            output.document(plan_document(found))
        else:
            for part in found.accounts:
                output.text(*plan_parts(part, found.generated_at))
            if not found.accounts:
                output.text("No secret is tagged rotator:role here. Check region and account: `rotator doctor`.")
            else:
                output.text(plan_summary(found.accounts), "Nothing was changed: `rotator run` does this.")
        return _code(found) if exit_code or not _observed(found) else 0


def _observed(found: Plan) -> bool:
    return all(part.ran_through for part in found.accounts)


def _code(found: Plan) -> int:
    """For ``--exit-code``: what is worst."""
    if not _observed(found):
        return 1
    if any(part.actions for part in found.accounts):
        return WORK_TO_DO
    fix = any(alert.severity is Severity.ERROR for part in found.accounts for alert in part.alerts)
    return SOMETHING_TO_FIX if fix else 0


def parse_moment(text: str, now: datetime) -> datetime:
    """A time as people write it, in UTC: ISO with or without an offset, or a length from now such as ``+14d``.

    :raises ConfigurationError: it is neither, or longer ahead than any key can live.
    """
    try:
        if text.startswith("+"):
            return now + parse_duration(text[1:])
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f'--at "{text[:40]}" is no time', advice="Write one such as 2026-12-01T10:00:00Z, or +14d for in two weeks."
        ) from None
    if moment - now > MAX_DURATION:
        raise ConfigurationError(
            f'--at "{text[:40]}" is more than {MAX_DURATION.days} days ahead', advice="Write one such as +14d."
        )
    return moment
