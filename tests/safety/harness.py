"""A simulated Infobip, Secrets Manager by moto, and the rotator as its users run it.

Nothing of ``rotator`` is imported but its command line and the sandbox, and that in this file, ``infobip_faults.py``
and ``conftest.py`` only.

A :class:`System` has one Infobip, one clock and any number of AWS regions; a :class:`Region` has secrets and runs the
rotator. Tests assert what Infobip and Secrets Manager hold, exit codes, ``--json`` documents and audit lines.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from rotator.sandbox.aws import client as aws_client
from rotator.sandbox.aws import environment
from rotator.sandbox.clocks import OffsetClock, VirtualClock
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import SimAccount, SimKey, SimUser
from tests import leaks
from tests.cli.local_stack import Ran as CommandRan
from tests.cli.local_stack import called
from tests.safety.aws_answers import AwsAnswers
from tests.safety.infobip_faults import InfobipFaults
from tests.support.faulty_infobip import FaultyInfobip

__all__ = ["ADMIN_SCOPES", "DAY", "HOUR", "MACHINE", "SCOPES", "InfobipServer", "Ran", "Region", "SimKey", "System"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCOPES = ("sms:manage",)
ADMIN_SCOPES = ("account-management:manage", "sms:manage", "voice:manage")
MACHINE = "http://127.0.0.1:9"
"""Where the rotator asks for the time."""


class Ran(CommandRan):
    """One run of the rotator, with ``--json``."""

    @property
    def audit(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "seq" in line]

    def alerts(self, kind: str | None = None, secret: str | None = None) -> list[dict[str, Any]]:
        """The alerts of every account, of one kind or about one secret where given."""
        every = [alert for account in self.document["accounts"] for alert in account["alerts"]]
        of_kind = [alert for alert in every if kind in (None, alert["kind"])]
        return [alert for alert in of_kind if secret in (None, alert["secret"])]

    def results(self, kind: str, outcome: str = "done") -> list[dict[str, Any]]:
        """The actions of one kind that had that outcome."""
        return [each for each in self.document["results"] if (each["kind"], each["outcome"]) == (kind, outcome)]


class MachineClock(OffsetClock):
    """The clock of the machine that runs the rotator: Infobip's, and how far it is wrong. Time passes for both."""

    def __init__(self, true_clock: VirtualClock) -> None:
        super().__init__(true_clock)
        self._true = true_clock

    def be_wrong_by(self, by: timedelta) -> None:
        """The machine's clock is set; no time passes."""
        self.set(self._true.now() + by)

    def sleep(self, seconds: float) -> None:
        self._true.sleep(seconds)

    def advance(self, by: timedelta) -> None:
        self._true.advance(by)


@dataclass(repr=False)
class System:
    """One Infobip, one clock, and AWS."""

    infobip: FaultyInfobip
    infobip_url: str
    clock: VirtualClock
    machine: MachineClock
    moto_url: str
    aws: AwsAnswers
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> InfobipFaults:
        """What Infobip does wrong."""
        return InfobipFaults(self.infobip)

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)

    def region(self, name: str = "eu-central-1") -> Region:
        """One AWS region: its secrets, and the rotator that runs there."""
        return Region(self, name, aws_client(self.moto_url, name))

    # ---- Infobip ----------------------------------------------------------------------------------------------------

    def account(self, login: str = "ops") -> tuple[SimAccount, SimUser]:
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
        return {key.id: key for key in self.infobip.keys() if key.enabled}

    def rotator_keys(self) -> list[SimKey]:
        """Every key that a rotator named, oldest first."""
        return [key for key in self.infobip.keys() if "/rotator:" in key.name]

    def calls(self) -> list[str]:
        """Method, path and the names of the parameters of every request that Infobip got."""
        return [" ".join([call.method, call.path, *call.params]) for call in self.infobip.calls]


