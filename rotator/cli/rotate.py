"""``rotator rotate``: one secret, by hand; and what commands for one secret share."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Failure, Output
from rotator.cli.session import opened
from rotator.errors import ConfigurationError
from rotator.model import ActionKind, Outcome, Result
from rotator.text import printable


@click.command()
@click.argument("secret")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; recorded in the audit trail.")
@common_options
@pass_options
def rotate(options: Options, secret: str, reason: str) -> int:
    """Rotate SECRET (name or ARN) now, whatever its key's expiry.

    Creates a key like the current one, verifies it and makes it current; the
    old one stays enabled for its grace period. If the day's other creates are
    used up, it uses those that are kept for emergencies. For a leaked key use
    `rotator revoke` instead.

    \b
    Examples:
      rotator rotate prod/sms/otp --reason "new vendor contract"
      rotator rotate prod/sms/otp --reason OPS-123 --json
    """
    from rotator.engine.manual import rotate_now
    from rotator.engine.reconcile import Reconciler

    audit_reason = required("--reason", reason)
    output = Output(options)
    with opened(options) as app:
        results = rotate_now(Reconciler(app.services), secret, audit_reason)
        advice = f"When the old key is revoked: `rotator status --secret {printable(secret)}`."
        return show_results(output, results, advice)


def required(option: str, text: str) -> str:
    """An operator's own words, which must say something.

    :raises ConfigurationError: they do not.
    """
    if not text.strip():
        raise ConfigurationError(f"{option} is empty", advice="Say in a few words why; the audit trail records it.")
    return text.strip()


def show_results(output: Output, results: Sequence[Result], advice: str) -> int:
    """Each result, then the next command.

    :raises Failure: a result is not done; its sentence says why.
    """
    from rotator.cli.documents import results_document
    from rotator.cli.plan import result_rows
    from rotator.render import shown

    changing = [result for result in results if result.action.kind is not ActionKind.LABEL] or list(results)
    last = changing[-1] if changing else None
    done = bool(results) and all(result.outcome is Outcome.DONE for result in results)
    if output.is_json:
        output.document(results_document(results))
    else:
        output.text(*result_rows(results))
    if done:
        output.text(advice)
        return 0
    if last is None:
        raise Failure("nothing was done", "See `rotator plan`.")
    failed = next(result for result in results if result.outcome is not Outcome.DONE)
    what = "was put off" if failed.outcome is Outcome.DEFERRED else "failed"
    verb = f"{failed.action.kind} of {shown(failed.action.secret)} {what}"
    raise Failure(f"{verb}: {failed.error or 'no reason given'}", "The next sweep will retry.")
