"""``rotator doctor``: what is wrong, and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened
from rotator.errors import ConfigurationError

if TYPE_CHECKING:
    from rotator.cli.doctor_checks import Check


@click.command(short_help="Check everything, and say how to fix it.")
@common_options
@pass_options
def doctor(options: Options) -> int:
    """Check settings, credentials, permissions, tags, clock and reachability.

    One line a check, and what to do where it is not ok. Only reads: neither
    Secrets Manager nor Infobip is changed, so permissions to write are asked
    of IAM's simulator, and said to be unchecked where that is not allowed.

    Exits 1 where something fails; a warning does not count.

    \b
    Examples:
      rotator doctor
      rotator doctor --json | jq '.checks[] | select(.level == "fail")'
    """
    from rotator.cli.doctor_checks import Level, examine, unusable

    output = Output(options)
    checks: list[Check] = []
    try:
        with opened(options) as app:
            for check in examine(app):
                checks.append(check)
                _show(output, (check,))
    except ConfigurationError as error:
        checks.append(unusable(error))
        _show(output, checks)
    counts = Counter(check.level for check in checks)
    if output.is_json:
        output.document(
            {
                "checks": [
                    {"level": str(c.level), "subject": c.subject, "detail": c.detail, "fix": c.fix or None}
                    for c in checks
                ],
                "failed": counts[Level.FAIL],
                "warnings": counts[Level.WARN],
            }
        )
    else:
        output.text(_summary(counts[Level.FAIL], counts[Level.WARN]))
    return 1 if counts[Level.FAIL] else 0


def _show(output: Output, checks: Iterable[Check]) -> None:
    if output.is_json:
        return
    from rotator.render import Grid, shown, styled

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for check in checks:
        said = shown(check.detail) + (f"\n→ {shown(check.fix)}" if check.fix else "")
        name = shown(check.subject, 60)
        level = styled(f"{check.level:<4}", colours[check.level])
        output.text(Grid([(level, f"{name:<16}", said)], (4, 20), indent=1))


def _summary(failed: int, warnings: int) -> str:
    from rotator.render import counted

    more = f" {counted(warnings, 'warning')}." if warnings else ""
    if failed:
        return f"{counted(failed, 'error')}.{more}"
    return f"No errors.{more} What a sweep would do: `rotator plan`."
