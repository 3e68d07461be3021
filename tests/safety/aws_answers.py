"""What moto cannot do: deny the read of one secret, serve an old list of secrets, and answer a batch as AWS does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.core.exceptions import JsonRESTError
from moto.secretsmanager.responses import SecretsManagerResponse

Answer = Callable[[Any], str]
OPERATIONS = ("list_secrets", "get_secret_value", "batch_get_secret_value")


class AwsAnswers:
    """Answers some requests in moto's place.

    ``denied`` holds ARNs of secrets whose values cannot be read, ``listing`` what ListSecrets answers in a region.
    """

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.listing: dict[str, str] = {}

    def reset(self) -> None:
        self.denied.clear()
        self.listing.clear()

    def list_secrets(self, request: Any, moto: Answer) -> str:
        return self.listing.get(request.region) or moto(request)

    def freeze_listing(self, client: Any) -> None:
        """From now on ListSecrets answers in the client's region what it would answer now."""
        secrets = [each for page in client.get_paginator("list_secrets").paginate() for each in page["SecretList"]]
        self.listing[client.meta.region_name] = json.dumps({"SecretList": secrets}, default=lambda at: at.timestamp())

    def get_secret_value(self, request: Any, moto: Answer) -> str:
        self._check(request._get_param("SecretId"))
        return moto(request)

    def _check(self, secret_id: str) -> None:
        if any(secret_id == arn or f":secret:{secret_id}-" in arn for arn in self.denied):
            raise JsonRESTError("AccessDeniedException", "User is not authorized to perform this operation")

    def batch_get_secret_value(self, request: Any, _moto: Answer) -> str:
        """Current values, with what cannot be read among the errors.

        moto gives values that are not current any more, and fails the whole batch for one secret without a value.
        """
        values, errors = [], []
        for secret_id in request._get_param("SecretIdList"):
            try:
                self._check(secret_id)
                values.append(request.backend.get_secret_value(secret_id, None, "AWSCURRENT"))
            except JsonRESTError as error:
                errors.append({"SecretId": secret_id, "ErrorCode": error.error_type, "Message": error.message})
        return json.dumps({"SecretValues": values, "Errors": errors})


@contextmanager
def aws_answers() -> Iterator[AwsAnswers]:
    """Of moto in this process, as long as it lasts."""
    answers = AwsAnswers()

    def answering(operation: str, moto: Answer) -> Answer:
        return lambda request: getattr(answers, operation)(request, moto)

    with pytest.MonkeyPatch.context() as patch:
        for operation in OPERATIONS:
            patch.setattr(
                SecretsManagerResponse, operation, answering(operation, getattr(SecretsManagerResponse, operation))
            )
        yield answers
