"""``rotator forecast``: rotations a day against the quota, and keys that expire before they are replaced."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened


@click.command(short_help="Show coming days against the daily limit.")
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option(
    "--days", metavar="N", type=click.IntRange(1, 400), default=90, show_default=True, help="How many days, 1 to 400."
)
@click.option(
    "--what-if",
    "assumptions",
    metavar="X",
    multiple=True,
    help="Assume limit=100, reserve=4, validity=30d or +200 (as many more secrets); may be repeated.",
)
@common_options
@pass_options
def forecast(options: Options, account: str | None, days: int, assumptions: Sequence[str]) -> int:
    """Show rotations a day against Infobip's daily limit, and which keys
    expire before they are replaced. Changes nothing.

    Steps the planner forward from what is in Secrets Manager and at
    Infobip now: due rotations, those that are scheduled early because later
    would be too late, windows, revocations after grace. A day is 24 hours,
    the first begins now.

    With --what-if validity=30d every replacement is valid for 30 days; +200
    adds 200 secrets to each account, copies of its own: same tags, and keys
    that expire when theirs do. At most +2000.

    Keys at risk do not change the exit code; it is 1 where an account can't
    be observed.

    \b
    Examples:
      rotator forecast
      rotator forecast --account main --days 30
      rotator forecast --what-if +200 --what-if limit=100
      rotator forecast --json | jq '.accounts[].at_risk'
    """
    from rotator.cli.forecast_text import forecast_document, forecast_parts, next_command
    from rotator.cli.plan_text import unobserved
    from rotator.engine.reconcile import Reconciler
    from rotator.policy.forecast import forecast_account
    from rotator.policy.simulation import parse_what_if
    from rotator.render import shown, styled

    output = Output(options)
    assumed = parse_what_if(assumptions)
    with opened(options) as app:
        policy = app.services.policy
        assumed.policy(policy)  # what can't be assumed is an error before anything is read
        now = app.clock.now()
        snapshots, plans = Reconciler(app.services).snapshots(account=account, history=True)
        found = [forecast_account(each, policy, now, days=days, what_if=assumed) for each in snapshots]
        broken = [(plan.account, plan.error) for plan in plans if plan.error is not None]
        broken += [(each.account, each.error) for each in found if each.error is not None]
        found = [each for each in found if each.error is None]
        if output.is_json:
            output.document(forecast_document(found, broken, now, assumed))
            return 1 if broken else 0
        for each in found:
            output.text(*forecast_parts(each, now, assumed))
        for plan in (plan for plan in plans if plan.error is not None):
            output.text(styled(shown(plan.account, 60), "bold"), *unobserved(plan))
        for name, error in broken[len([plan for plan in plans if plan.error is not None]) :]:
            output.text(f"{shown(name, 60)}: {shown(error or '')}", "")
        for alert in (alert for plan in plans if plan.error is None for alert in plan.alerts):
            output.text(f"{shown(alert.secret or '')}: {shown(alert.message)}")
        output.text(next_command(found, failed=bool(broken), assumed=bool(assumed)))
        return 1 if broken else 0
