"""The engine over the world in memory, with the command line's kind of result."""

from __future__ import annotations

import json
from typing import Any

from rotator.cli.documents import as_json, sweep_document
from rotator.engine.rotate_now import rotate_now
from rotator.sandbox.state import SimKey
from rotator.settings import Settings
from tests.support.commands import assert_documented
from tests.support.rotator import Rotator
from tests.support.swept import Swept
from tests.world import MemoryWorld


class Engine(MemoryWorld, Rotator):
    """A sweep takes a few milliseconds here, and a second by the command line."""

    def __init__(self) -> None:
        super().__init__()
        self.environment = {}

    def sweep(self) -> Swept:
        read = len(self.stream.getvalue())
        self.policy = Settings.from_env(self.environment)
        done = self.reconciler().sweep()
        return self._ran("run", 0 if done.succeeded else 1, sweep_document(done.plan, done.results), read)

    def plan(self) -> Swept:
        read = len(self.stream.getvalue())
        return self._ran("plan", 0, as_json(self.reconciler().plan()), read)

    def rotate(self, name: str) -> SimKey:
        rotate_now(self.services(), name, "test")
        return self.current_key(name)

    def unreadable(self, name: str, unreadable: bool = True) -> None:
        self.store.deny_kms(name, unreadable)

    def _ran(self, command: str, code: int, document: Any, read: int) -> Swept:
        text = json.dumps(document)
        assert_documented(command, json.loads(text))
        return Swept(code, text, self.stream.getvalue()[read:])
