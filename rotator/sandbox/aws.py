"""Secrets Manager for the sandbox and for tests: moto on a loopback address, and secrets as users make them."""

from __future__ import annotations

import importlib
import json
import logging
import re
import socket
import threading
import urllib.request
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self

from rotator.clock import SystemClock
from rotator.errors import ConfigurationError
from rotator.ports import Clock

REGION: Final = "eu-central-1"
DUMMY_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
}
LOOPBACK: Final = "127.0.0.1"
AWS_ACCOUNT: Final = "123456789012"  # moto's
SIGNED_BY: Final = re.compile(r"Credential=([^/]+)/")
TRAIL_ATTRIBUTES: Final = {"ResourceName", "EventName"}


class MotoServer:
    """A context manager that serves Secrets Manager at ``url``, empty at the start, and its readers in CloudTrail.

    moto has one state per process, so two servers at a time contain the same secrets. ``ConfigurationError`` without
    moto, ``OSError`` for a port that is taken.

    :param clock: dates of secrets and versions follow it; the machine's clock by default.
    :param port: 0 is any free one.
    """

    def __init__(self, clock: Clock | None = None, *, port: int = 0) -> None:
        self._clock, self._port = clock, port
        self._trail = Trail(clock or SystemClock())
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The endpoint's URL; known once started."""
        return f"http://{LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        try:
            models: Any = importlib.import_module("moto.secretsmanager.models")
            from moto.moto_server import werkzeug_app as moto_app
            from werkzeug.serving import make_server
        except ImportError:
            raise ConfigurationError(
                "the sandbox requires moto, which is not installed",
                advice="Install it from a clone of the repository: pip install '.[cli,sandbox]'.",
            ) from None
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line on stderr for every request
        # moto's own threaded server listens in its thread. If the port is taken, its start never returns.
        with socket.create_server((LOOPBACK, self._port)) as listening:
            app = moto_app.DomainDispatcherApplication(moto_app.create_backend_app)
            server = make_server(
                LOOPBACK, self._port, app, True, request_handler=moto_app.MotoRequestHandler, fd=listening.fileno()
            )
        self._port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, name="moto", daemon=True)
        with ExitStack() as stack:
            if (clock := self._clock) is not None:
                # moto takes no clock. It reads time.time() in this module for every date that it returns.
                ours = SimpleNamespace(time=lambda: clock.now().timestamp())
                stack.enter_context(_replaced(models, time=ours))
            stack.enter_context(self._trail.recording())
            stack.enter_context(_moving_default(models.SecretsManagerBackend))
            stack.callback(server.server_close)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            self.reset()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def reset(self) -> None:
        """Remove all secrets and the records of their reads."""
        self._trail.reset()
        request = urllib.request.Request(f"{self.url}/moto-api/reset", data=b"", method="POST")  # noqa: S310 - loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            answer.read()

    def client(self, region: str = REGION) -> Any:
        """Return a boto3 Secrets Manager client for this server, with credentials that are valid nowhere else."""
        return client(self.url, region)


