"""A simulated Infobip that does what is requested, and answers something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rotator.sandbox.exchange import Drop, Request, Response
from tests.support.faulty_infobip import FaultyInfobip
from tests.world import World

Alter = Callable[[Request, Any], Any]
"""Gets a request and the parsed true answer; gives what is answered instead."""


class AlteredInfobip(FaultyInfobip):
    """The simulated Infobip; its good answers pass through ``alter``."""

    alter: Alter | None = None

    def handle(self, request: Request) -> Response | Drop:
        answer = super().handle(request)
        if self.alter is None or isinstance(answer, Drop) or answer.status >= 300 or not answer.body:
            return answer
        return replace(answer, body=json.dumps(self.alter(request, answer.json())).encode())

    @property
    def puts(self) -> set[str]:
        """The ids of keys that were changed, or that a call tried to change."""
        return {call.path.rpartition("/")[2] for call in self.calls if call.method == "PUT"}


def altered_world(**options: Any) -> tuple[World, AlteredInfobip]:
    """A world whose Infobip answers truly until ``alter`` is set."""
    world = World(**options)
    infobip = AlteredInfobip(world.clock)
    world.infobip = infobip
    world.account("main")
    return world, infobip


def keys_in(answer: Any) -> list[dict[str, Any]]:
    """The keys of an answer, of whatever kind it is."""
    if not isinstance(answer, dict):
        return []
    if isinstance(answer.get("apiKeys"), list):
        return list(answer["apiKeys"])
    return [answer] if "enabled" in answer else []
