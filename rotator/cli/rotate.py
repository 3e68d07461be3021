"""``rotator rotate``: one secret, by hand; and helpers that commands for one secret share."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli.call import Call
from rotator.cli.documents import results_document
from rotator.cli.options import command
from rotator.cli.plan import RESULT_LIMITS, result_row
from rotator.engine.manual import rotate_now
from rotator.engine.reconcile import Reconciler
from rotator.errors import ConfigurationError, RotatorError
from rotator.model import Outcome, Result
from rotator.render import Grid, shown
from rotator.text import printable


@command
@click.argument("secret")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; recorded in the audit trail.")
def rotate(call: Call, secret: str, reason: str) -> int:
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
    audit_reason = required("--reason", reason)
    app = call.open()
    results = rotate_now(Reconciler(app.services), secret, audit_reason)
    return show_results(call, results, f"When the old key is revoked: `rotator status --secret {printable(secret)}`.")


def required(option: str, text: str) -> str:
    """Return an operator's text, stripped.

    :raises ConfigurationError: it is blank.
    """
    if not text.strip():
        raise ConfigurationError(f"{option} is empty", advice="Say in a few words why; the audit trail records it.")
    return text.strip()


def show_results(call: Call, results: Sequence[Result], advice: str) -> int:
    """Show each result, then the next command.

    :raises RotatorError: a result is not done; the message says why.
    """
    rows = [result_row(result) for result in results]
    call.result(results_document(results), [Grid(rows, RESULT_LIMITS)] if rows else [])
    if not results:
        raise RotatorError("nothing was done", advice="See `rotator plan`.")
    failed = next((result for result in results if result.outcome is not Outcome.DONE), None)
    if failed is None:
        call.text(advice)
        return 0
    what = "was put off" if failed.outcome is Outcome.DEFERRED else "failed"
    verb = f"{failed.action.kind} of {shown(failed.action.secret)} {what}"
    raise RotatorError(f"{verb}: {failed.error or 'no reason given'}", advice="The next sweep will retry.")
