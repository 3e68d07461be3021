"""An Infobip in this process that answers from a script."""

from __future__ import annotations

from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.exchange import Drop, Request, Response
from rotator.sandbox.infobip import InfobipWorld
from tests.support.moments import START


class Scripted(InfobipWorld):
    """An Infobip that answers from a script, the last answer again and again."""

    def __init__(self, answers: list[Response | Drop]) -> None:
        super().__init__(VirtualClock(START))
        self.answers = answers
        self.requests: list[Request] = []

    def handle(self, request: Request) -> Response | Drop:
        self.requests.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