@dataclass(repr=False)
class Region:
    """Secrets of one AWS region, and the rotator that runs there."""

    system: System
    name: str
    aws: Any

    # ---- Secrets Manager --------------------------------------------------------------------------------------------

    def management(self, user: SimUser, account: str = "main") -> None:
        """A management secret for the account with that name."""
        value = self._credentials(user, self.system.infobip_url)
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

    def secret(
        self,
        name: str,
        *,
        account: str = "main",
        left: timedelta = 60 * DAY,
        lifetime: timedelta = 90 * DAY,
        **tags: str,
    ) -> SimKey:
        """A managed secret that was adopted, and its key, made by hand; it is due with a third of its lifetime left."""
        self.create(name, account, **tags)
        key = self.system.key(f"by hand for {name}", left=left, age=lifetime - left)
        self.put(name, {"api_key": key.value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
        return key

    def put(
        self, name: str, value: str | bytes | Mapping[str, str], labels: Sequence[str], version: str | None = None
    ) -> str:
        """Store a value with any labels, as any principal with write access can; gives the version's id."""
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        stored = {"SecretBinary": text} if isinstance(text, bytes) else {"SecretString": text}
        token = {"ClientRequestToken": version} if version else {}
        before = self.labels(name)
        made = self.aws.put_secret_value(SecretId=name, VersionStages=[*labels], **stored, **token)["VersionId"]
        # AWS moves the labels that were given; moto takes the other labels off the version that was current, too.
        now = self.every_label(name)
        for older, lost in ((older, every - now) for older, every in before.items()):
            for label in lost:
                self.aws.update_secret_version_stage(SecretId=name, VersionStage=label, MoveToVersionId=older)
        return str(made)

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
        self.aws.untag_resource(SecretId=name, TagKeys=[*tags])

    def arn(self, name: str) -> str:
        return str(self.aws.describe_secret(SecretId=name)["ARN"])

    def labels(self, name: str) -> dict[str, set[str]]:
        """The labels by version; versions without any are left out."""
        stages = self.aws.describe_secret(SecretId=name).get("VersionIdsToStages", {})
        return {version: set(labels) for version, labels in stages.items() if labels}

    def every_label(self, name: str) -> set[str]:
        return {label for labels in self.labels(name).values() for label in labels}

    def current_version(self, name: str) -> str:
        return next(version for version, labels in self.labels(name).items() if "AWSCURRENT" in labels)

    def value(self, name: str) -> dict[str, Any]:
        read = self.aws.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"]
        return cast(dict[str, Any], json.loads(read))

    def current_key(self, name: str, value_field: str = "api_key") -> SimKey:
        """The key at Infobip that a consumer reads."""
        key = self.system.infobip.key_of(self.value(name)[value_field])
        assert key is not None
        return key

    def key_name(self, name: str, version: str, deployment: str = "default") -> str:
        """The name that the contract gives a key of that secret and version."""
        secret_id = hashlib.sha256(self.arn(name).encode()).hexdigest()[:10]
        return f"{name}/rotator:{deployment}:{secret_id}:{version}"

    def unreadable(self, name: str) -> None:
        """The value of that secret cannot be read by the rotator from now on."""
        self.system.aws.denied.add(self.arn(name))

    # ---- the rotator ------------------------------------------------------------------------------------------------

    def run(self, *arguments: str) -> Ran:
        aws = environment(MACHINE, self.system.moto_url, self.name)
        ran = called(arguments, {**os.environ, **aws, **self.system.environment})
        return Ran(ran.code, ran.out, ran.err)

    def sweep(self, *arguments: str) -> Ran:
        return self.run("run", "--json", *arguments)

    def plan(self, *arguments: str) -> Ran:
        return self.run("plan", "--json", *arguments)

    def rotate(self, name: str) -> SimKey:
        """``rotator rotate``; gives the new current key."""
        ran = self.run("rotate", name, "--reason", "test")
        assert ran.code == 0, ran.err
        return self.current_key(name)

    def sweeps(self, count: int, every: timedelta = HOUR) -> list[Ran]:
        """That many sweeps, each after that time."""
        found = []
        for _ in range(count):
            self.system.advance(every)
            found.append(self.sweep())
        return found


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": text} for name, text in tags.items()]
