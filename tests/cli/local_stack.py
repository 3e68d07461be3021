"""The command line over a local stack: the simulated Infobip over HTTP, and Secrets Manager by moto."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from rotator.sandbox.aws import environment
from rotator.sandbox.launcher import seed
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.support.commands import Ran, called
from tests.support.local_world import LocalWorld


@dataclass(repr=False)
class Stack(LocalWorld):
    """Infobip, Secrets Manager, and the command line against them."""

    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unwanted = ("ROTATOR_", "AWS_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "CLICOLOR_FORCE")
        clean = {name: text for name, text in os.environ.items() if not name.startswith(unwanted)}
        self.environment = clean | environment(self.aws_url)

    def seed(self) -> dict[str, SimKey]:
        """The example fleet; gives the keys by secret. Whatever the time of day, no window in it is open."""
        fleet = seed(self.infobip, self.client, self.infobip_url)
        leaks.register(fleet.user.password)
        opens = self.clock.now() + timedelta(hours=12)
        self.tag("prod/whatsapp/bot", window=f"{opens:%a %H:%M}-{opens + timedelta(hours=1):%H:%M} UTC")
        return dict(fleet.keys)

    def run(self, *arguments: str, stdin: str | None = None, env: Mapping[str, str | None] | None = None) -> Ran:
        """One command to its end, in this process; its output is searched for secret values."""
        return called(arguments, self.chosen(env), stdin)

    def chosen(self, env: Mapping[str, str | None] | None) -> dict[str, str]:
        """The environment, with changes; what is ``None`` is not in it."""
        return {name: text for name, text in (self.environment | dict(env or {})).items() if text is not None}
