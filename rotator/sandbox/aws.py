"""Secrets Manager for the sandbox and for tests: moto on a loopback address, and secrets as users make them."""

from __future__ import annotations

import importlib
import json
import logging
import socket
import threading
import urllib.request
from collections.abc import Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self

from rotator.errors import ConfigurationError
from rotator.ports import Clock
from rotator.sandbox.trail import Trail

REGION: Final = "eu-central-1"
DUMMY_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
}
LOOPBACK: Final = "127.0.0.1"


class MotoServer:
    """A context manager: Secrets Manager at ``url`` while it lasts, empty at the start, and who read what there.

    moto keeps its state once a process: two servers at a time hold the same secrets.

    :param clock: dates of secrets and versions follow it; the machine's clock by default.
    :param port: 0 is any free one.
    """

    def __init__(self, clock: Clock | None = None, *, port: int = 0) -> None:
        self._clock = clock
        self._port = port
        self._server: Any = None
        self._thread = threading.Thread()
        self._models: Any = None
        self._time: Any = None
        self._trail = Trail(clock)

    @property
    def url(self) -> str:
        """The endpoint's URL; known once started."""
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Start and empty it. ``ConfigurationError`` without moto, ``OSError`` for a port that is taken."""
        try:
            models: Any = importlib.import_module("moto.secretsmanager.models")
            from moto.moto_server import werkzeug_app as moto_app
            from werkzeug.serving import make_server
        except ImportError:
            raise ConfigurationError(
                "The sandbox needs moto, which is not installed.",
                advice="Run pip install 'infobip-key-rotator[sandbox]'.",
            ) from None
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line on stderr for every request
        # moto's own threaded server listens in its thread: with a port that is taken, its start never ends.
        with socket.create_server((LOOPBACK, self._port)) as listening:
            app = moto_app.DomainDispatcherApplication(moto_app.create_backend_app)
            self._server = make_server(
                LOOPBACK, self._port, app, True, request_handler=moto_app.MotoRequestHandler, fd=listening.fileno()
            )
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="moto", daemon=True)
        if self._clock is not None:
            # moto reads time.time() in this module for every date that it gives out, and knows no other way to be told.
            self._models, self._time = models, models.time
            models.time = SimpleNamespace(time=lambda clock=self._clock: clock.now().timestamp())
        self._trail.start()
        self._thread.start()
        self.reset()

    def stop(self) -> None:
        """Stop it and give moto its clock back."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            self._thread.join()
            server.server_close()
        if self._models is not None:
            self._models.time, self._models = self._time, None
        self._trail.stop()

    def reset(self) -> None:
        """Empty it: no secrets, and nobody has read one."""
        self._trail.reset()
        request = urllib.request.Request(f"{self.url}/moto-api/reset", data=b"", method="POST")  # noqa: S310 - loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            answer.read()

    def client(self, region: str = REGION) -> Any:
        """A boto3 Secrets Manager client for it, with credentials that are worth nothing anywhere else."""
        return client(self.url, region)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def client(url: str, region: str = REGION) -> Any:
    """A boto3 Secrets Manager client for an endpoint; it never looks for real credentials."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=DUMMY_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=DUMMY_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=DUMMY_CREDENTIALS["AWS_SESSION_TOKEN"],
        region_name=region,
    )
    # No proxies: the endpoint is on this machine, whatever the environment says.
    config = Config(proxies={}, retries={"mode": "standard", "max_attempts": 2})
    return session.client("secretsmanager", endpoint_url=url, config=config)


def create_management(
    client: Any,
    account: str,
    *,
    base_url: str,
    username: str,
    password: str,
    auth: str = "basic",
    account_id: str | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """A management secret; gives its ARN. The name defaults to ``rotator/<account>``."""
    value: dict[str, str] = {"base_url": base_url, "username": username, "password": password, "auth": auth}
    if account_id is not None:
        value["account_id"] = account_id
    all_tags = {"rotator:role": "management", "rotator:account": account, **(tags or {})}
    made = client.create_secret(Name=name or f"rotator/{account}", SecretString=json.dumps(value), Tags=_tags(all_tags))
    return str(made["ARN"])


def create_managed(
    client: Any,
    name: str,
    account: str,
    value: str | None = None,
    *,
    key_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """A managed secret; gives its ARN.

    :param value: what consumers read; ``None`` makes a secret without any version.
    :param key_id: adopt it: put the label of that key on the version.
    :param tags: added to role and account; names with the prefix ``rotator:`` or without.
    """
    wanted = {n if ":" in n else f"rotator:{n}": v for n, v in (tags or {}).items()}
    made = client.create_secret(Name=name, Tags=_tags({"rotator:role": "key", "rotator:account": account, **wanted}))
    if value is not None:
        labels = ["AWSCURRENT"] if key_id is None else ["AWSCURRENT", f"rotator:key:{key_id}"]
        client.put_secret_value(SecretId=name, SecretString=value, VersionStages=labels)
    return str(made["ARN"])


def consumer_value(client: Any, name: str) -> str:
    """What a consumer reads; with the label said, since moto gives an old version without it."""
    return str(client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])


def environment(infobip_url: str, aws_url: str, region: str = REGION) -> dict[str, str]:
    """The environment in which the command line works on a sandbox."""
    return {
        "AWS_ENDPOINT_URL": aws_url,
        **DUMMY_CREDENTIALS,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{LOOPBACK},localhost",
        "ROTATOR_SANDBOX_URL": infobip_url,
    }


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]
