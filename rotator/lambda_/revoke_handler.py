"""The handler ``revoke``: an emergency revocation, requested by a person or by incident automation.

An incomplete revocation is raised as an error, so that a tired person at a terminal cannot miss it: ``aws lambda
invoke`` always exits with status 0, and prints ``FunctionError`` only if the function raised. The message starts with
what is *not* done, followed by the whole report as JSON. Alarms on the function's errors see it, and Lambda retries an
asynchronous call. A retry is safe: if the event names no incident, the request id serves as one. It is the same in each
retry, so no second replacement is created.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rotator.engine.emergency import Emergency, Strategy, Target, emergency_document
from rotator.errors import RotatorError
from rotator.lambda_.requests import BadEvent, flag_of, shown_name, text_of
from rotator.lambda_.runtime import Invocation
from rotator.redaction.patterns import redact_patterns
from rotator.telemetry.audit import Trigger

_REVOKE: Final = ("secret_id", "key_id", "account", "reason", "incident", "strategy", "actor", "dry_run")
_log = logging.getLogger("rotator.lambda")


class RevocationFailed(RotatorError):
    """A key to be revoked may still be enabled, or a secret did not get a new key; the message says which."""

    redacted: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """A request to ``revoke``, for a whole secret or for one key of an account."""

    reason: str
    secret: str | None = None
    key_id: str | None = None
    account: str | None = None
    incident: str | None = None
    strategy: Strategy = Strategy.REPLACE_FIRST
    actor: str | None = None
    dry_run: bool = False


def revoke_request(event: Any) -> RevokeRequest:
    """Parse ``{"secret_id" | "key_id" + "account", "reason", "incident", "strategy", "actor", "dry_run"}``.

    :raises BadEvent: a field is missing, unknown or unusable.
    """
    if not isinstance(event, Mapping):
        advice = 'It must contain "secret_id" or "key_id", and "reason".'
        raise BadEvent("the event is not a JSON object", advice=advice)
    unknown = [name for name in event if name not in _REVOKE]
    if unknown:
        names = ", ".join(shown_name(name) for name in unknown[:5])
        known = f"Known fields: {', '.join(_REVOKE)}."
        advice = f"{known} Never put a leaked value into an event; use `rotator revoke --leaked-key-stdin`."
        raise BadEvent(f"the event has unknown fields: {names}", advice=advice)
    given = {name: text_of(event, name) for name in _REVOKE if name != "dry_run" and event.get(name) is not None}
    if ("secret_id" in given) == ("key_id" in given):
        raise BadEvent('the event must contain either "secret_id" or "key_id"', advice="Set one of the two.")
    if "key_id" in given and "account" not in given:
        advice = 'Set "account" to the Infobip account that the key belongs to.'
        raise BadEvent('"key_id" requires "account"', advice=advice)
    if "reason" not in given:
        raise BadEvent('"reason" is missing', advice='Set "reason" to a short text; it is recorded in the audit trail.')
    for name in ("secret_id", "key_id", "account"):
        if name in given and redact_patterns(given[name]) != given[name]:
            advice = "Treat it as leaked. Use the key's id; to pass a value, use `rotator revoke --leaked-key-stdin`."
            raise BadEvent(f'"{name}" looks like a credential, not a name or an id', advice=advice)
    strategy = given.get("strategy", Strategy.REPLACE_FIRST.value)
    if strategy not in list(Strategy):
        raise BadEvent(f'{shown_name(strategy)} is not a valid "strategy"', advice=f"Use one of {', '.join(Strategy)}.")
    return RevokeRequest(
        reason=given["reason"],
        secret=given.get("secret_id"),
        key_id=given.get("key_id"),
        account=given.get("account"),
        incident=given.get("incident"),
        strategy=Strategy(strategy),
        actor=given.get("actor"),
        dry_run=flag_of(event, "dry_run"),
    )


def revoke(event: Any, invocation: Invocation) -> dict[str, Any]:
    """Carry out the event's request, and return the report.

    :raises RotatorError: nothing was done, or not everything (:class:`RevocationFailed`, with the report in its text).
    """
    request = revoke_request(event)
    actor = request.actor or invocation.caller or "lambda"
    app = invocation.start(Trigger.EMERGENCY, actor)
    incident = request.incident or (f"lambda {invocation.request_id}" if invocation.request_id else None)
    # A retry by Lambda has the same request id. An event that a person sends again has another one.
    emergency = Emergency(app.services, request.reason, incident, chosen=request.incident is not None)
    begun = app.clock.now()
    plan = emergency.plan(Target(request.secret, request.key_id, request.account), request.strategy)
    report = emergency.dry_run(plan) if request.dry_run else emergency.execute(plan)
    answer: dict[str, Any] = {
        "ok": report.ok,
        **emergency_document([report], request.strategy, incident, app.audit.run_id, dry_run=request.dry_run),
        "seconds": round((app.clock.now() - begun).total_seconds(), 3),
        "actor": actor,
    }
    answer = dict(app.redactor.scrub(answer))
    _log.info("revocation: %s", "planned only" if request.dry_run else "done" if answer["ok"] else "not complete")
    if not answer["ok"] and not request.dry_run:
        raise RevocationFailed(f"NOT COMPLETE: {'; '.join(answer['errors'])}. Report: {json.dumps(answer)}")
    return answer
