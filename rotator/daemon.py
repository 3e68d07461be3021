"""The daemon: one sweep after the other by a schedule (APScheduler 3), until it is stopped.

The main thread waits, so that a signal finds it holding nothing, and reads the clocks once a minute; sweeps run in
the one thread of the scheduler's pool. After a stop a sweep begins no further action, the call in hand is finished, and
waits between calls end at once.

APScheduler waits for a time of the wall clock, for as long as that seemed to be when the wait began. Where the clock
was set, the last sweep worked by a wrong time and the next one may be far away: so a sweep follows soon, at most one in
five minutes however often the clock is set.
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
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from rotator.bootstrap import Foundation
from rotator.clock import SystemClock
from rotator.durations import human_duration
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import ACTOR, NO_ACCOUNT, counts, problems
from rotator.errors import RotatorError
from rotator.metrics_server import PrometheusMetrics
from rotator.ports import Clock
from rotator.redaction.patterns import redact_key_values
from rotator.telemetry.audit import Trigger
from rotator.timetable import Schedule

DRAIN_SECONDS: Final = 8.0
"""How long a stopping daemon waits for the call in hand; supervisors often end a process after 10 s."""
LATE: Final = timedelta(seconds=60)
STEP: Final = timedelta(seconds=60)
"""A wall clock that differs by more from the time that has passed was set; less is how clocks go."""
SOON: Final = timedelta(minutes=5)
"""After the last sweep began, where the clock was set since."""
_TICK: Final = 60.0
_JOB: Final = "sweep"
_LOG = logging.getLogger("rotator.daemon")


class Stopped(BaseException):
    """The daemon is stopping. No ``Exception``, so that nothing on the way takes it for a failure of one secret."""


class StoppableClock:
    """Another clock, whose ``sleep`` ends with :class:`Stopped` when ``stopping`` is set."""

    def __init__(self, inner: Clock, stopping: threading.Event) -> None:
        self._inner = inner
        self._stopping = stopping

    def now(self) -> datetime:
        """The inner clock's."""
        return self._inner.now()

    def monotonic(self) -> float:
        """The inner clock's."""
        return self._inner.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, in real time or as the sandbox's clock does.

        :raises Stopped: the daemon is stopping.
        """
        if isinstance(self._inner, SystemClock):
            self._stopping.wait(max(0.0, seconds))
        elif not self._stopping.is_set():
            self._inner.sleep(seconds)
        if self._stopping.is_set():
            raise Stopped


class Health:
    """Whether sweeps succeed: unhealthy when three that should have come went by without a success.

    Time is measured by the clock that cannot be set. Where the other one was set, the last success may have been under
    a wrong clock, so that another one must come.
    """

    def __init__(self, schedule: Schedule, clock: Clock | None = None) -> None:
        self._schedule = schedule
        self._clock = clock or SystemClock()
        self._success: datetime | None = None
        self._doubt = ""
        self._since, self._until = self._from_now()

    def succeeded(self) -> None:
        """A sweep ran through, and nothing failed."""
        self._success, self._doubt = self._clock.now(), ""
        self._since, self._until = self._from_now()

    def doubt(self, reason: str) -> None:
        """Unhealthy until the next success, whatever the last one was."""
        self._doubt = reason

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and the times that this is read from."""
        now, up = self._clock.now(), self._clock.monotonic()
        details = {
            "last_success": None if self._success is None else _text(self._success),
            "unhealthy_from": _text(now + timedelta(seconds=self._until - up)),
        }
        if up >= self._until:
            reason = f"no sweep has succeeded for {human_duration(timedelta(seconds=up - self._since))}"
        else:
            reason = self._doubt
        return not reason, details | ({"reason": reason} if reason else {})

    def _from_now(self) -> tuple[float, float]:
        """Now, and when it is too late for the next success, by the clock that cannot be set."""
        now, up = self._clock.now(), self._clock.monotonic()
        return up, up + (self._schedule.overdue_at(now) - now).total_seconds()


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no type hints
    """A schedule, in APScheduler's terms."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next time, up to the jitter later; each replica has another one."""
        due = self._schedule.after(max(now, previous_fire_time or now))
        return due + timedelta(seconds=SystemRandom().uniform(0, self._schedule.jitter.total_seconds()))


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]
    """Sets ``ended`` when its loop ends: a daemon without a schedule must not go on waiting."""

    def __init__(self, ended: threading.Event, **options: Any) -> None:
        super().__init__(**options)
        self._ended = ended

    def _main_loop(self) -> None:
        try:
            super()._main_loop()
        except Exception as error:
            _LOG.exception("the schedule broke off: %s", type(error).__name__)
        finally:
            self._ended.set()


