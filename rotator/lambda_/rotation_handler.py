"""The handler ``rotation``: what Secrets Manager calls when it rotates a secret itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rotator.engine.reconcile import Reconciler
from rotator.engine.rotation.four_steps import Step, run_step
from rotator.lambda_.requests import BadEvent, shown, text_of
from rotator.lambda_.runtime import Invocation
from rotator.telemetry.audit import Trigger

_TOKEN: Final = re.compile(r"[A-Za-z0-9-]{32,64}")
_log = logging.getLogger("rotator.lambda")


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """What Secrets Manager asks ``rotation`` for."""

    secret: str
    token: str
    step: Step


def rotation_request(event: Any) -> RotationRequest:
    """``{"SecretId", "ClientRequestToken", "Step"}``; other fields are ignored, AWS adds some in time.

    :raises BadEvent: one is missing or unusable.
    """
    if not isinstance(event, Mapping):
        raise BadEvent("the event is not one of Secrets Manager's", advice="This function is called by rotate-secret.")
    secret, token, step = (text_of(event, name) for name in ("SecretId", "ClientRequestToken", "Step"))
    if not _TOKEN.fullmatch(token):
        raise BadEvent('"ClientRequestToken" is no version id', advice="It has 32 to 64 letters, digits and hyphens.")
    if step not in list(Step):
        raise BadEvent(f'"Step" is {shown(step)}', advice=f"Secrets Manager knows {', '.join(Step)}.")
    return RotationRequest(secret, token, Step(step))


def rotate(event: Any, invocation: Invocation) -> dict[str, Any]:
    """One of the four steps. Secrets Manager does not read the answer; a person who tries it does.

    :raises RotatorError: refused or failed; Secrets Manager shows the text and tries again later.
    """
    request = rotation_request(event)
    app = invocation.start(Trigger.SECRETSMANAGER, "secretsmanager")
    done = run_step(Reconciler(app.services), request.secret, request.token, request.step)
    _log.info("%s: %s", request.step, done)
    return {"step": str(request.step), "version_id": request.token, "done": done, "run_id": app.audit.run_id}
