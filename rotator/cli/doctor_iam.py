"""Permissions, action by action: reads are tried on one secret, writes are checked by IAM's simulator only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from rotator.aws.clients import make_client
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.aws.xml_services import ForeignAnswer, call, code_of
from rotator.bootstrap import App
from rotator.engine.evidence import read_log
from rotator.errors import BadSecretValue, RotatorError, SecretNotFound, StoreDenied
from rotator.model import SecretEntry
from rotator.policy.tags import GATE_TAG

WRITES: Final = ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")
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
        failure = _try(action, attempt, sample)
        if failure is None:
            worked.append(action.partition(":")[2])
        else:
            yield failure
    unbatched = _batches(app, sample)
    if unbatched is None:
        worked.append("BatchGetSecretValue")
    else:
        yield unbatched
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


def _try(action: str, attempt: Callable[[str], object], sample: SecretEntry) -> Check | None:
    try:
        attempt(sample.arn)
    except StoreDenied as error:
        denied = error.action or action
        return Check(Level.FAIL, "IAM", f"{denied} is denied on {sample.name}", error.advice or _FIX)
    except (SecretNotFound, BadSecretValue):
        return None  # allowed; what is in it is the tags' and the plan's matter
    except RotatorError as error:
        return Check(Level.FAIL, "IAM", f"{action} failed on {sample.name}: {error.message}", error.advice)
    return None


def _batches(app: App, sample: SecretEntry) -> Check | None:
    """Whether secrets may be read 20 a call. Where they may not, sweeps read them one by one: nothing fails."""
    try:
        # The store of the services reads one by one where a batch is refused, and would not show it.
        SecretsManagerStore(make_client(app.session, "secretsmanager")).read_batch([sample.arn])
    except RotatorError as error:
        denied = f"{error.action} is denied" if isinstance(error, StoreDenied) else error.message
        detail = f"{denied}: a sweep that revokes a key reads every managed secret, and would do so one by one"
        return Check(Level.WARN, "IAM", detail, error.advice)
    return None


def _writes(app: App, sample: SecretEntry, caller: str) -> Iterator[Check]:
    """A write that must fail would show it too, but a mistake there would change a secret. So none is tried."""
    principal = principal_of(caller)
    if principal is None:
        yield _unchecked("the caller's role or user is unknown")
        return
    try:
        client = make_client(app.session, "iam", attempts=1)
        answer = call(
            client,
            "SimulatePrincipalPolicy",
            answered="EvaluationResults",
            PolicySourceArn=principal,
            ActionNames=list(WRITES),
            ResourceArns=[sample.arn],
            ContextEntries=[_tag(f"{prefix}/{tag}", text) for tag, text in sample.tags.items() for prefix in _TAGS],
        )
    except ForeignAnswer as error:
        yield _unchecked(error.message, error.advice)
        return
    except (ClientError, BotoCoreError, RotatorError) as error:
        code = code_of(error) if isinstance(error, ClientError) else type(error).__name__
        failed = f"IAM's simulator can't be used ({code})"
        yield _unchecked("iam:SimulatePrincipalPolicy is denied" if "Denied" in code else failed)
        return
    yield from _simulated(answer, sample)


def _simulated(answer: dict[str, Any], sample: SecretEntry) -> Iterator[Check]:
    decisions = {r.get("EvalActionName"): r.get("EvalDecision") for r in answer.get("EvaluationResults", ())}
    allowed = [action for action in WRITES if decisions.get(action) == "allowed"]
    for action in WRITES:
        if action not in allowed:
            yield Check(Level.FAIL, "IAM", f"{action} is denied on {sample.name} (by IAM's simulator)", _FIX)
    if allowed:
        names = ", ".join(action.partition(":")[2] for action in allowed)
        yield Check(Level.OK, "IAM", f"{names} allowed on {sample.name} (by IAM's simulator)")


_TAGS: Final = ("secretsmanager:ResourceTag", "aws:ResourceTag")


def _tag(name: str, value: str) -> dict[str, Any]:
    return {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}


def _unchecked(why: str, fix: str = "") -> Check:
    names = " and ".join(action.partition(":")[2] for action in WRITES)
    return Check(Level.WARN, "IAM", f"{names} are not checked: {why}", fix)


def principal_of(caller: str) -> str | None:
    """The user or role that the simulator can be asked about, for a caller's ARN; ``None`` for any other caller."""
    session = _ROLE_SESSION.fullmatch(caller)
    if session is not None:
        return f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
    return caller if re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:(user|role)/.+", caller) else None
