"""Permissions, action by action: reading is tried on one secret, writing is asked of IAM's simulator, never tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
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
_MEND: Final = "Allow it in the policy of the role or user that runs the rotator."


@dataclass(frozen=True, slots=True)
class IamCheck:
    """One line about permissions. ``level``: ok, warn or fail."""

    level: str
    detail: str
    fix: str = ""


def iam_checks(app: App, sample: SecretEntry | None, caller: str) -> Iterator[IamCheck]:
    """Permissions on one managed secret; that ``ListSecrets`` works is known when this is called.

    :param caller: the caller's ARN, or ``""``.
    """
    if sample is None:
        yield IamCheck("warn", "secretsmanager:ListSecrets works; the rest is not checked, no secret is managed yet")
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
    yield IamCheck("ok", f"{', '.join(worked)} work on {sample.name}")
    yield from _writes(app, sample, caller)


def gate_check(app: App, gated: SecretEntry) -> IamCheck:
    """Whether who reads a secret can be looked up, which its tag ``rotator:gate`` needs."""
    try:
        read_log(app.services, gated, app.clock.now() - timedelta(days=1))
    except RotatorError as error:
        detail = f"{error.message}: {gated.name} has the tag {GATE_TAG}, its old key waits as long as it may"
        return IamCheck("warn", detail, error.advice)
    return IamCheck("ok", f"cloudtrail:LookupEvents works, which the tag {GATE_TAG} of {gated.name} needs")


def _try(action: str, attempt: Callable[[str], object], sample: SecretEntry) -> IamCheck | None:
    try:
        attempt(sample.arn)
    except StoreDenied as error:
        denied = error.action or action
        return IamCheck("fail", f"{denied} is denied on {sample.name}", error.advice or _MEND)
    except (SecretNotFound, BadSecretValue):
        return None  # allowed; what is in it is the tags' and the plan's matter
    except RotatorError as error:
        return IamCheck("fail", f"{action} failed on {sample.name}: {error.message}", error.advice)
    return None


def _batches(app: App, sample: SecretEntry) -> IamCheck | None:
    """Whether secrets may be read 20 a call. Where they may not, sweeps read them one by one: nothing fails."""
    try:
        # The store of the services reads one by one where a batch is refused, and would not show it.
        SecretsManagerStore(make_client(app.session, "secretsmanager")).read_batch([sample.arn])
    except RotatorError as error:
        denied = f"{error.action} is denied" if isinstance(error, StoreDenied) else error.message
        detail = f"{denied}: a sweep that revokes a key reads every managed secret, and would do so one by one"
        return IamCheck("warn", detail, error.advice)
    return None


def _writes(app: App, sample: SecretEntry, caller: str) -> Iterator[IamCheck]:
    """A write that must fail would show it too, and would be one slip away from a change. So it is not tried."""
    principal = principal_of(caller)
    if principal is None:
        yield _unchecked("who is calling can't be asked about")
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


def _simulated(answer: dict[str, Any], sample: SecretEntry) -> Iterator[IamCheck]:
    decisions = {r.get("EvalActionName"): r.get("EvalDecision") for r in answer.get("EvaluationResults", ())}
    allowed = [action for action in WRITES if decisions.get(action) == "allowed"]
    for action in WRITES:
        if action not in allowed:
            yield IamCheck("fail", f"{action} is denied on {sample.name} (by IAM's simulator)", _MEND)
    if allowed:
        names = ", ".join(action.partition(":")[2] for action in allowed)
        yield IamCheck("ok", f"{names} allowed on {sample.name} (by IAM's simulator)")


_TAGS: Final = ("secretsmanager:ResourceTag", "aws:ResourceTag")


def _tag(name: str, value: str) -> dict[str, Any]:
    return {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}


def _unchecked(why: str, fix: str = "") -> IamCheck:
    names = " and ".join(action.partition(":")[2] for action in WRITES)
    return IamCheck("warn", f"{names} are not checked: {why}", fix)


def principal_of(caller: str) -> str | None:
    """The user or role that the simulator can be asked about, for a caller's ARN; ``None`` for any other caller."""
    session = _ROLE_SESSION.fullmatch(caller)
    if session is not None:
        return f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
    return caller if re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:(user|role)/.+", caller) else None
