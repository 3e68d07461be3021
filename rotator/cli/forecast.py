"""``rotator forecast``: what is rotated on which day, and what can't be rotated in time."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened


@click.command(short_help="Show coming days against the daily limit.")
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option(
    "--days", metavar="N", type=click.IntRange(1, 400), default=90, show_default=True, help="So far ahead, 1 to 400."
)
@click.option(
    "--what-if",
    "suppositions",
    metavar="X",
    multiple=True,
    help="Suppose limit=100, reserve=4, validity=30d or +200 (as many more secrets); may be repeated.",
)
@common_options
@pass_options
def forecast(options: Options, account: str | None, days: int, suppositions: Sequence[str]) -> int:
    """Show rotations a day against Infobip's daily limit, and what ends
    before its turn. Changes nothing.

    Plays the planner's decisions forward from what stands in Secrets
    Manager and at Infobip now: due rotations, those that must be pulled
    forward, windows, revocations after grace. A day is 24 hours from now on.

    With --what-if validity=30d every replacement lives so long; +200 adds
    200 secrets to each account, like its present ones: same tags, and keys
    that end when the present ones' do.

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
    from rotator.cli.times import told
    from rotator.cli.words import shown, styled
    from rotator.core.forecast import forecast_account
    from rotator.core.what_if import parse_what_if
    from rotator.reconcile import Reconciler

    output = Output(options)
    supposed = parse_what_if(suppositions)
    with opened(options) as app:
        policy = app.services.policy
        supposed.policy(policy)  # what can't be is said before anything is asked
        now = app.clock.now()
        snapshots, plans = Reconciler(app.services).snapshots(account=account, history=True)
        found = [forecast_account(each, policy, now, days=days, what_if=supposed) for each in snapshots]
        broken = [(plan.account, plan.error) for plan in plans if plan.error is not None]
        broken += [(each.account, each.error) for each in found if each.error is not None]
        found = [each for each in found if each.error is None]
        if output.is_json:
            output.document(forecast_document(found, broken, now, supposed))
            return 1 if broken else 0
        for each in found:
            output.text(*forecast_parts(each, now, supposed))
        for plan in (plan for plan in plans if plan.error is not None):
            output.text(styled(shown(plan.account, 60), "bold"), *unobserved(plan))
        for name, error in broken[len([plan for plan in plans if plan.error is not None]) :]:
            output.text(f"{shown(name, 60)}: {shown(error or '')}", "")
        for alert in (alert for plan in plans if plan.error is None for alert in plan.alerts):
            output.text(f"{shown(alert.secret or '')}: {shown(told(alert.detail))}")
        output.text(next_command(found, failed=bool(broken), supposed=bool(supposed)))
        return 1 if broken else 0
