"""Ask STS who the caller is, and IAM's policy simulator what it may do. Only ``doctor`` does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from rotator.aws.aws_errors import configuration_error
from rotator.aws.clients import make_client
from rotator.errors import RotatorError
from rotator.text import printable

_TAGS: Final = ("secretsmanager:ResourceTag", "aws:ResourceTag")
_ROLE_SESSION: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+"
)


class Unanswered(RotatorError):
    """A call to STS or IAM got no usable response."""


class CallDenied(Unanswered):
    """The caller may not make the call."""


class CredentialsRejected(Unanswered):
    """AWS does not accept the caller's credentials."""


def identify(session: Any) -> tuple[str, timedelta | None]:
    """Return the caller's ARN, and AWS's time minus this machine's.

    :raises ConfigurationError: region or credentials can't be used.
    :raises Unanswered: the service did not respond.
    """
    answer = _ask(session, "sts", "GetCallerIdentity", "Arn")
    try:
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        skew = date - datetime.now(UTC)  # AWS signs by the machine's own clock
    except (KeyError, TypeError, ValueError):  # none, or without an offset
        skew = None
    return str(answer["Arn"]), skew


def simulated_principal(caller: str) -> str | None:
    """Return the user or role that the simulator accepts for a caller's ARN; ``None`` for any other caller."""
    session = _ROLE_SESSION.fullmatch(caller)
    if session is not None:
        return f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
    return caller if re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:(user|role)/.+", caller) else None


def simulate(session: Any, principal: str, actions: Sequence[str], arn: str, tags: Mapping[str, str]) -> list[str]:
    """Return which of the actions the principal's IAM policies allow on a resource with these tags.

    :raises RotatorError: as :func:`identify`.
    """
    answer = _ask(
        session,
        "iam",
        "SimulatePrincipalPolicy",
        "EvaluationResults",
        PolicySourceArn=principal,
        ActionNames=list(actions),
        ResourceArns=[arn],
        ContextEntries=[
            {"ContextKeyName": f"{prefix}/{tag}", "ContextKeyValues": [text], "ContextKeyType": "string"}
            for tag, text in tags.items()
            for prefix in _TAGS
        ],
    )
    decisions = {each.get("EvalActionName"): each.get("EvalDecision") for each in answer["EvaluationResults"]}
    return [action for action in actions if decisions.get(action) == "allowed"]


def _ask(session: Any, service: str, operation: str, answered: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation. A genuine response always has the field ``answered``."""
    name = service.upper()
    client = make_client(session, service, attempts=2)
    try:
        answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
        if answer.get(answered):
            return answer
    except ClientError as error:
        code = printable(str(error.response.get("Error", {}).get("Code") or ""), 60)
        if "Denied" in code:
            raise CallDenied(f"{service}:{operation} is denied") from None
        if code and not code.isdigit():  # without a code, botocore puts the status there
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise Unanswered(f"{name} failed ({code})", advice="Retry later.") from None
            fix = "Check the credentials: access key, session token, and whether they have expired."
            raise CredentialsRejected(f"{name} rejected the credentials ({code})", advice=fix) from None
    except BotoCoreError as error:
        if (known := configuration_error(error)) is not None:
            raise known from None
        # Networks without a route to it are common.
        raise Unanswered(f"{name} did not answer ({type(error).__name__})") from None
    except Exception:  # noqa: S110 - botocore's parser raises whatever it comes across in a proxy's page, KeyError too
        pass
    address = urlsplit(client.meta.endpoint_url)
    where = printable(f"{address.scheme}://{address.netloc.rpartition('@')[2]}", 120)
    raise Unanswered(
        f"the response to {operation} from {where} did not come from {name}",
        advice=f"Check the proxy (HTTPS_PROXY, NO_PROXY) and the endpoint URL (AWS_ENDPOINT_URL, "
        f"AWS_ENDPOINT_URL_{name}).",
    )
