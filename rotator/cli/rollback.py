"""``rotator rollback``: the previous key becomes current again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.rotate import required
from rotator.cli.session import opened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rotator.engine.rollback import RolledBack


@click.command()
@click.argument("secret")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; recorded in the audit trail.")
@click.option("--key-id", metavar="K", help="Which key, where several are in grace; whole, or 5737...48AE.")
@common_options
@pass_options
def rollback(options: Options, secret: str, reason: str, key_id: str | None) -> int:
    """Make the previous key of SECRET (name or ARN) current again.

    Works while that key is in its grace period: it is verified first, then
    AWSCURRENT moves back to it, and the newer key gets a full grace period of
    its own. No key is created and none is revoked.

    Repeating the command changes nothing: it moves neither to the newer key
    nor to an older one. Name that key by --key-id to do so.

    It is refused while a rotation is in progress or rotator:hold is set, and
    for a key that an emergency replaced.

    \b
    Examples:
      rotator rollback prod/sms/otp --reason "the new key lacks a scope"
      rotator rollback prod/sms/otp --reason OPS-123 \\
          --key-id 5737...48AE
    """
    from rotator.engine.reconcile import Reconciler
    from rotator.engine.rollback import rollback as go_back

    audit_reason = required("--reason", reason)
    output = Output(options)
    with opened(options) as app:
        done = go_back(Reconciler(app.services), secret, audit_reason, key_id)
        if output.is_json:
            output.document(rollback_document(done))
        output.text(*rollback_parts(done, app.clock.now()))
    return 0


def rollback_document(done: RolledBack) -> dict[str, Any]:
    """``rollback --json``."""
    from rotator.cli.documents import time_text

    due = done.due
    return {
        "account": done.account,
        "secret": done.secret,
        "key_id": done.key_id,
        "version_id": done.version_id,
        "expires_at": time_text(done.expires_at),
        "retired": {
            "key_id": done.retired_key_id,
            "version_id": done.retired_version_id,
            "revoke_at": time_text(done.retired_until),
        },
        "due": None
        if due is None
        else {
            "reason": str(due.reason),
            "detail": due.detail,
            "waits": None if done.waits is None else done.waits.detail,
        },
        "next_rotation_at": time_text(done.next_due),
        "changed_fields": list(done.changed_fields),
        "already": done.already,
    }


def _already_parts(done: RolledBack, now: datetime) -> Iterator[RenderableType]:
    from rotator.render import Grid, key_words, shown, when

    name = shown(done.secret)
    yield f"{name} is rolled back already: nothing was changed."
    yield Grid([(key_words(done.key_id), f"current, ends {when(done.expires_at, now)}")], (16,))
    for key_id in done.others:
        yield f"If you mean key {key_id}, name it: rotator rollback {name} --key-id {key_id} --reason R"
    if not done.others:
        yield f"What comes next, and when: `rotator status --secret {name}`."


def rollback_parts(done: RolledBack, now: datetime) -> Iterator[RenderableType]:
    """What was done, and what comes next."""
    from rotator.render import Grid, key_words, shown, styled, when

    name = shown(done.secret)
    if done.already:
        yield from _already_parts(done, now)
        return
    until = "retires; the next sweep says until when"
    if done.retired_until is not None:
        until = f"retires, revoked {when(done.retired_until, now)}"
    rows = [
        (key_words(done.key_id), f"current again, expires {when(done.expires_at, now)}"),
        (key_words(done.retired_key_id), until),
    ]
    yield f"{name} is rolled back."
    yield Grid(rows, (16,))
    yield "Consumers that cache the newer value go on with it: it works until then."
    if done.changed_fields:
        fields = ", ".join(shown(name, 60) for name in done.changed_fields)
        yield styled(f"Other fields of its value went back as well: {fields}.", "yellow")
    if done.due is None:
        if done.next_due is not None:
            yield f"Its next rotation is due {when(done.next_due, now)}."
        yield f"What comes next, and when: `rotator status --secret {name}`."
        return
    begin = "the next sweep replaces it" if done.waits is None else "a sweep replaces it once its window opens"
    if done.waits is not None:
        begin += f" ({shown(done.waits.message)})"
    yield f"{key_words(done.key_id)} is due for rotation ({done.due.reason}, {shown(done.due.message)}): {begin}."
    yield "To keep it, tag the secret before that:"
    yield f"  aws secretsmanager tag-resource --secret-id {name} \\"
    yield "    --tags Key=rotator:hold,Value=rolled-back"
