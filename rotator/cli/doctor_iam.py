"""Permissions, action by action: reads are tried on one secret, writes are checked by IAM's simulator only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from rotator.aws.aws_errors import configuration_error
from rotator.aws.clients import make_client
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.bootstrap import App
from rotator.engine.evidence import read_log
from rotator.errors import BadSecretValue, RotatorError, SecretNotFound, StoreDenied
from rotator.model import SecretEntry
from rotator.policy.tags import GATE_TAG
from rotator.text import printable

WRITES: Final = ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")
_TAGS: Final = ("secretsmanager:ResourceTag", "aws:ResourceTag")
_ROLE_SESSION: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+"
)
_FIX: Final = "Allow it in the policy of the role or user that runs the rotator."


class Level(StrEnum):
    """How bad it is; only ``fail`` counts for the exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was checked, what was found, and how to fix it (empty where there is nothing to fix)."""

    level: Level
    subject: str
    detail: str
    fix: str = ""


class Unanswered(RotatorError):
    """STS or IAM, which no other command needs, refused, failed, did not answer, or something else answered for it.

    :param level: what that means for who asked who they are.
    """

    def __init__(self, message: str, *, advice: str = "", level: Level = Level.WARN) -> None:
        super().__init__(message, advice=advice)
        self.level = level


def ask(app: App, service: str, operation: str, answered: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation of STS or IAM; the answer has ``answered``, a field that the service never leaves out.

    :raises ConfigurationError: region or credentials can't be used.
    :raises Unanswered: there is no answer of the service.
    """
    name = service.upper()
    client = make_client(app.session, service, attempts=2)
    try:
        answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
        if answer.get(answered):
            return answer
    except ClientError as error:
        code = printable(str(error.response.get("Error", {}).get("Code") or ""), 60)
        if "Denied" in code:
            raise Unanswered(f"{service}:{operation} is denied", level=Level.OK) from None
        if code and not code.isdigit():  # botocore puts the status where there is no code
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise Unanswered(f"{name} failed ({code})", advice="Try again later.") from None
            fix = "Check the credentials: access key, session token, and whether they have expired."
            raise Unanswered(f"{name} refuses the credentials ({code})", advice=fix, level=Level.FAIL) from None
    except BotoCoreError as error:
        if (known := configuration_error(error)) is not None:
            raise known from None
        # A network without a way to it is common.
        raise Unanswered(f"{name} did not answer ({type(error).__name__})") from None
    except Exception:  # noqa: S110 - botocore's parser raises whatever it comes across in a proxy's page, KeyError too
        pass
    address = urlsplit(client.meta.endpoint_url)
    where = printable(f"{address.scheme}://{address.netloc.rpartition('@')[2]}", 120)
    raise Unanswered(
        f"what answered {operation} at {where} is not {name}",
        advice=f"Check the proxy (HTTPS_PROXY, NO_PROXY) and the endpoint URL (AWS_ENDPOINT_URL, "
        f"AWS_ENDPOINT_URL_{name}) here.",
    )


def iam_checks(app: App, sample: SecretEntry | None, caller: str) -> Iterator[Check]:
    """Permissions on one managed secret; that ``ListSecrets`` works is known when this is called.

    :param caller: the caller's ARN, or ``""``.
    """
    if sample is None:
        detail = "secretsmanager:ListSecrets works; no secret is managed yet, so the rest is not checked"
        yield Check(Level.WARN, "IAM", detail)
        return
    store = app.services.store
    tries: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("secretsmanager:DescribeSecret", store.describe),
        ("secretsmanager:GetSecretValue", store.read_current),
        ("secretsmanager:ListSecretVersionIds", store.version_dates),
    )
    worked = ["ListSecrets"]
    for action, attempt in tries:
        try:
            with suppress(SecretNotFound, BadSecretValue):  # allowed; what is in it is the tags' and the plan's matter
                attempt(sample.arn)
            worked.append(action.partition(":")[2])
        except StoreDenied as error:
            denied = error.action or action
            yield Check(Level.FAIL, "IAM", f"{denied} is denied on {sample.name}", error.advice or _FIX)
        except RotatorError as error:
            yield Check(Level.FAIL, "IAM", f"{action} failed on {sample.name}: {error.message}", error.advice)
    try:  # 20 a call; the store of the services reads one by one where a batch is refused, and would not show it
        SecretsManagerStore(make_client(app.session, "secretsmanager")).read_batch([sample.arn])
        worked.append("BatchGetSecretValue")
    except RotatorError as error:
        denied = f"{error.action} is denied" if isinstance(error, StoreDenied) else error.message
        detail = f"{denied}: a sweep that revokes a key reads every managed secret, and would do so one by one"
        yield Check(Level.WARN, "IAM", detail, error.advice)
    yield Check(Level.OK, "IAM", f"{', '.join(worked)} work on {sample.name}")
    yield from _writes(app, sample, caller)


def gate_check(app: App, gated: SecretEntry) -> Check:
    """Whether CloudTrail can be read, which the tag ``rotator:gate`` needs."""
    try:
        read_log(app.services, gated, app.clock.now() - timedelta(days=1))
    except RotatorError as error:
        detail = f"{error.message}: {gated.name} has the tag {GATE_TAG}, so its old key stays until the gate times out"
        return Check(Level.WARN, "CloudTrail", detail, error.advice)
    detail = f"cloudtrail:LookupEvents works, which the tag {GATE_TAG} of {gated.name} needs"
    return Check(Level.OK, "CloudTrail", detail)


def _writes(app: App, sample: SecretEntry, caller: str) -> Iterator[Check]:
    """A write that must fail would show it too, but a mistake there would change a secret. So none is tried."""
    principal = principal_of(caller)
    if principal is None:
        yield _unchecked("the caller's role or user is unknown")
        return
    try:
        answer = ask(
            app,
            "iam",
            "SimulatePrincipalPolicy",
            "EvaluationResults",
            PolicySourceArn=principal,
            ActionNames=list(WRITES),
            ResourceArns=[sample.arn],
            ContextEntries=[
                {"ContextKeyName": f"{prefix}/{tag}", "ContextKeyValues": [text], "ContextKeyType": "string"}
                for tag, text in sample.tags.items()
                for prefix in _TAGS
            ],
        )
    except RotatorError as error:
        yield _unchecked(error.message, error.advice)
        return
    decisions = {r.get("EvalActionName"): r.get("EvalDecision") for r in answer.get("EvaluationResults", ())}
    allowed = [action for action in WRITES if decisions.get(action) == "allowed"]
    for action in WRITES:
        if action not in allowed:
            yield Check(Level.FAIL, "IAM", f"{action} is denied on {sample.name} (by IAM's simulator)", _FIX)
    if allowed:
        names = ", ".join(action.partition(":")[2] for action in allowed)
        yield Check(Level.OK, "IAM", f"{names} allowed on {sample.name} (by IAM's simulator)")


def _unchecked(why: str, fix: str = "") -> Check:
    names = " and ".join(action.partition(":")[2] for action in WRITES)
    return Check(Level.WARN, "IAM", f"{names} are not checked: {why}", fix)


def principal_of(caller: str) -> str | None:
    """The user or role that the simulator can be asked about, for a caller's ARN; ``None`` for any other caller."""
    session = _ROLE_SESSION.fullmatch(caller)
    if session is not None:
        return f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
    return caller if re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:(user|role)/.+", caller) else None