def _moving_default(backend: Any) -> AbstractContextManager[None]:
    """Let a read that names no stage return ``AWSCURRENT``, as AWS does; moto 5.2.5 returns the old version."""
    original = backend.update_secret_version_stage

    def update_secret_version_stage(
        self: Any, secret_id: str, version_stage: str, remove_from_version_id: str, move_to_version_id: str
    ) -> Any:
        done = original(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
        if version_stage == "AWSCURRENT" and move_to_version_id:
            self.secrets[secret_id].default_version_id = move_to_version_id
        return done

    return _replaced(backend, update_secret_version_stage=update_secret_version_stage)


@contextmanager
def _replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Replace attributes of a module or class inside the context."""
    before = {name: vars(owner)[name] for name in attributes if name in vars(owner)}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name in attributes:
            if name in before:
                setattr(owner, name, before[name])
            else:
                delattr(owner, name)


class Trail:
    """CloudTrail's event history of reads of secrets, which moto lacks.

    Inside :meth:`recording` it records reads from moto's Secrets Manager and responds to ``LookupEvents``. It keeps
    names and times, no values. There are no roles here, so the access key identifies the reader: the key id ``billing``
    is the user ``billing``. Unlike AWS's, this history does not lag.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._lock = threading.Lock()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Replace two of moto's operations inside the context."""
        secrets = importlib.import_module("moto.secretsmanager.responses").SecretsManagerResponse
        trail = importlib.import_module("moto.cloudtrail.responses").CloudTrailResponse
        original = secrets.get_secret_value

        def get_secret_value(response: Any) -> Any:
            try:
                answer = original(response)
            except Exception as error:
                self._record(response, type(error).__name__)
                raise
            self._record(response, None)
            return answer

        def lookup_events(response: Any) -> str:
            return json.dumps(self._look_up(response))

        with _replaced(secrets, get_secret_value=get_secret_value), _replaced(trail, lookup_events=lookup_events):
            yield

    def reset(self) -> None:
        """Remove every event."""
        with self._lock:
            self._events.clear()

    def _record(self, response: Any, error: str | None) -> None:
        asked = {name: response._get_param(name) for name in ("SecretId", "VersionId", "VersionStage")}
        signed = SIGNED_BY.search(str(response.headers.get("Authorization", "")))
        user = "unknown" if signed is None else signed[1]
        parameters = {name[0].lower() + name[1:]: text for name, text in asked.items() if text is not None}
        record: dict[str, Any] = {
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "arn": f"arn:aws:iam::{AWS_ACCOUNT}:user/{user}", "userName": user},
            "eventSource": "secretsmanager.amazonaws.com",
            "eventName": "GetSecretValue",
            "awsRegion": response.region,
            "userAgent": str(response.headers.get("User-Agent", "")),
            "requestParameters": parameters,
            "responseElements": None,
            "readOnly": True,
        }
        if error is not None:
            record["errorCode"] = error
        event = {
            "EventId": str(uuid.uuid4()),
            "EventName": "GetSecretValue",
            "EventTime": self._clock.now().timestamp(),
            "Username": user,
            "Resources": [{"ResourceType": "AWS::SecretsManager::Secret", "ResourceName": asked["SecretId"]}],
            "CloudTrailEvent": json.dumps(record),
        }
        with self._lock:
            self._events.append(event)

    def _look_up(self, response: Any) -> dict[str, Any]:
        """Return a page of events, the newest first. The token is the number of events before the page."""
        (wanted,) = response._get_param("LookupAttributes") or [{}]
        key, value = wanted.get("AttributeKey"), wanted.get("AttributeValue")
        begin = float(response._get_param("StartTime") or 0)
        size, skip = int(response._get_param("MaxResults") or 50), int(response._get_param("NextToken") or 0)
        with self._lock:
            events = [event for event in reversed(self._events) if event["EventTime"] >= begin]
        if key in TRAIL_ATTRIBUTES:
            named = key == "ResourceName"
            events = [e for e in events if (e["Resources"][0]["ResourceName"] if named else e["EventName"]) == value]
        page = {"Events": events[skip : skip + size]}
        return page | ({"NextToken": str(skip + size)} if skip + size < len(events) else {})


def client(url: str, region: str = REGION) -> Any:
    """Return a boto3 Secrets Manager client for an endpoint. It never uses real credentials."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=DUMMY_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=DUMMY_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=DUMMY_CREDENTIALS["AWS_SESSION_TOKEN"],
        region_name=region,
    )
    # Proxies in the environment are ignored, since the endpoint is on this machine.
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
    """Create a management secret and return its ARN. The name defaults to ``rotator/<account>``."""
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
    """Create a managed secret and return its ARN.

    :param value: what consumers read; ``None`` creates a secret without any version.
    :param key_id: adopt the secret: put the label of this key on the version.
    :param tags: added to role and account; names with the prefix ``rotator:`` or without.
    """
    wanted = {n if ":" in n else f"rotator:{n}": v for n, v in (tags or {}).items()}
    made = client.create_secret(Name=name, Tags=_tags({"rotator:role": "key", "rotator:account": account, **wanted}))
    if value is not None:
        labels = ["AWSCURRENT"] if key_id is None else ["AWSCURRENT", f"rotator:key:{key_id}"]
        client.put_secret_value(SecretId=name, SecretString=value, VersionStages=labels)
    return str(made["ARN"])


def consumer_value(client: Any, name: str) -> str:
    """Return what a consumer reads. The label is named, since moto returns an old version without it."""
    return str(client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])


def environment(aws_url: str, region: str = REGION) -> dict[str, str]:
    """Return the environment variables that point the command line to a sandbox."""
    return {
        "AWS_ENDPOINT_URL": aws_url,
        **DUMMY_CREDENTIALS,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{LOOPBACK},localhost",
    }


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]
