"""The daemon: one sweep after the other by a schedule (APScheduler 3), until it is told to stop.

The main thread only waits, so that a signal finds it holding nothing; sweeps run in the one thread of the scheduler's
pool. Told to stop, a sweep begins no further action, the call in hand is finished, and waits between calls end at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from apscheduler import events
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from rotator.audit import Trigger
from rotator.bootstrap import App, Foundation
from rotator.clock import SystemClock
from rotator.core.durations import human_duration
from rotator.errors import RotatorError
from rotator.metrics_server import PrometheusMetrics
from rotator.ports import Clock
from rotator.reconcile import NO_ACCOUNT, Reconciler
from rotator.redact_patterns import redact_key_values
from rotator.serverless.sweeping import ACTOR, counts, problems

DRAIN_SECONDS: Final = 8.0
"""How long a stopping daemon waits for the call in hand; supervisors often kill after 10 s."""
LATE: Final = timedelta(seconds=60)
_JOB: Final = "sweep"
_LOG = logging.getLogger("rotator.daemon")


class Stopped(BaseException):
    """The daemon is stopping. No ``Exception``, so that nothing on the way takes it for a failure of one secret."""


class Schedule(Protocol):
    """When to sweep. Implemented by :mod:`rotator.cli.schedule`."""

    @property
    def trigger(self) -> BaseTrigger:
        """A new trigger of APScheduler's, with jitter."""
        ...

    def overdue_at(self, since: datetime) -> datetime:
        """When three sweeps should have come after ``since``."""
        ...


class StoppableClock:
    """Another clock, whose ``sleep`` ends with :class:`Stopped` when ``stopping`` is set."""

    def __init__(self, inner: Clock, stopping: threading.Event) -> None:
        self._inner = inner
        self._stopping = stopping

    def now(self) -> datetime:
        """The inner clock's."""
        return self._inner.now()

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
    """Whether sweeps succeed: unhealthy when three that should have come went by without a success."""

    def __init__(self, schedule: Schedule, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._schedule = schedule
        self._now = now
        self._lock = threading.Lock()
        self._last_success: datetime | None = None
        self._overdue_at = schedule.overdue_at(now())

    def succeeded(self) -> None:
        """A sweep ran through, and nothing failed."""
        now = self._now()
        overdue_at = self._schedule.overdue_at(now)
        with self._lock:
            self._last_success, self._overdue_at = now, overdue_at

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and the times that this is read from."""
        with self._lock:
            success, overdue_at = self._last_success, self._overdue_at
        return self._now() < overdue_at, {
            "last_success": None if success is None else _text(success),
            "unhealthy_from": _text(overdue_at),
        }


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler 3 has no type hints
    """Sets ``ended`` when its loop ends, however it does: a daemon without a schedule must not go on waiting."""

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
    :param stopping: the event that the foundation's :class:`StoppableClock` looks at.
    :param account: only this Infobip account.
    :param audit_file: every sweep appends its audit lines there as well.
    """

    def __init__(
        self,
        foundation: Foundation,
        schedule: Schedule,
        stopping: threading.Event,
        *,
        account: str | None = None,
        audit_file: str | None = None,
    ) -> None:
        self.metrics = PrometheusMetrics(foundation.settings.deployment, redact_key_values)
        self.health = Health(schedule)
        self._foundation = foundation
        foundation.metrics = self.metrics
        self._schedule = schedule
        self._account = account
        self._audit_file = audit_file
        self._stopping = stopping
        self._idle = threading.Event()
        self._idle.set()
        self._ended = threading.Event()
        self._due = datetime.now(UTC)
        self._scheduler = _Scheduler(
            self._ended,
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )

    def run(self, first: datetime | None = None) -> None:
        """Sweep now (or at ``first``) and then by the schedule. Returns only where the schedule has ended by itself.

        :raises BaseException: what a signal handler raises; call :meth:`stop` then.
        """
        # What it says of jobs is said by `_heard`, in words of sweeps.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        heard = events.EVENT_JOB_SUBMITTED | events.EVENT_JOB_MAX_INSTANCES | events.EVENT_JOB_REMOVED
        self._scheduler.add_listener(self._heard, heard)
        self._due = first or datetime.now(UTC)
        self._scheduler.add_job(self.sweep, self._schedule.trigger, id=_JOB, name=_JOB, next_run_time=self._due)
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
            if not self._stopping.is_set():
                self._sweep()
        except Stopped:
            _LOG.info("the sweep was cut short; nothing is lost, the next one goes on")
        except RotatorError as error:
            _LOG.error("the sweep failed: %s", error)
        except Exception:
            _LOG.exception("a bug in rotator; the next sweep goes on")
        finally:
            self._idle.set()

    def _sweep(self) -> None:
        app = self._foundation.start(
            trigger=Trigger.SCHEDULE,
            actor=ACTOR,
            audit_file=self._audit_file,
            may_start=lambda: not self._stopping.is_set(),
        )
        try:
            self._sweep_as(app)
        except RotatorError as error:  # said while what was learnt is still taken out of it
            _LOG.error("the sweep failed: %s", error)
        except Exception:
            _LOG.exception("a bug in rotator; the next sweep goes on")
        finally:
            app.close()

    def _sweep_as(self, app: App) -> None:
        done = Reconciler(app.services).sweep(account=self._account, dry_run=app.settings.dry_run)
        said = list(problems(done))
        level = logging.INFO if done.ok else logging.ERROR
        extra = {"run_id": app.audit.run_id, "dry_run": app.settings.dry_run, "problems": said, **counts(done)}
        _LOG.log(level, "sweep finished", extra=extra)
        if self._account is None:
            self.metrics.keep_only(plan.account for plan in done.plan.accounts if plan.account != NO_ACCOUNT)
        if done.succeeded:
            self.health.succeeded()

    def _heard(self, event: events.JobEvent) -> None:
        """Say what the schedule does with a sweep beside starting it in time."""
        if event.code == events.EVENT_JOB_REMOVED:
            _LOG.error("the schedule has no further sweep")
            self._ended.set()
            return
        # The event names the last of the times that have passed; the first of them is the one that was waited for.
        job = self._scheduler.get_job(_JOB)
        due, self._due = self._due, self._due if job is None else job.next_run_time
        if event.code == events.EVENT_JOB_MAX_INSTANCES:
            _LOG.warning("the sweep due at %s is left out: the one before it is still going on", _text(due))
        elif (late := datetime.now(UTC) - due) > LATE:
            behind = human_duration(late)
            _LOG.warning("the sweep due at %s begins %s late, once for all missed since", _text(due), behind)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
