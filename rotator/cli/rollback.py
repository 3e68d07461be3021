"""``rotator rollback``: the previous key becomes current again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TypedDict

import click
from rich.console import RenderableType

from rotator.cli.call import INTERRUPTED, Call
from rotator.cli.documents import Document, Time, shaped, time_text
from rotator.cli.options import command
from rotator.engine.rollback import RolledBack
from rotator.engine.rollback import rollback as go_back
from rotator.reasons import Reason
from rotator.render import Grid, key_words, shown, styled, when
from rotator.text import printable


class RetiredKey(TypedDict):
    """The newer key after a rollback."""

    key_id: str | None
    version_id: str | None
    revoke_at: Time | None


class DueShape(TypedDict):
    """Why the next sweep rotates the key again, and what that waits for."""

    reason: Reason
    detail: str
    waits: str | None


class RollbackDocument(TypedDict):
    """``rollback``."""

    account: str
    secret: str
    key_id: str
    version_id: str
    expires_at: Time | None
    retired: RetiredKey
    due: DueShape | None
    next_rotation_at: Time | None
    changed_fields: list[str]
    already: bool
    dry_run: bool


@command(RollbackDocument)
@click.argument("secret")
@click.option("--reason", required=True, metavar="R", help="Reason, recorded in the audit trail.")
@click.option(
    "--key-id", metavar="K", help="Key to return to, if several are in their grace period: full id or 5737...48AE."
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
def rollback(call: Call, secret: str, reason: str, key_id: str | None, dry_run: bool) -> int:
    """Make the previous key of SECRET (name or ARN) current again.

    Works while that key is in its grace period: it is verified, AWSCURRENT
    moves back to it, and the newer key gets a full grace period. No key is
    created or revoked.

    Repeating the command changes nothing. To select another key, use --key-id.

    Refused while a rotation is in progress, while rotator:hold is set, and for
    a key that an emergency replaced.

    \b
    Examples:
      rotator rollback prod/sms/otp --reason "the new key lacks a scope"
      rotator rollback prod/sms/otp --reason OPS-123 \\
          --key-id 5737...48AE
    """
    call.interrupted = INTERRUPTED
    app = call.open()
    done = go_back(app.services, secret, reason, key_id, dry_run=dry_run)
    call.result(rollback_document(done), rollback_parts(done, secret, app.clock.now()))
    return 0


def rollback_document(done: RolledBack) -> Document:
    """``rollback --json``."""
    return shaped(
        RollbackDocument,
        done,
        retired=RetiredKey(
            key_id=done.retired_key_id,
            version_id=done.retired_version_id,
            revoke_at=time_text(done.retired_until),
        ),
        due=done.due and shaped(DueShape, done.due, waits=done.waits and done.waits.detail),
    )


def rollback_parts(done: RolledBack, secret: str, now: datetime) -> Iterator[RenderableType]:
    """Yield what was done, and what comes next.

    :param secret: its name or ARN as the operator wrote it, so that it is as clear in the next command.
    """
    name, key, argument = shown(done.secret), key_words(done.key_id), printable(secret)
    status = f"Next actions and times: `rotator status --secret {argument}`."
    if done.already:
        yield f"{name} was already rolled back; nothing was changed."
        yield Grid([(key, f"current, expires {when(done.expires_at, now)}")], (16,))
        for other in done.others:
            yield f"To return to key {other} instead: rotator rollback {argument} --key-id {other} --reason R"
        if not done.others:
            yield status
        return
    until = "is retiring; the next sweep sets its revocation time"
    if done.retired_until is not None:
        until = f"is retiring, to be revoked {when(done.retired_until, now)}"
    yield f"{name} {'would be' if done.dry_run else 'was'} rolled back."
    yield Grid(
        [(key, f"current again, expires {when(done.expires_at, now)}"), (key_words(done.retired_key_id), until)], (16,)
    )
    yield "Consumers that cached the newer value can use it until then."
    if done.changed_fields:
        changed = ", ".join(shown(field, 60) for field in done.changed_fields)
        yield styled(f"The rollback includes other fields of the value: {changed}.", "yellow")
    status = "Nothing was changed. To roll back: omit --dry-run." if done.dry_run else status
    if done.due is None:
        if done.next_rotation_at is not None:
            yield f"Its next rotation is due {when(done.next_rotation_at, now)}."
        yield status
        return
    start = "the next sweep replaces it"
    if done.waits is not None:
        start = f"a sweep replaces it once its window opens ({shown(done.waits.message)})"
    yield f"{key} is due for rotation ({done.due.reason}, {shown(done.due.message)}): {start}."
    yield "To keep it, tag the secret before then:"
    yield f"  aws secretsmanager tag-resource --secret-id {argument} \\"
    yield "    --tags Key=rotator:hold,Value=rolled-back"
    if done.dry_run:
        yield status
