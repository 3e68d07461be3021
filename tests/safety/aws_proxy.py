"""A proxy in front of moto for what moto cannot do: deny the read of one secret, and serve an old list of secrets."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

JSON = "application/x-amz-json-1.1"
DENIED = {"__type": "AccessDeniedException", "Message": "User is not authorized to perform this operation"}


class AwsProxy:
    """Forwards every request to moto but for those that it was told to answer itself.

    ``denied`` holds ARNs of secrets whose values cannot be read, ``listing`` what ListSecrets answers in a region.
    """

    def __init__(self, moto_url: str) -> None:
        self._moto = urlsplit(moto_url)
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

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
        region = headers.get("Authorization", "///").split("/")[2]
        if operation == "ListSecrets" and region in self.listing:
            return 200, JSON, json.dumps({"SecretList": self.listing[region]}).encode()
        if operation == "GetSecretValue" and self._is_denied(json.loads(body)["SecretId"]):
            return 400, JSON, json.dumps(DENIED).encode()
        if operation == "BatchGetSecretValue":
            return self._batch(path, headers, json.loads(body)["SecretIdList"])
        return self._forward(method, path, headers, body)

    def _is_denied(self, secret_id: str) -> bool:
        return any(secret_id == arn or f":secret:{secret_id}-" in arn for arn in self.denied)

    def _batch(self, path: str, headers: dict[str, str], secret_ids: list[str]) -> tuple[int, str, bytes]:
        """As AWS does: current values, with what cannot be read among the errors.

        moto gives values that are not current any more, and fails the whole batch for one secret without a value.
        """
        values, errors = [], []
        one = {**headers, "X-Amz-Target": "secretsmanager.GetSecretValue"}
        for secret_id in secret_ids:
            body = json.dumps({"SecretId": secret_id, "VersionStage": "AWSCURRENT"}).encode()
            status, _kind, text = self.answer("POST", path, one, body)
            answer = json.loads(text)
            if status == 200:
                values.append(answer)
            else:
                error = {"ErrorCode": answer["__type"], "Message": answer.get("Message") or answer.get("message")}
                errors.append({"SecretId": secret_id, **error})
        return 200, JSON, json.dumps({"SecretValues": values, "Errors": errors}).encode()

    def _forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(self._moto.hostname or "", self._moto.port or 0, timeout=30)
        kept = {name: text for name, text in headers.items() if name.lower() != "content-length"}
        try:
            connection.request(method, path, body, kept)
            response = connection.getresponse()
            return response.status, response.headers.get("Content-Type", JSON), response.read()
        finally:
            connection.close()


@contextmanager
def aws_proxy(moto_url: str) -> Iterator[AwsProxy]:
    """A proxy that listens on a free port of this machine."""
    proxy = AwsProxy(moto_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, kind, answer = proxy.answer(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _seconds(moment: Any) -> float:
    """A time as Secrets Manager's JSON holds it."""
    return float(moment.timestamp())
