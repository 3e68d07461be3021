"""Calls of AWS's XML services (STS, IAM), where a proxy or a wrong endpoint URL may answer in their place.

botocore raises whatever its parser comes across in a web page, its own errors as well as ``KeyError``, or takes the
page for an answer that says nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from rotator.errors import RotatorError
from rotator.text import printable


class ForeignAnswer(RotatorError):
    """What answered is not the service that was called."""


def call(client: Any, operation: str, answered: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation; the answer has a value for ``answered``, a field that the service never leaves out.

    :param operation: the API's name of it, such as ``GetCallerIdentity``.
    :raises ForeignAnswer: something else answered.
    :raises ClientError: the service refused; the error has a code of its own.
    :raises BotoCoreError: there was no answer.
    """
    try:
        answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
        if answer.get(answered):
            return answer
    except BotoCoreError:
        raise
    except ClientError as error:
        code = code_of(error)
        if code and not code.isdigit():  # botocore puts the status where there is no code
            raise
    except Exception:  # noqa: BLE001, S110, RUF100 -- of any kind: the parser met what is not the service's
        pass
    name = client.meta.service_model.service_name.upper()
    address = urlsplit(client.meta.endpoint_url)
    where = printable(f"{address.scheme}://{address.netloc.rpartition('@')[2]}", 120)
    raise ForeignAnswer(
        f"what answered {operation} at {where} is not {name}",
        advice=f"Check the proxy (HTTPS_PROXY, NO_PROXY) and the endpoint URL (AWS_ENDPOINT_URL_{name}) here.",
    )


def code_of(error: ClientError) -> str:
    """The code of a refusal, ``""`` where there is none."""
    return printable(str(error.response.get("Error", {}).get("Code") or ""), 60)
