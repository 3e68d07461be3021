"""A proxy in front of moto for what moto cannot do: deny the read of one secret, and serve an old list of secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.post_server import JSON, forward, serve_posts

DENIED = {"__type": "AccessDeniedException", "Message": "User is not authorized to perform this operation"}


class AwsProxy:
    """Forwards every request to moto but for those that it answers itself.

    ``denied`` holds ARNs of secrets whose values cannot be read, ``listing`` what ListSecrets answers in a region.
    """

    def __init__(self, moto_url: str) -> None:
        self._moto_url = moto_url
        self.url = ""
        self.denied: set[str] = set()
        self.listing: dict[str, list[dict[str, Any]]] = {}

    def reset(self) -> None:
        """Forward everything again."""
        self.denied.clear()
        self.listing.clear()

    def freeze_listing(self, client: Any) -> None:
        """From now on ListSecrets answers in the client's region what it would answer now."""
        pages = client.get_paginator("list_secrets").paginate()
        secrets = json.loads(json.dumps([each for page in pages for each in page["SecretList"]], default=_seconds))
        self.listing[client.meta.region_name] = secrets

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
        region = headers.get("Authorization", "///").split("/")[2]
        if operation == "ListSecrets" and region in self.listing:
            return 200, json.dumps({"SecretList": self.listing[region]}).encode(), JSON
        if operation == "GetSecretValue" and self._is_denied(json.loads(body)["SecretId"]):
            return 400, json.dumps(DENIED).encode(), JSON
        if operation == "BatchGetSecretValue":
            return self._batch(path, headers, json.loads(body)["SecretIdList"])
        return forward(self._moto_url, path, headers, body)

    def _is_denied(self, secret_id: str) -> bool:
        return any(secret_id == arn or f":secret:{secret_id}-" in arn for arn in self.denied)

    def _batch(self, path: str, headers: dict[str, str], secret_ids: list[str]) -> tuple[int, bytes, str]:
        """As AWS does: current values, with what cannot be read among the errors.

        moto gives values that are not current any more, and fails the whole batch for one secret without a value.
        """
        values, errors = [], []
        one = {**headers, "X-Amz-Target": "secretsmanager.GetSecretValue"}
        for secret_id in secret_ids:
            body = json.dumps({"SecretId": secret_id, "VersionStage": "AWSCURRENT"}).encode()
            status, text, _kind = self.answer(path, one, body)
            answer = json.loads(text)
            if status == 200:
                values.append(answer)
            else:
                error = {"ErrorCode": answer["__type"], "Message": answer.get("Message") or answer.get("message")}
                errors.append({"SecretId": secret_id, **error})
        return 200, json.dumps({"SecretValues": values, "Errors": errors}).encode(), JSON


@contextmanager
def aws_proxy(moto_url: str) -> Iterator[AwsProxy]:
    """A proxy that listens on a free port of this machine."""
    proxy = AwsProxy(moto_url)
    with serve_posts(proxy.answer) as proxy.url:
        yield proxy


def _seconds(moment: Any) -> float:
    """A time as Secrets Manager's JSON holds it."""
    return float(moment.timestamp())
