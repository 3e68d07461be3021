"""Calls of AWS's XML services (STS, IAM), where a proxy or a wrong endpoint URL may answer in their place.

botocore raises whatever its parser comes across in a web page, its own errors as well as ``KeyError``, or takes the
page for an answer that says nothing.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from rotator.text import printable

_SERVICES: Final = {"sts": "STS", "iam": "IAM"}


class ForeignAnswer(Exception):
    """What answered is not the service that was called.

    :param message: what answered what, without a word of the answer's body.
    :param advice: what to check.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


def call(client: Any, operation: str, answered: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation; the answer has a value for ``answered``, a field that the service never leaves out.

    :param client: made for this one call.
    :param operation: the API's name of it, such as ``GetCallerIdentity``.
    :raises ForeignAnswer: something else answered.
    :raises ClientError: the service refused; the error has a code of its own.
    :raises BotoCoreError: there was no answer.
    """
    seen: list[tuple[int, str]] = []

    def note(response_dict: dict[str, Any], **_: Any) -> None:
        seen.append((response_dict["status_code"], str(response_dict["headers"].get("content-type", ""))))

    client.meta.events.register("before-parse", note)
    method = next(name for name, known in client.meta.method_to_api_mapping.items() if known == operation)
    try:
        answer: dict[str, Any] = getattr(client, method)(**parameters)
        if answer.get(answered):
            return answer
    except BotoCoreError:
        raise
    except ClientError as error:
        code = code_of(error)
        if code and not code.isdigit():  # botocore puts the status where there is no code
            raise
    except Exception as error:
        if not _by_parser(error):
            raise
    raise _foreign(client, operation, seen)


def code_of(error: ClientError) -> str:
    """The code of a refusal, ``""`` where there is none."""
    return printable(str(error.response.get("Error", {}).get("Code") or ""), 60)


def _by_parser(error: Exception) -> bool:
    """Whether botocore's parser of answers raised it: then the answer was at fault, else this is a bug."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") != "botocore.parsers":
        trace = trace.tb_next
    return trace is not None


def _foreign(client: Any, operation: str, seen: list[tuple[int, str]]) -> ForeignAnswer:
    name = client.meta.service_model.service_name
    service = _SERVICES.get(name, name)
    address = urlsplit(client.meta.endpoint_url)
    where = printable(f"{address.scheme}://{address.netloc.rpartition('@')[2]}", 120)
    advice = (
        f"Check the proxy (HTTPS_PROXY, NO_PROXY) and the endpoint URL (AWS_ENDPOINT_URL, "
        f"AWS_ENDPOINT_URL_{name.upper()}) here."
    )
    if not seen:  # the answer that could not be read was to another call, the one that fetches credentials
        return ForeignAnswer(f"credentials for {service} could not be fetched: what answered is not AWS", advice)
    status, content_type = seen[-1]
    kind = f" ({printable(content_type.partition(';')[0].strip(), 40)})" if content_type else ""
    return ForeignAnswer(
        f"{where} answered {operation} with HTTP {status}{kind}, which is not an answer of {service}", advice
    )
