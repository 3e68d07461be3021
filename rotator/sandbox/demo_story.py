"""The demo's script: 120 days, a sweep a day, and what befalls a fleet in that time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.sandbox.aws import consumer_value
from rotator.sandbox.demo_score import Referee, Score
from rotator.sandbox.demo_show import Narrator
from rotator.sandbox.demo_sweep import HOUR, Sweeper
from rotator.sandbox.demo_world import START, DemoWorld
from rotator.sandbox.faults import Fault, FaultKind
from rotator.secret import Secret
from rotator.telemetry.audit import Trigger
from rotator.text import short_id

DAYS: Final = 120
CREATES: Final = "/settings/2/api-keys$"
INCIDENT: Final = "INC-4711"


class Story:
    """Lets the days pass. Each event is a method, and comes before a day's sweep.

    ``_events`` says on which day; ``_when_due`` from which day on, as soon as there is something to rotate: without a
    rotation there is nothing to be killed or throttled.
    """

    def __init__(self, world: DemoWorld, referee: Referee, score: Score, narrator: Narrator) -> None:
        self._world, self._referee, self._score, self._narrator = world, referee, score, narrator
        self._sweeper = Sweeper(world, referee, score, narrator)
        self._events: dict[int, Callable[[], None]] = {
            0: self._take_over,
            2: self._mend_a_tag,
            9: self._lift_the_hold,
            61: self._down,
            75: self._by_hand,
            100: self._leak,
        }
        self._when_due: list[tuple[int, Callable[[], None]]] = [
            (21, self._killed_before_storing),
            (31, self._killed_before_promoting),
            (41, self._throttled),
            (62, self._lost_answer),
            (82, self._killed_with_masked_values),
        ]

    def play(self) -> None:
        """From the first day to the last."""
        self._referee.step()
        for day in range(DAYS + 1):
            self._world.clock.set(START + timedelta(days=day))
            self._narrator.day(day, self._world.clock.now())
            event = self._events.get(day)
            if event is not None:
                event()
            if self._when_due and self._when_due[0][0] <= day and self._sweeper.due():
                self._when_due.pop(0)[1]()
            self._sweeper.sweep()
        self._score.days = DAYS

    # ---- what happens -----------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        self._narrator.chapter(
            "Taking over", "Eight secrets as they are met in the field; the first sweep sorts them out."
        )

    def _mend_a_tag(self) -> None:
        tag = {"Key": "rotator:grace", "Value": "72h"}
        self._world.operator.tag_resource(SecretId="prod/legacy", Tags=[tag])
        self._sweeper.tell("operator", "prod/legacy", "corrects rotator:grace to 72h")

    def _lift_the_hold(self) -> None:
        self._world.operator.untag_resource(SecretId="prod/marketing", TagKeys=["rotator:hold"])
        self._sweeper.tell("operator", "prod/marketing", "ends the hold; its key has a day")

    def _killed_before_storing(self) -> None:
        self._narrator.chapter(
            "Killed in the middle",
            "The process dies at the worst moments. There is no state to lose: the next sweep looks again.",
        )
        self._sweeper.killed("PutSecretValue", "after a create, before the store")

    def _killed_before_promoting(self) -> None:
        def promotes(params: dict[str, Any]) -> bool:
            return params.get("VersionStage") == "AWSCURRENT"

        self._sweeper.killed("UpdateSecretVersionStage", "after the store, before promotion", promotes)

    def _throttled(self) -> None:
        self._narrator.chapter("Bad days at Infobip", "A daily limit, an outage, an answer that gets lost.")
        faults = self._world.sandbox.world.faults
        faults.add(Fault(FaultKind.THROTTLE, method="POST", path=CREATES, count=None, retry_after="86400"))
        self._sweeper.tell("throttled", "Infobip", "answers 429 to creates for a day")
        self._sweeper.sweep()
        self._world.clock.advance(12 * HOUR)
        self._sweeper.sweep()
        self._world.clock.advance(12 * HOUR)
        faults.clear()

    def _down(self) -> None:
        with self._world.sandbox.infobip.refused():
            self._sweeper.tell("DOWN", "Infobip", "refuses connections for an hour")
            self._sweeper.sweep()
        self._world.clock.set(START + timedelta(days=61) + HOUR)

    def _lost_answer(self) -> None:
        faults = self._world.sandbox.world.faults
        faults.add(Fault(FaultKind.DROP_AFTER, method="POST", path=CREATES))
        self._sweeper.sweep(first=("lost", "prod/marketing", "a create's answer; found by name"))
        faults.clear()

    def _by_hand(self) -> None:
        self._narrator.chapter("By hand", "Somebody stores a key without asking anybody; it is taken over as it is.")
        world, client, name = self._world, self._world.operator, "prod/whatsapp/bot"
        key = world.sandbox.world.add_key(world.fleet.account, "made by hand", scopes=("whatsapp:manage",))
        before = client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["VersionId"]
        value = json.dumps({"api_key": key.value, "sender": "Example"})
        made = client.put_secret_value(SecretId=name, SecretString=value, VersionStages=["BY_HAND"])["VersionId"]
        # In two steps, since moto leaves two current versions after a plain put where AWS moves the label.
        move = {"SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": made, "RemoveFromVersionId": before}
        client.update_secret_version_stage(**move)
        client.update_secret_version_stage(SecretId=name, VersionStage="BY_HAND", RemoveFromVersionId=made)
        self._sweeper.tell("operator", name, f"stores key {short_id(key.id)} by hand")

    def _killed_with_masked_values(self) -> None:
        self._narrator.chapter(
            "Killed once more",
            "This time Infobip shows no key's value again: what was made and not stored is an orphan.",
        )
        self._world.sandbox.world.options.reveal = False
        self._sweeper.killed("PutSecretValue", "after a create, before the store")

    def _leak(self) -> None:
        name = "prod/sms/otp"
        self._narrator.chapter(
            "An emergency", "Replaced first, then ended at once: this is the one time when a cache hurts."
        )
        self._sweeper.tell("LEAKED", name, "in a ticket; found by its value")
        leaked = Secret(str(json.loads(consumer_value(self._world.operator, name))["api_key"]))
        before = self._score.refused_in_emergency
        with self._world.run(Trigger.EMERGENCY) as reconciler:
            emergency = Emergency(reconciler.services, "pasted in a ticket", INCIDENT)
            for plan in emergency.plan(Target(leaked=leaked), Strategy.REPLACE_FIRST):
                report = emergency.execute(plan)
                self._referee.excuse(report.revoked)
                self._score.revocations += len(report.revoked)
                self._score.rotations += len(report.replaced)
                self._score.failed_actions += len(report.errors)
                for step in report.steps:
                    key = f"key {short_id(step.key_id)}" if step.key_id else "the new key is current"
                    self._sweeper.tell(step.what, step.secret, f"{key}  {step.note}".rstrip())
        self._referee.step()
        refused = self._score.refused_in_emergency - before
        self._sweeper.tell("refused", name, f"{refused} call with the old, cached value")
        if not self._score.refused:
            self._sweeper.tell("served", name, "the next call, with the new value")