class Daemon:
    """Sweeps by a schedule.

    :param foundation: made with ``clock``; its metrics are set here.
    :param stopping: the event that the foundation's :class:`StoppableClock` waits for.
    :param account: only this Infobip account.
    :param audit_file: every sweep appends its audit lines there as well.
    :param clock: by which health is judged, and whether the wall clock was set.
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
        self.trigger = ScheduleTrigger(schedule)
        self._account = account
        self._audit_file = audit_file
        self._stopping = stopping
        self._idle = threading.Event()
        self._idle.set()
        self._ended = threading.Event()
        self._offset = self._measured()
        self._begun = self._clock.monotonic()
        self._scheduler = _Scheduler(
            self._ended,
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )

    def run(self, first: datetime | None = None) -> None:
        """Sweep now (or at ``first``) and then by the schedule. Returns only where the schedule broke off.

        :raises BaseException: what a signal handler raises; call :meth:`stop` then.
        """
        # What it logs of jobs, `_note` logs in words of sweeps.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler.add_listener(self._note, events.EVENT_JOB_SUBMITTED | events.EVENT_JOB_MAX_INSTANCES)
        first = first or datetime.now(UTC)
        self._scheduler.add_job(self.sweep, self.trigger, id=_JOB, name=_JOB, next_run_time=first)
        self._scheduler.start()
        while not self._ended.wait(_TICK):
            self.check_clock()

    def check_clock(self) -> None:
        """Sweep soon where the wall clock was set, and let APScheduler see how late it is now."""
        offset = self._measured()
        step, self._offset = timedelta(seconds=offset - self._offset), offset
        if abs(step) > STEP:
            wait = max(timedelta(0), SOON - timedelta(seconds=self._clock.monotonic() - self._begun))
            set_by = f"was set {'forward' if step > timedelta(0) else 'back'} by {human_duration(abs(step))}"
            self.health.doubt(f"this machine's clock {set_by}, and no sweep has succeeded since")
            _LOG.warning("this machine's clock %s; the next sweep begins in %s", set_by, human_duration(wait))
            with suppress(JobLookupError):  # stopped a moment ago
                self._scheduler.modify_job(_JOB, next_run_time=datetime.now(UTC) + wait)
        self._scheduler.wakeup()

    def _measured(self) -> float:
        """The wall clock less the one that cannot be set: this changes only where the wall clock is set."""
        return self._clock.now().timestamp() - self._clock.monotonic()

    def stop(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Begin nothing more, and wait for the call in hand; whether it ended in time."""
        self._stopping.set()
        with suppress(Exception):  # a signal may have come while it was only just starting, or stopped before
            self._scheduler.shutdown(wait=False)
        return self._idle.wait(seconds)

    def sweep(self) -> None:
        """One sweep, with an audit of its own. Never raises."""
        self._idle.clear()
        try:
            # The run is closed last: errors are logged while the redactor still knows what the sweep has read.
            with ExitStack() as run:
                try:
                    if not self._stopping.is_set():
                        self._sweep(run)
                except Stopped:
                    _LOG.info("the sweep was cut short; nothing is lost, the next one continues")
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
        )
        run.callback(app.close)
        done = Reconciler(app.services).sweep(account=self._account, dry_run=app.settings.dry_run)
        level = logging.INFO if done.ok else logging.ERROR
        run_id, dry_run = app.audit.run_id, app.settings.dry_run
        extra = {"run_id": run_id, "dry_run": dry_run, "problems": list(problems(done)), **counts(done)}
        _LOG.log(level, "sweep finished", extra=extra)
        if self._account is None:
            self.metrics.keep_only(plan.account for plan in done.plan.accounts if plan.account != NO_ACCOUNT)
        if done.succeeded:
            self.health.succeeded()

    def _note(self, event: events.JobEvent) -> None:
        """Remember that a sweep begins; log that it is late, or left out."""
        due = event.scheduled_run_times[0]
        late = datetime.now(UTC) - due
        if event.code == events.EVENT_JOB_MAX_INSTANCES:
            _LOG.warning("the sweep due at %s is left out: the one before it is still going on", _text(due))
            return
        self._begun = self._clock.monotonic()
        if late > LATE:
            behind = human_duration(late)
            _LOG.warning("the sweep due at %s begins %s late, once for all missed since", _text(due), behind)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
