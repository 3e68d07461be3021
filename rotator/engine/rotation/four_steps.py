"""Secrets Manager's own rotation (``rotate-secret``, the console's button): four steps, each of them safe to repeat.

Secrets Manager chooses the version id (the *token*), puts ``AWSPENDING`` on an empty version, and calls the steps one
after the other, some of them twice. What differs from a sweep's rotation is only that the way is cut into pieces:

============  =========================================================================================
createSecret  find or make the key that is named for the token, compare it, store it with its label
setSecret     nothing: Infobip knows the key already
testSecret    compare and probe what was stored; of an empty version: test the configuration, as AWS does
              when rotation is switched on without rotating at once
finishSecret  compare and probe once more, promote by compare-and-swap, retire the old version
============  =========================================================================================

After ``createSecret`` the version is one like a sweep's: if no further step comes, the next sweep finishes it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from rotator.engine.reconcile import Reconciler
from rotator.engine.rotation.step_context import Piece
from rotator.errors import Refused, RotatorError
from rotator.model import Reason, SecretEntry
from rotator.policy.labels import CURRENT, PENDING
from rotator.policy.spec import ACCOUNT_TAG
from rotator.telemetry.consumer_events import FAILED, publish

ALREADY_CURRENT: Final = "already current"


class Step(StrEnum):
    """What Secrets Manager asks for."""

    CREATE = "createSecret"
    SET = "setSecret"
    TEST = "testSecret"
    FINISH = "finishSecret"


def run_step(reconciler: Reconciler, secret: str, token: str, step: Step) -> str:
    """One step. Gives in a few words what was done; a version that is current already is a success.

    :param secret: name or ARN.
    :param token: the id of the version that is being rotated to.
    :raises RotatorError: refused, or failed; the old key stays current, and calling the step again is safe.
    """
    services = reconciler.services
    entry: SecretEntry | None = None
    try:
        entry = services.store.describe(secret)
        labels = _staged(entry, token)
        if CURRENT in labels:
            return ALREADY_CURRENT
        if step is Step.SET:
            return "nothing to do: Infobip knows the key already"
        with Piece.opened(reconciler, entry, token) as piece:
            match step:
                case Step.CREATE:
                    return piece.create()
                case Step.TEST:
                    return piece.test()
                case Step.FINISH:
                    return piece.finish()
    except RotatorError as error:
        name = entry.name if entry is not None else secret
        fields = {"secret": name, "version_id": token, "reason": str(Reason.REQUESTED)}
        account = entry.tags.get(ACCOUNT_TAG) if entry is not None else None
        said = f"{type(error).__name__}: {error}"
        outcome = "denied" if isinstance(error, Refused) else "failure"
        services.audit.emit("rotation.failed", outcome, account=account, **fields, error=said, step=str(step))
        arn = entry.arn if entry is not None else None
        publish(services.events, FAILED, account=account, secret_arn=arn, **fields, error=said)
        raise


def _staged(entry: SecretEntry, token: str) -> frozenset[str]:
    """The token's labels.

    :raises Refused: Secrets Manager did not begin a rotation to this version.
    """
    # As the rotation functions that AWS publishes do it: not said is not off; the labels below decide.
    if entry.rotation_enabled is False:
        raise Refused(
            f"{entry.name} is not enabled for rotation by Secrets Manager",
            advice="Enable it (aws secretsmanager rotate-secret --rotation-lambda-arn …), or run `rotator rotate`.",
        )
    labels = entry.versions.get(token)
    if labels is None:
        raise Refused(
            f"version {token} of {entry.name} has no staging label, so it is not being rotated to",
            advice="Start a rotation: aws secretsmanager rotate-secret.",
        )
    if CURRENT not in labels and PENDING not in labels:
        raise Refused(
            f"version {token} of {entry.name} does not carry AWSPENDING, so it is not being rotated to",
            advice="Another rotation has begun, or this one was cancelled; start one with rotate-secret.",
        )
    return labels
