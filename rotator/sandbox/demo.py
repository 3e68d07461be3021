"""The demo: 120 days of the example fleet in an embedded sandbox, with the real engine and adapters over HTTP."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rotator import bootstrap
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.durations import DAY
from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.reconcile import Reconciler
from rotator.evidence.history import History
from rotator.evidence.pack import write_pack
from rotator.message import Message
from rotator.plan import ActionKind, Outcome, Result
from rotator.policy.status import SecretState
from rotator.reasons import Reason
from rotator.sandbox.aws import DUMMY_CREDENTIALS, REGION, consumer_value
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.demo_score import Referee, Score
from rotator.sandbox.exchange import Drop, DropKind, ErrorStyle, Refusal, Request, Response, error_response
from rotator.sandbox.infobip import KEYS_API, Answering
from rotator.sandbox.launcher import Sandbox
from rotator.secret import Secret
from rotator.telemetry.audit import Trigger
from rotator.telemetry.audit_verify import VerifyReport, open_lines, verify
from rotator.text import short_id

DEMO_DAYS: Final = 120
START: Final = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
"""A Sunday, nine days before the example fleet's audit freeze ends."""
INCIDENT: Final = "INC-4711"
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """One line of the story."""

    at: datetime
    what: str
    secret: str
    detail: str | Message

    @property
    def day(self) -> int:
        """Days since the start."""
        return (self.at - START).days


