"""A simulated Infobip, Secrets Manager by moto, and the rotator as its users run it.

Only this file and ``conftest.py`` import ``rotator``, and of it only the command line and the sandbox.

A :class:`Site` has one Infobip, one clock and any number of AWS regions; a :class:`Region` has secrets and runs the
rotator. Tests assert what Infobip and Secrets Manager hold, exit codes, ``--json`` documents and audit lines.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from rotator.cli import main
from rotator.sandbox.aws import client as aws_client
from rotator.sandbox.aws import environment
from rotator.sandbox.clock import VirtualClock
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.model import SimAccount, SimKey, SimUser
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.wire import Request, Response
from tests import leaks
from tests.safety.aws_proxy import AwsProxy

__all__ = ["ADMIN_SCOPES", "DAY", "HOUR", "SCOPES", "InfobipServer", "MachineClock", "Ran", "Region", "SimKey", "Site"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEYS_PATH = r"^/settings/2/api-keys$"
SCOPES = ("sms:manage",)
ADMIN_SCOPES = ("account-management:manage", "sms:manage", "voice:manage")

LAMBDA = """
import json, sys
from rotator import lambda_handlers
given = json.load(sys.stdin)
class Context:
    aws_request_id = "00000000-0000-0000-0000-000000000000"
    def get_remaining_time_in_millis(self):
        return given["seconds_left"] * 1000
print(json.dumps(getattr(lambda_handlers, given["handler"])(given["event"], Context())))
"""


class MachineClock:
    """The clock of the machine that runs the rotator: Infobip's, and how far it is wrong."""

    def __init__(self, true_clock: VirtualClock) -> None:
        self._true = true_clock
        self.wrong_by = timedelta(0)

    def now(self) -> datetime:
        return self._true.now() + self.wrong_by

    def sleep(self, seconds: float) -> None:
        self._true.sleep(seconds)

    def advance(self, by: timedelta) -> None:
        self._true.advance(by)

    def set(self, to: datetime) -> None:
        self._true.set(to - self.wrong_by)


@dataclass(frozen=True)
class Ran:
    """One run of the rotator: its exit code (0 or 1 for a handler), its JSON document, its logs and audit lines."""

    code: int
    document: Any
    lines: list[dict[str, Any]]
    stderr: str

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The audit lines."""
        return [line for line in self.lines if "seq" in line]

    def alerts(self, kind: str | None = None, secret: str | None = None) -> list[dict[str, Any]]:
        """The alerts of every account, of one kind or about one secret where given."""
        every = [alert for account in self.document["accounts"] for alert in account["alerts"]]
        of_kind = [alert for alert in every if kind in (None, alert["kind"])]
        return [alert for alert in of_kind if secret in (None, alert["secret"])]

    def results(self, kind: str, outcome: str = "done") -> list[dict[str, Any]]:
        """The actions of one kind that had that outcome."""
        return [each for each in self.document["results"] if (each["kind"], each["outcome"]) == (kind, outcome)]


@dataclass(repr=False)
class Site:
    """One Infobip, one clock, and AWS behind a proxy."""

    infobip: InfobipWorld
    infobip_url: str
    clock: VirtualClock
    machine: MachineClock
    machine_url: str
    moto_url: str
    proxy: AwsProxy
    environment: dict[str, str] = field(default_factory=dict)

    def advance(self, by: timedelta) -> None:
        """Let time pass, for Infobip, AWS and the rotator."""
        self.clock.advance(by)

    def region(self, name: str = "eu-central-1") -> Region:
        """One AWS region: its secrets, and the rotator that runs there."""
        return Region(self, name, aws_client(self.moto_url, name))

    # ---- Infobip ----------------------------------------------------------------------------------------------------

    def account(self, login: str = "ops") -> tuple[SimAccount, SimUser]:
        """An Infobip account and its user."""
        account = self.infobip.add_account(f"account of {login}")
        return account, self.infobip.add_user(account, login)

    def key(
        self,
        name: str,
        *,
        account: SimAccount | None = None,
        left: timedelta = 60 * DAY,
        age: timedelta | None = None,
        begins: datetime | None = None,
        scopes: Sequence[str] = SCOPES,
        enabled: bool = True,
    ) -> SimKey:
        """A key that was made in Infobip's portal, in the first account where none is given, for 90 days in all."""
        now = self.clock.now().replace(microsecond=0)
        age = 90 * DAY - left if age is None else age
        key = self.infobip.add_key(
            account or next(iter(self.infobip.state.accounts)),
            name,
            scopes=scopes,
            created_at=now - age,
            valid_from=begins or now - age,
            valid_to=now + left,
            enabled=enabled,
        )
        leaks.register(key.value)
        return key

    def works(self, key: SimKey) -> bool:
        """Whether a consumer that has the key's value gets in now."""
        return self.infobip.authenticates(key.value)

    def enabled(self) -> dict[str, SimKey]:
        """Every key that is enabled, by id."""
        return {key.id: key for key in self.infobip.keys() if key.enabled}

    def rotator_keys(self) -> list[SimKey]:
        """Every key that a rotator named, oldest first."""
        return [key for key in self.infobip.keys() if "/rotator:" in key.name]

    def refuse_creates(self, status: int = 429) -> None:
        """Every create is refused from now on."""
        self.infobip.faults.add(Fault(_refusal(status), "POST", KEYS_PATH, count=None, status=status))

    def refuse_value_search(self, status: int = 503) -> None:
        """Every search by a key's value is refused from now on."""
        search = Fault(FaultKind.STATUS_BEFORE, "GET", KEYS_PATH, when=_by_value, count=None, status=status)
        self.infobip.faults.add(search)

    def ignore_value_search(self) -> None:
        """A search by a key's value lists every key from now on, as an Infobip that does not know the filter."""

        def drop_filter(request: Request, _answer: Response | None) -> None:
            cast(dict[str, str], request.query).pop("apiKeySecret")

        hook = Fault(FaultKind.HOOK_BEFORE, "GET", KEYS_PATH, when=_by_value, count=None, hook=drop_filter)
        self.infobip.faults.add(hook)

    def before_create(self, act: Callable[[], None], nth: int = 1) -> None:
        """Once, right before the nth create from now on: something happens."""
        hook = Fault(FaultKind.HOOK_BEFORE, "POST", KEYS_PATH, nth=nth, hook=lambda _request, _answer: act())
        self.infobip.faults.add(hook)

    def rewrite_keys(self, change: Callable[[dict[str, Any]], None], method: str | None = None) -> None:
        """Every key in an answer of Infobip is changed before it is sent."""

        def rewrite(_request: Request, answer: Response | None) -> None:
            if answer is not None and answer.status == 200:
                payload = answer.json()
                for key in payload.get("apiKeys", [payload]):
                    change(key)
                object.__setattr__(answer, "body", json.dumps(payload).encode())

        path = r"^/settings/2/api-keys"
        self.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method, path, count=None, hook=rewrite))


