"""``rotator rotate``: one secret, by hand."""

from __future__ import annotations

import click

from rotator.cli.call import INTERRUPTED, Call
from rotator.cli.documents import PlanDocument, ResultsDocument, as_json
from rotator.cli.options import command
from rotator.cli.plan_text import plan_parts, show_results
from rotator.engine.rotate_now import plan_rotation, rotate_now
from rotator.plan import Plan
from rotator.text import printable


@command(ResultsDocument, PlanDocument)
@click.argument("secret")
@click.option("--reason", required=True, metavar="R", help="Reason, recorded in the audit trail.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
def rotate(call: Call, secret: str, reason: str, dry_run: bool) -> int:
    """Rotate SECRET (name or ARN) now, regardless of its key's expiry.

    Creates a key with the same rights, verifies it and makes it current; the
    old one stays enabled for its grace period. If the rest of the daily limit
    is used up, it uses the emergency reserve. For a leaked key use `rotator
    revoke` instead.

    \b
    Examples:
      rotator rotate prod/sms/otp --reason "new vendor contract"
    """
    call.interrupted = INTERRUPTED
    app = call.open()
    if dry_run:
        planned = Plan(app.clock.now(), (plan_rotation(app.services, secret, reason),))
        call.result(as_json(planned), plan_parts(planned, "Nothing was changed.", "To rotate: omit --dry-run."))
        return 0
    results = rotate_now(app.services, secret, reason)
    advice = f"To see when the old key will be revoked: `rotator status --secret {printable(secret)}`."
    for result in results:
        if result.promoted is not None and result.promoted.moved and result.action.key_id is not None:
            command = f"rotator revoke --key-id {printable(result.action.key_id)} --account A --reason R --yes"
            advice = (
                f"No sweep revokes the old key. Once no consumer uses it, revoke it in its own account: `{command}`."
            )
    # No sweep repeats a rotation that was requested and is not due.
    return show_results(call, results, advice, "Repeat the command.")