@dataclass(slots=True)
class Chapter:
    """A part of the story."""

    title: str
    text: str
    events: list[DemoEvent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo's result."""

    ok: bool
    score: Score
    chapters: list[Chapter]
    states: tuple[SecretState, ...]
    ended_at: datetime
    audit: VerifyReport
    evidence: Path


def play_demo(
    audit_file: Path, evidence: Path, *, seed: int = 1, on_day: Callable[[int], None] = lambda _day: None
) -> Demo:
    """Let 120 days of the example fleet pass in less than a minute, and judge them.

    Meanwhile, the sandbox's AWS settings replace the user's, so that no real account is reached.

    :param audit_file: gets the lines of every run.
    :param evidence: an empty folder; gets an auditor's evidence for the 120 days.
    :param seed: of ids and values.
    :raises ConfigurationError: moto is missing, or the audit file can't be written.
    """
    clock, score = VirtualClock(START), Score(days=DEMO_DAYS)
    with _own_environment(), Sandbox(clock=clock, world_seed=seed) as sandbox:
        os.environ.update(sandbox.environment)
        foundation = bootstrap.prepare(stream=io.StringIO(), environ={}, clock=clock)
        story = _Story(sandbox, foundation, audit_file, score)
        for day in range(DEMO_DAYS + 1):
            clock.set(START + timedelta(days=day))
            on_day(day)
            story.live(day)
        with story.run(Trigger.MANUAL) as reconciler:
            states, _ = reconciler.states()
            history = History(foundation.settings.deployment, START, clock.now() + _HOUR)
            with contextlib.ExitStack() as closing:
                history.read(audit_file.name, open_lines(audit_file, closing))
            daily = dataclasses.replace(foundation.settings, sweep_every=DAY)
            services = dataclasses.replace(reconciler.services, policy=daily)
            write_pack(services, history, evidence, foundation.redactor)
        texts = [str(event.detail) for chapter in story.chapters for event in chapter.events]
        files = (each.read_text(encoding="utf-8", errors="replace") for each in (audit_file, *evidence.iterdir()))
        story.referee.finish(*files, *texts)
        report = verify(audit_file)
        return Demo(score.ok and report.ok, score, story.chapters, states, clock.now(), report, evidence)


class _Crash(BaseException):
    """A crash of the process. Not an ``Exception``, so that no code handles it."""


def _die(**_: object) -> None:
    raise _Crash


class _Story:
    """A sweep a day, and the events that happen to a fleet.

    ``_events`` happen on their day. ``_when_due`` happen from their day on, as soon as there is something to rotate:
    without a rotation nothing can crash or be throttled.
    """

    def __init__(self, sandbox: Sandbox, foundation: bootstrap.Foundation, audit_file: Path, score: Score) -> None:
        self.chapters: list[Chapter] = []
        self._sandbox, self._world, self._audit_file, self._score = sandbox, sandbox.world, audit_file, score
        self._operator, self._clock = sandbox.client(), sandbox.clock
        self._client = sandbox.client()
        store = SecretsManagerStore(self._client, foundation.redactor)
        self._foundation = dataclasses.replace(foundation, store=store)
        self.referee = Referee(score, sandbox, SecretsManagerStore(self._operator), foundation.settings)
        self._interrupted: set[str] = set()
        self._reported: set[tuple[str, str]] = set()
        self._events: dict[int, Callable[[], None]] = {
            0: self._take_over,
            2: self._fix_a_tag,
            9: self._lift_the_hold,
            61: self._outage,
            75: self._store_by_hand,
            100: self._leak,
        }
        self._when_due: list[tuple[int, Callable[[], None]]] = [
            (21, self._crash_before_storing),
            (31, self._crash_before_promoting),
            (41, self._throttled),
            (62, self._lost_answer),
            (82, self._crash_with_masked_values),
        ]

    def live(self, day: int) -> None:
        """One day: what happens on it, then the sweep."""
        if day in self._events:
            self._events[day]()
        if self._when_due and self._when_due[0][0] <= day and self._due():
            self._when_due.pop(0)[1]()
        self._sweep()

    @contextlib.contextmanager
    def run(self, trigger: Trigger = Trigger.SCHEDULE) -> Iterator[Reconciler]:
        """One run of the program, with an audit trail of its own."""
        app = self._foundation.start(trigger=trigger, actor="demo", audit_file=str(self._audit_file))
        try:
            yield Reconciler(app.services)
        finally:
            app.close()

    # ---- sweeps -----------------------------------------------------------------------------------------------------

    def _due(self) -> list[str]:
        """The secrets that a sweep would rotate now, in its order."""
        with self.run() as reconciler:
            actions = [action for plan in reconciler.plan().accounts for action in plan.actions]
        return [action.secret for action in actions if action.kind is ActionKind.ROTATE]

    def _sweep(self) -> None:
        """Sweep, add the results to the story, and let the consumers use the keys.

        A skipped secret or an alert that recurs every day is reported once.
        """
        with self.run() as reconciler:
            sweep = reconciler.sweep()
        self._score.sweeps += 1
        news: dict[tuple[str, str], tuple[str, str | Message]] = {}
        for result in sweep.results:
            self._count(result)
            if result.outcome is Outcome.DEFERRED:
                news[result.action.secret, "deferred"] = "deferred", "waits for the next sweep"
            elif (line := _line(result)) is not None:
                self._add(line[0], result.action.secret, line[1])
        for plan in sweep.plan.accounts:
            if plan.error is not None:
                self._add("not swept", plan.account, "nothing was changed")
            for skip in plan.skipped:
                news[skip.secret, skip.reason] = "waits" if skip.reason is Reason.WINDOW else "skipped", skip.message
            for alert in plan.alerts:
                news.setdefault((alert.secret or "", alert.kind), ("alert", alert.message))
        for (secret, reason), (what, detail) in news.items():
            if (secret, reason) not in self._reported:
                self._add(what, secret, detail)
        self._reported = set(news)
        self.referee.step()

    def _crash(self, call: str, when: str) -> None:
        """A sweep that crashes right before a call to Secrets Manager; the next one starts an hour later."""
        due, events = self._due()[:1], self._client.meta.events
        events.register(f"before-call.secrets-manager.{call}", _die)
        try:
            with self.run() as reconciler:
                reconciler.sweep()
        except _Crash:
            self._score.crashes += 1
            self._interrupted.update(due)
            self._add("CRASHED", "".join(due), when)
        finally:
            events.unregister(f"before-call.secrets-manager.{call}", _die)
        self._score.sweeps += 1
        self.referee.step()
        self._clock.advance(_HOUR)

    def _count(self, result: Result) -> None:
        score, action = self._score, result.action
        score.failed_actions += result.outcome is Outcome.FAILED
        if result.outcome is Outcome.DONE:
            score.rotations += result.promoted is not None
            score.revocations += action.costs_update
            score.adoptions += action.reason is Reason.UNADOPTED
            if result.promoted is not None and action.secret in self._interrupted:
                self._interrupted.discard(action.secret)
                score.recoveries += 1

    def _add(self, what: str, secret: str, detail: str | Message) -> None:
        self.chapters[-1].events.append(DemoEvent(self._clock.now(), what, secret, detail))

    # ---- what happens -----------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        text = "Eight typical secrets; the first sweep adopts them."
        self.chapters.append(Chapter("Adoption", text))
        self.referee.step()

    def _fix_a_tag(self) -> None:
        tags = [{"Key": "rotator:grace", "Value": "72h"}]
        self._operator.tag_resource(SecretId="prod/legacy", Tags=tags)
        self._add("operator", "prod/legacy", "corrects rotator:grace to 72h")

    def _lift_the_hold(self) -> None:
        self._operator.untag_resource(SecretId="prod/marketing", TagKeys=["rotator:hold"])
        self._add("operator", "prod/marketing", "lifts the hold; one day is left")

    def _crash_before_storing(self) -> None:
        text = "The process crashes at the worst moments. It keeps no state, so the next sweep simply continues."
        self.chapters.append(Chapter("Crashes mid-rotation", text))
        self._crash("PutSecretValue", "after the create, before the store")

    def _crash_before_promoting(self) -> None:
        self._crash("UpdateSecretVersionStage", "after the store, before promotion")

    def _throttled(self) -> None:
        self.chapters.append(Chapter("Bad days at Infobip", "A daily limit, an outage, a lost response."))
        self._world.network = _throttle_creates
        self._add("throttled", "Infobip", "answers 429 to creates for a day")
        for _ in range(2):
            self._sweep()
            self._clock.advance(12 * _HOUR)
        self._world.network = None

    def _outage(self) -> None:
        with self._sandbox.infobip.refused():
            self._add("DOWN", "Infobip", "refuses connections for an hour")
            self._sweep()
        self._clock.advance(_HOUR)

    def _lost_answer(self) -> None:
        self._world.network = self._lose_answer
        self._add("lost", self._due()[0], "the response to a create; the key is found by its name")
        self._sweep()

    def _lose_answer(self, request: Request, answer: Answering) -> Response | Drop:
        """Lose the response to the next create, and nothing else."""
        given = answer(request)
        if not _is_create(request):
            return given
        self._world.network = None
        return Drop(DropKind.CLOSED)

    def _store_by_hand(self) -> None:
        self.chapters.append(Chapter("By hand", "An operator stores a key by hand; the rotator adopts it."))
        client, name = self._operator, "prod/whatsapp/bot"
        key = self._world.add_key(self._sandbox.fleet.account, "made by hand", scopes=("whatsapp:manage",))
        before = client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["VersionId"]
        value = json.dumps({"api_key": key.value, "sender": "Example"})
        made = client.put_secret_value(SecretId=name, SecretString=value, VersionStages=["BY_HAND"])["VersionId"]
        # In two steps: after a plain put, AWS moves the label, but moto leaves two current versions.
        move = {"SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": made, "RemoveFromVersionId": before}
        client.update_secret_version_stage(**move)
        client.update_secret_version_stage(SecretId=name, VersionStage="BY_HAND", RemoveFromVersionId=made)
        self._add("operator", name, f"stores key {short_id(key.id)} by hand")

    def _crash_with_masked_values(self) -> None:
        text = "This time Infobip does not return a key's value again: a key that was not stored becomes an orphan."
        self.chapters.append(Chapter("One more crash", text))
        self._world.options.reveal = False
        self._crash("PutSecretValue", "after the create, before the store")

    def _leak(self) -> None:
        text = "Replaced first, then revoked immediately: the only case in which a caching consumer is refused."
        self.chapters.append(Chapter("An emergency", text))
        name = "prod/sms/otp"
        self._add("LEAKED", name, "in a ticket; found by its value")
        leaked = Secret(str(json.loads(consumer_value(self._operator, name))["api_key"]))
        with self.run(Trigger.EMERGENCY) as reconciler:
            emergency = Emergency(reconciler.services, "pasted in a ticket", INCIDENT)
            report = emergency.execute(emergency.plan(Target(leaked=leaked), Strategy.REPLACE_FIRST))
            self.referee.excuse(report.revoked)
            self._score.revocations += len(report.revoked)
            self._score.rotations += len(report.replaced)
            self._score.failed_actions += len(report.errors)
            for step in report.steps:
                key = f"key {short_id(step.key_id or '')}" if step.what != "promoted" else "the new key is current"
                self._add(step.what, step.secret, f"{key}  {step.note}".rstrip())
        self.referee.step()
        self._add("refused", name, f"{self._score.refused_in_emergency} call with the old, cached value")


def _is_create(request: Request) -> bool:
    return (request.method, request.path) == ("POST", KEYS_API)


def _throttle_creates(request: Request, answer: Answering) -> Response | Drop:
    if not _is_create(request):
        return answer(request)
    refusal = Refusal(429, "too many requests", headers={"Retry-After": "86400"})
    return error_response(refusal, request.path, ErrorStyle.DOCUMENTED)


def _line(result: Result) -> tuple[str, str] | None:
    """Return what was done, in a few words; ``None`` for labels that were only corrected or removed."""
    action = result.action
    old, new = short_id(action.key_id or ""), short_id(result.promoted.key_id if result.promoted else "")
    match action.kind:
        case _ if result.outcome is Outcome.FAILED:
            return "failed", result.error or ""
        case ActionKind.ROTATE if action.reason is Reason.FIRST_KEY:
            return "first key", f"key {new} for a secret without a value"
        case ActionKind.ROTATE:
            return "rotated", f"key {old} → {new}"
        case ActionKind.RESUME:
            return "recovered", f"key {new}, found and promoted"
        case ActionKind.LABEL if action.reason is Reason.UNADOPTED:
            return "adopted", f"key {old}, found by its value"
        case ActionKind.RETIRE:
            return "retiring", f"key {old}, its grace period starts"
        case ActionKind.REVOKE if action.costs_update:
            why = "an orphan" if action.reason is Reason.ORPHAN else "its grace period is over"
            return "revoked", f"key {old}, {why}"
    return None


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Hide the user's AWS settings. A profile that does not exist would stop even a client with its own credentials."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "BOTO_")):
            del os.environ[name]
    os.environ.update(DUMMY_CREDENTIALS, AWS_DEFAULT_REGION=REGION)
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
