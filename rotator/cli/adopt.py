"""``rotator adopt``: takes an existing key and secret under management."""

from __future__ import annotations

import click

from rotator.cli.call import INTERRUPTED, Call
from rotator.cli.documents import ResultsDocument
from rotator.cli.options import command
from rotator.cli.plan_text import show_results
from rotator.engine.adopt import adopt as adopt_secret
from rotator.text import printable


@command(ResultsDocument)
@click.argument("secret")
@click.option("--key-id", metavar="K", help="Key id, if Infobip can't identify the key by its value.")
def adopt(call: Call, secret: str, key_id: str | None) -> int:
    """Start managing SECRET (name or ARN) and the key in it.

    Asks Infobip which key the value belongs to, and records its id as a
    staging label on the version. The value stays as it is. SECRET requires
    the tags rotator:role=key and rotator:account. Every sweep does the same
    for all secrets whose key Infobip can identify.

    \b
    Examples:
      rotator adopt prod/sms/otp
      rotator adopt prod/sms/otp --key-id 5737...48AE
    """
    call.interrupted = INTERRUPTED
    app = call.open()
    result = adopt_secret(app.services, secret, key_id)
    return show_results(call, (result,), f"Next actions and times: `rotator status --secret {printable(secret)}`.")
