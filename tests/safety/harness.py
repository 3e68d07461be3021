"""A simulated Infobip, Secrets Manager by moto, and the rotator as its users run it.

Nothing of ``rotator`` is imported but its command line and the sandbox, and that in ``tests/support``, this file
and ``conftest.py`` only.

A :class:`System` has one Infobip, one clock and any number of AWS regions; a :class:`Region` has secrets and runs the
rotator. Tests assert what Infobip and Secrets Manager hold, exit codes, ``--json`` documents and audit lines.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import timedelta

from rotator.sandbox.aws import environment
from rotator.sandbox.clocks import OffsetClock, VirtualClock
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import SimKey, SimUser
from tests import leaks
from tests.safety.aws_answers import AwsAnswers
from tests.support.commands import Ran, called
from tests.support.faulty_infobip import FaultyInfobip
from tests.support.local_world import LocalWorld
from tests.support.moments import DAY, HOUR
from tests.support.moto import Moto
from tests.support.rotator import Rotator
from tests.support.swept import Swept
from tests.support.verbs import SCOPES

__all__ = ["ADMIN_SCOPES", "DAY", "HOUR", "SCOPES", "InfobipServer", "Region", "SimKey", "Swept", "System"]

ADMIN_SCOPES = ("account-management:manage", "sms:manage", "voice:manage")


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
    moto: Moto
    aws: AwsAnswers
    environment: dict[str, str] = field(default_factory=dict)

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)

    def region(self, name: str = "eu-central-1") -> Region:
        """One AWS region: its secrets, and the rotator that runs there."""
        return Region(
            self.infobip, self.infobip_url, self.moto.url, self.clock, self.moto.client(name), name, system=self
        )


@dataclass(repr=False)
class Region(LocalWorld, Rotator):
    """Secrets of one AWS region, and the rotator that runs there."""

    system: System = field(kw_only=True)

    def __post_init__(self) -> None:
        self.environment = self.system.environment

    # ---- Secrets Manager --------------------------------------------------------------------------------------------

    def use_credentials(self, user: SimUser, infobip_url: str, account: str = "main") -> None:
        """An operator stores another user's credentials in a management secret."""
        value = {"base_url": infobip_url, "username": user.username, "password": leaks.register(user.password)}
        self.client.put_secret_value(SecretId=f"rotator/{account}", SecretString=json.dumps(value))

    def recreate(self, name: str, account: str = "main", **tags: str) -> str:
        """Delete a managed secret for good and create one of the same name without a value; gives the new ARN."""
        before = self.arn(name)
        self.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        after = self.create(name, account, **tags)
        assert after != before
        return after

    def unreadable(self, name: str, unreadable: bool = True) -> None:
        denied = self.system.aws.denied
        (denied.add if unreadable else denied.discard)(self.arn(name))

    # ---- the rotator ------------------------------------------------------------------------------------------------

    def run(self, *arguments: str) -> Ran:
        aws = environment(self.aws_url, self.region)
        return called(arguments, {**os.environ, **aws, **self.system.environment})

    def sweep(self, *arguments: str) -> Swept:
        return Swept(**vars(self.run("run", "--json", *arguments)))

    def plan(self, *arguments: str) -> Swept:
        return Swept(**vars(self.run("plan", "--json", *arguments)))

    def rotate(self, name: str) -> SimKey:
        ran = self.run("rotate", name, "--reason", "test")
        assert ran.code == 0, ran.err
        return self.current_key(name)
