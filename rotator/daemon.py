"""The daemon: one sweep after the other by a schedule (APScheduler 3), until it is stopped.

The main thread only waits, so that a signal finds it holding nothing; sweeps run in the one thread of the scheduler's
pool. After a stop a sweep begins no further action, the call in hand is finished, and waits between calls end at once.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from apscheduler import events
from apscheduler.executors.pool import ThreadPoolExecutor
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
from rotator.timetable import STEP, Clocks, Schedule, Timetable

DRAIN_SECONDS: Final = 8.0
"""How long a stopping daemon waits for the call in hand; supervisors often end a process after 10 s."""
LATE: Final = timedelta(seconds=60)
_TICK: Final = 60.0
"""Seconds after which both clocks are read again at the latest."""
_SAME: Final = timedelta(milliseconds=50)
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

    Either clock can say so. The one that cannot be set knows how much time has passed; the wall clock says whether the
    last success was at a time that can be right, or under a clock that was wrong.
    """

    def __init__(self, schedule: Schedule, clocks: Clocks | None = None) -> None:
        self._schedule = schedule
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()
        self._success: datetime | None = None
        self._overdue_at, self._overdue_uptime, self._since = self._from_now()

    def succeeded(self) -> None:
        """A sweep ran through, and nothing failed."""
        overdue_at, overdue_uptime, since = self._from_now()
        with self._lock:
            self._success = self._clocks.now()
            self._overdue_at, self._overdue_uptime, self._since = overdue_at, overdue_uptime, since

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and the times that this is read from."""
        now, uptime = self._clocks.now(), self._clocks.uptime()
        with self._lock:
            success, overdue_at, left = self._success, self._overdue_at, self._overdue_uptime - uptime
            passed = timedelta(seconds=uptime - self._since)
        details = {
            "last_success": None if success is None else _text(success),
            "unhealthy_from": _text(now + timedelta(seconds=left)),
        }
        if left <= 0:
            reason = f"no sweep has succeeded for {human_duration(passed)}"
        elif success is not None and success - now > STEP:
            reason = f"the last success lies {human_duration(success - now)} in the future: the clock was set back"
        elif success is not None and now >= overdue_at:
            reason = f"the last success lies {human_duration(now - success)} in the past: the clock was set forward"
        else:
            return True, details
        return False, details | {"reason": reason}

    def _from_now(self) -> tuple[datetime, float, float]:
        """When it is too late for the next success, by both clocks, and the uptime now."""
        now, uptime = self._clocks.now(), self._clocks.uptime()
        overdue_at = self._schedule.overdue_at(now)
        return overdue_at, uptime + (overdue_at - now).total_seconds(), uptime


class _Trigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no type hints
    """A schedule, in APScheduler's terms."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:  # noqa: ARG002
        """The next time; the timetable corrects it before it comes."""
        return self._schedule.after(now)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]
    """Goes by a timetable, and sets ``ended`` when its loop ends: a daemon without a schedule must not go on waiting.

    APScheduler waits for a time of the wall clock, for as long as that seemed to be when the wait began. So at least
    once a minute the job gets the time that its sweep is due by the wall clock as it is now.
    """

    def __init__(self, ended: threading.Event, timetable: Timetable, **options: Any) -> None:
        super().__init__(**options)
        self._ended = ended
        self._timetable = timetable

    def _main_loop(self) -> None:
        try:
            super()._main_loop()
        except Exception as error:
            _LOG.exception("the schedule broke off: %s", type(error).__name__)
        finally:
            self._ended.set()

    def _process_jobs(self) -> float:
        job = self.get_job(_JOB)
        if job is not None:
            remaining = timedelta(seconds=max(0.0, self._timetable.remaining()))
            due = datetime.now(UTC) + remaining
            if abs(job.next_run_time - due) > _SAME:
                job.modify(next_run_time=due)
        super()._process_jobs()
        remaining_then = self._timetable.remaining()
        # Still due: it could not be handed over. That is no reason to try without a pause.
        return min(remaining_then, _TICK) if remaining_then > 0 else 1.0


class Daemon:
    """Sweeps by a schedule.

    :param foundation: made with ``clock``; its metrics are set here.
    :param stopping: the event that the foundation's :class:`StoppableClock` waits for.
    :param account: only this Infobip account.
    :param audit_file: every sweep appends its audit lines there as well.
    :param clocks: by which sweeps are due and health is judged.
    """

    def __init__(
        self,
        foundation: Foundation,
        schedule: Schedule,
        stopping: threading.Event,
        *,
        account: str | None = None,
        audit_file: str | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        clocks = clocks or Clocks()
        self.metrics = PrometheusMetrics(foundation.settings.deployment, redact_key_values)
        self.health = Health(schedule, clocks)
        self._foundation = foundation
        foundation.metrics = self.metrics
        self._schedule = schedule
        self._account = account
        self._audit_file = audit_file
        self._stopping = stopping
        self._idle = threading.Event()
        self._idle.set()
        self._ended = threading.Event()
        self._timetable = Timetable(schedule, clocks)
        self._scheduler = _Scheduler(
            self._ended,
            self._timetable,
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )

    def run(self, first: datetime | None = None) -> None:
        """Sweep now (or at ``first``) and then by the schedule. Returns only where the schedule broke off.

        :raises BaseException: what a signal handler raises; call :meth:`stop` then.
        """
        # What it logs of jobs, `_begun` logs in words of sweeps.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler.add_listener(self._begun, events.EVENT_JOB_SUBMITTED | events.EVENT_JOB_MAX_INSTANCES)
        if first is not None:
            self._timetable.begin_at(first)
        now = datetime.now(UTC)
        self._scheduler.add_job(self.sweep, _Trigger(self._schedule), id=_JOB, name=_JOB, next_run_time=now)
        self._scheduler.start()
        self._ended.wait()

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

    def _begun(self, event: events.JobEvent) -> None:
        """Set the time of the next sweep; log that this one is late, or left out."""
        due, late = self._timetable.advance()
        if event.code == events.EVENT_JOB_MAX_INSTANCES:
            _LOG.warning("the sweep due at %s is left out: the one before it is still going on", _text(due))
        elif late > LATE:
            behind = human_duration(late)
            _LOG.warning("the sweep due at %s begins %s late, once for all missed since", _text(due), behind)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
