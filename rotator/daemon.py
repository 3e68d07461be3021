"""The daemon: runs one sweep after the other by a schedule (APScheduler 3), until it is stopped.

Sweeps run in the scheduler's only pool thread. The main thread waits, holding no locks when a signal arrives. After a
stop, a sweep starts no further action, finishes the current call, and ends waits between calls at once.

APScheduler computes a wait from the wall clock when the wait starts, so after the clock was set it would start the next
sweep too late. So the main thread lets it read the clock again once a minute (the clock was set forward, or the machine
slept), and starts a sweep that is late by the monotonic clock (the clock was set back).
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from secrets import SystemRandom
from typing import Any, Final

from apscheduler import events
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

from rotator.bootstrap import Foundation
from rotator.clock import SystemClock
from rotator.durations import human_duration
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import ACTOR, NO_ACCOUNT, counts, problems
from rotator.errors import RotatorError
from rotator.message import utc_text
from rotator.metrics_server import PrometheusMetrics
from rotator.ports import Clock
from rotator.reasons import Reason
from rotator.redaction.patterns import redact_key_values
from rotator.telemetry.audit import Trigger
from rotator.timetable import Schedule

DRAIN_SECONDS: Final = 8.0
"""How long a stopping daemon waits for the current call. Supervisors often end a process after 10 s."""
LOG_IF_LATER: Final = timedelta(seconds=60)
"""A sweep that starts later than this is logged."""
WAKE_IF_LATER: Final = timedelta(minutes=4)
"""A sweep that is later than this by the monotonic clock is started."""
CLOCK_CHECK_SECONDS: Final = 60.0
"""How often that is checked: together, a wall clock that is set back costs at most five minutes."""
_JOB: Final = "sweep"
_LOG = logging.getLogger("rotator.daemon")


class Stopped(BaseException):
    """The daemon is stopping. Not an ``Exception``, so that no handler treats it as a failure of one secret."""


class StoppableClock(SystemClock):
    """The system clock; its ``sleep`` raises :class:`Stopped` as soon as ``stopping`` is set."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds.

        :raises Stopped: the daemon is stopping.
        """
        if self._stopping.wait(max(0.0, seconds)):
            raise Stopped


class Health:
    """The daemon's health: unhealthy if no sweep has succeeded in the time of three sweeps.

    Time is measured by the monotonic clock, so that a wall clock that is set hides nothing. A sweep under a wrong clock
    does not succeed.
    """

    def __init__(self, schedule: Schedule, clock: Clock | None = None) -> None:
        self._schedule = schedule
        self._clock = clock or SystemClock()
        self._success: datetime | None = None
        self._since, self._until = self._from_now()

    def succeeded(self) -> None:
        """Record that a sweep completed without a failure."""
        self._success = self._clock.now()
        self._since, self._until = self._from_now()

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the daemon is healthy, and details such as the last success."""
        now, up = self._clock.now(), self._clock.monotonic()
        details = {
            "last_success": None if self._success is None else utc_text(self._success),
            "unhealthy_from": utc_text(now + timedelta(seconds=self._until - up)),
        }
        if up < self._until:
            return True, details
        reason = f"no sweep has succeeded for {human_duration(timedelta(seconds=up - self._since))}"
        return False, details | {"reason": reason}

    def _from_now(self) -> tuple[float, float]:
        """Return now, and the deadline of the next success, by the monotonic clock."""
        now, up = self._clock.now(), self._clock.monotonic()
        return up, up + (self._schedule.overdue_at(now) - now).total_seconds()


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no type hints
    """Adapts a schedule to APScheduler, and knows by the monotonic clock when the next sweep is late.

    ``late_from`` is that moment, in seconds of the clock.
    """

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock
        self.late_from = self._late_after(timedelta(0))

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next time, plus a random part of the jitter, which differs between replicas."""
        due = self._schedule.after(max(now, previous_fire_time or now))
        due += timedelta(seconds=SystemRandom().uniform(0, self._schedule.jitter.total_seconds()))
        self.late_from = self._late_after(due - now)
        return due

    def _late_after(self, wait: timedelta) -> float:
        return self._clock.monotonic() + (wait + WAKE_IF_LATER).total_seconds()


class Daemon:
    """Sweeps by a schedule.

    :param foundation: made with a :class:`StoppableClock`; its metrics are set here.
    :param stopping: the event that this clock waits for.
    :param account: sweep only this Infobip account.
    :param audit_file: a file to which every sweep also appends its audit lines.
    :param clock: used for health, and to detect that a sweep is late.
    """

    def __init__(
        self,
        foundation: Foundation,
        schedule: Schedule,
        stopping: threading.Event,
        *,
        account: str | None = None,
        audit_file: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.metrics = PrometheusMetrics(foundation.settings.deployment, redact_key_values)
        self.health = Health(schedule, self._clock)
        self._foundation = foundation
        foundation.metrics = self.metrics
        self.trigger = ScheduleTrigger(schedule, self._clock)
        self._account = account
        self._audit_file = audit_file
        self._stopping = stopping
        self._idle = threading.Event()
        self._idle.set()
        self._ended = threading.Event()
        self._previous: datetime | None = None
        self._scheduler = BlockingScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )

    def run(self, first: datetime | None = None) -> None:
        """Sweep now (or at ``first``) and then by the schedule. Returns only if the scheduler fails.

        :raises BaseException: an exception from a signal handler; call :meth:`stop` then.
        """
        # `_note` logs the same, about sweeps rather than jobs.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler.add_listener(self._note, events.EVENT_JOB_SUBMITTED | events.EVENT_JOB_MAX_INSTANCES)
        first = first or datetime.now(UTC)
        self._scheduler.add_job(self.sweep, self.trigger, id=_JOB, name=_JOB, next_run_time=first)
        threading.Thread(target=self._keep_schedule, name="schedule", daemon=True).start()
        while not self._ended.wait(CLOCK_CHECK_SECONDS):
            self.check_clock()

    def _keep_schedule(self) -> None:
        """Run the scheduler until it ends, so that a daemon without a schedule does not wait forever."""
        try:
            self._scheduler.start()
        except Exception as error:
            _LOG.exception("the scheduler stopped: %s", type(error).__name__)
        finally:
            self._ended.set()

    def check_clock(self) -> None:
        """Start the next sweep if it is late by the monotonic clock, and let APScheduler read the wall clock again."""
        with suppress(JobLookupError):  # stopped a moment ago
            if self._clock.monotonic() >= self.trigger.late_from:
                _LOG.warning("the next sweep is late: this machine's clock was set back; it starts now")
                self._scheduler.modify_job(_JOB, next_run_time=datetime.now(UTC))
        self._scheduler.wakeup()

    def stop(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Start nothing more, and wait for the current call. Return whether it ended in time."""
        self._stopping.set()
        with suppress(Exception):  # the scheduler may not be running yet, or no longer
            self._scheduler.shutdown(wait=False)
        return self._idle.wait(seconds)

    def sweep(self) -> None:
        """Run one sweep with its own audit. Never raises."""
        self._idle.clear()
        try:
            # The run is closed last, so that errors are logged while the redactor still knows the sweep's values.
            with ExitStack() as run:
                try:
                    if not self._stopping.is_set():
                        self._sweep(run)
                except Stopped:
                    _LOG.info("the sweep was interrupted; the next one continues from here")
                except RotatorError as error:
                    _LOG.error("the sweep failed: %s", error)
                except Exception:  # a bug of ours must not end the daemon: keys would expire
                    _LOG.exception("a bug in rotator; the next sweep continues")
        finally:
            self._idle.set()

    def _sweep(self, run: ExitStack) -> None:
        app = self._foundation.start(
            trigger=Trigger.SCHEDULE,
            actor=ACTOR,
            audit_file=self._audit_file,
            may_start=lambda: not self._stopping.is_set(),
            previous=self._previous,
        )
        begun = app.clock.now()
        run.callback(app.close)
        done = Reconciler(app.services).sweep(account=self._account, dry_run=app.settings.dry_run)
        alerts = [alert for plan in done.plan.accounts for alert in plan.alerts]
        nothing = [alert.detail for alert in alerts if alert.kind is Reason.NO_MANAGED_SECRET]
        level = logging.INFO if done.ok and not nothing else logging.WARNING if done.succeeded else logging.ERROR
        run_id, dry_run = app.audit.run_id, app.settings.dry_run
        extra = {"run_id": run_id, "dry_run": dry_run, "problems": [*problems(done), *nothing], **counts(done)}
        _LOG.log(level, "sweep finished", extra=extra)
        if self._account is None:
            self.metrics.keep_only(plan.account for plan in done.plan.accounts if plan.account != NO_ACCOUNT)
        self._previous = begun
        if done.succeeded:
            self.health.succeeded()

    def _note(self, event: events.JobEvent) -> None:
        """Log a sweep that is late or skipped."""
        due = event.scheduled_run_times[0]
        late = datetime.now(UTC) - due
        if event.code == events.EVENT_JOB_MAX_INSTANCES:
            _LOG.warning("skipped the sweep due at %s: the previous one is still running", utc_text(due))
            return
        if late > LOG_IF_LATER:
            behind = human_duration(late)
            _LOG.warning("the sweep due at %s starts %s late and covers all missed ones", utc_text(due), behind)