@dataclass(repr=False)
class Region:
    """Secrets of one AWS region, and the rotator that runs there."""

    site: Site
    name: str
    aws: Any

    # ---- Secrets Manager --------------------------------------------------------------------------------------------

    def management(self, user: SimUser, account: str = "main") -> None:
        """A management secret for the account with that name."""
        value = self._credentials(user, self.site.infobip_url)
        tags = _tags({"rotator:role": "management", "rotator:account": account})
        self.aws.create_secret(Name=f"rotator/{account}", SecretString=json.dumps(value), Tags=tags)

    def use_credentials(self, user: SimUser, infobip_url: str, account: str = "main") -> None:
        """An operator stores another user's credentials in a management secret."""
        value = self._credentials(user, infobip_url)
        self.aws.put_secret_value(SecretId=f"rotator/{account}", SecretString=json.dumps(value))

    def _credentials(self, user: SimUser, infobip_url: str) -> dict[str, str]:
        return {"base_url": infobip_url, "username": user.username, "password": leaks.register(user.password)}

    def create(self, name: str, account: str = "main", **tags: str) -> str:
        """A managed secret without a value; gives its ARN. ``value_field="x"`` is the tag ``rotator:value-field``."""
        given = {f"rotator:{tag.replace('_', '-')}": text for tag, text in tags.items()}
        every = {"rotator:role": "key", "rotator:account": account, **given}
        return str(self.aws.create_secret(Name=name, Tags=_tags(every))["ARN"])

    def secret(self, name: str, *, account: str = "main", left: timedelta = 60 * DAY, **tags: str) -> SimKey:
        """A managed secret that was adopted, and its key, made by hand for 90 days: due with less than 30 left."""
        self.create(name, account, **tags)
        key = self.site.key(f"by hand for {name}", left=left)
        self.put(name, {"api_key": key.value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
        return key

    def put(
        self, name: str, value: str | bytes | Mapping[str, str], labels: Sequence[str], version: str | None = None
    ) -> str:
        """Store a value with any labels, as any principal with write access can; gives the version's id."""
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        stored = {"SecretBinary": text} if isinstance(text, bytes) else {"SecretString": text}
        token = {"ClientRequestToken": version} if version else {}
        return str(self.aws.put_secret_value(SecretId=name, VersionStages=[*labels], **stored, **token)["VersionId"])

    def recreate(self, name: str, account: str = "main", **tags: str) -> str:
        """Delete a managed secret for good and create one of the same name without a value; gives the new ARN."""
        before = self.arn(name)
        self.aws.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        after = self.create(name, account, **tags)
        assert after != before
        return after

    def tag(self, name: str, **tags: str) -> None:
        """Set tags: ``value_field="x"`` is ``rotator:value-field``."""
        given = {f"rotator:{tag.replace('_', '-')}": text for tag, text in tags.items()}
        self.aws.tag_resource(SecretId=name, Tags=_tags(given))

    def untag(self, name: str, *tags: str) -> None:
        """Remove tags."""
        self.aws.untag_resource(SecretId=name, TagKeys=[*tags])

    def arn(self, name: str) -> str:
        return str(self.aws.describe_secret(SecretId=name)["ARN"])

    def labels(self, name: str) -> dict[str, set[str]]:
        """The labels by version; versions without any are left out."""
        stages = self.aws.describe_secret(SecretId=name).get("VersionIdsToStages", {})
        return {version: set(labels) for version, labels in stages.items() if labels}

    def every_label(self, name: str) -> set[str]:
        """The labels of all versions."""
        return {label for labels in self.labels(name).values() for label in labels}

    def current_version(self, name: str) -> str:
        return next(version for version, labels in self.labels(name).items() if "AWSCURRENT" in labels)

    def value(self, name: str) -> dict[str, Any]:
        """What a consumer reads."""
        read = self.aws.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"]
        return cast(dict[str, Any], json.loads(read))

    def current_key(self, name: str, value_field: str = "api_key") -> SimKey:
        """The key at Infobip that a consumer reads."""
        key = self.site.infobip.key_of(self.value(name)[value_field])
        assert key is not None
        return key

    def key_name(self, name: str, version: str, deployment: str = "default") -> str:
        """The name that the contract gives a key of that secret and version."""
        secret_id = hashlib.sha256(self.arn(name).encode()).hexdigest()[:10]
        return f"{name}/rotator:{deployment}:{secret_id}:{version}"

    def unreadable(self, name: str) -> None:
        """The value of that secret cannot be read by the rotator from now on."""
        self.site.proxy.denied.add(self.arn(name))

    # ---- the rotator ------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        aws = environment(self.site.machine_url, self.site.proxy.url, self.name)
        return aws | self.site.environment

    def run(self, *arguments: str) -> Ran:
        """The command line, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, text in self._environment().items():
                patch.setenv(name, text)
            code = main([*arguments])
        return _ran(code, out.getvalue(), err.getvalue())

    def sweep(self, *arguments: str) -> Ran:
        """``rotator run --json``."""
        return self.run("run", "--json", *arguments)

    def plan(self, *arguments: str) -> Ran:
        """``rotator plan --json``."""
        return self.run("plan", "--json", *arguments)

    def rotate(self, name: str) -> SimKey:
        """``rotator rotate``; gives the new current key."""
        ran = self.run("rotate", name, "--reason", "test")
        assert ran.code == 0, ran.stderr
        return self.current_key(name)

    def sweeps(self, count: int, every: timedelta = HOUR) -> list[Ran]:
        """That many sweeps, each after that time."""
        found = []
        for _ in range(count):
            self.site.advance(every)
            found.append(self.sweep())
        return found

    def handler(self, name: str, event: Mapping[str, Any], seconds_left: float = 900) -> Ran:
        """A Lambda handler, in a process of its own; exit code 1 where it raised."""
        clean = {each: text for each, text in os.environ.items() if not each.startswith(("AWS_", "ROTATOR_"))}
        given = json.dumps({"handler": name, "event": event, "seconds_left": seconds_left})
        command = [sys.executable, "-c", LAMBDA]
        child = subprocess.run(
            command, input=given, env=clean | self._environment(), capture_output=True, text=True, timeout=60
        )
        return _ran(child.returncode, child.stdout, child.stderr)


def _ran(code: int, out: str, err: str) -> Ran:
    leaks.check(out, "stdout")
    leaks.check(err, "stderr")
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return Ran(code, json.loads(out) if out.startswith("{") else None, lines, err)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": text} for name, text in tags.items()]


def _by_value(request: Request) -> bool:
    return "apiKeySecret" in request.query


def _refusal(status: int) -> FaultKind:
    return FaultKind.THROTTLE if status == 429 else FaultKind.STATUS_BEFORE
