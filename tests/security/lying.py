"""An Infobip that does what it is asked, and says something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rotator.sandbox.exchange import Drop, Request, Response
from rotator.sandbox.infobip import InfobipWorld
from tests.world import World

Lie = Callable[[Request, Any], Any]
"""Gets a request and the parsed true answer; gives what is answered instead."""


class Lying(InfobipWorld):
    """The simulated Infobip; its good answers pass through ``lie``."""

    lie: Lie | None = None

    def handle(self, request: Request) -> Response | Drop:
        answer = super().handle(request)
        if self.lie is None or isinstance(answer, Drop) or answer.status >= 300 or not answer.body:
            return answer
        return replace(answer, body=json.dumps(self.lie(request, answer.json())).encode())

    @property
    def puts(self) -> set[str]:
        """The ids of keys that were changed, or that somebody tried to change."""
        return {call.path.rpartition("/")[2] for call in self.calls if call.method == "PUT"}


def lying_world(**options: Any) -> tuple[World, Lying]:
    """A world whose Infobip tells the truth until it is given a lie."""
    world = World(**options)
    liar = Lying(world.clock)
    world.infobip = liar
    world.account("main")
    return world, liar


def keys_in(answer: Any) -> list[dict[str, Any]]:
    """The keys of an answer, of whatever kind it is."""
    if not isinstance(answer, dict):
        return []
    if isinstance(answer.get("apiKeys"), list):
        return list(answer["apiKeys"])
    return [answer] if "enabled" in answer else []
