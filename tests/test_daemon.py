"""The daemon in this process, over a world in memory: what stops it, what does not, and what it logs."""

from __future__ import annotations

import gc
import io
import json
import logging
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from apscheduler.events import EVENT_JOB_EXECUTED

from rotator.bootstrap import Foundation
from rotator.clock import SystemClock
from rotator.daemon import CLOCK_CHECK_SECONDS, WAKE_IF_LATER, Daemon, Health, StoppableClock
from rotator.metrics_server import MetricsServer
from rotator.settings import Settings
from rotator.telemetry.audit import Audit
from rotator.telemetry.audit_verify import verify
from rotator.telemetry.consumer_events import NoEvents
from rotator.telemetry.logs import LineStream, configure
from rotator.telemetry.metrics import EXPIRATION, LAST_SUCCESS
from rotator.timetable import Every, Schedule, make_schedule
from tests.clocks import SettableClock
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, World

PATIENCE = 60
HOUR = timedelta(hours=1)
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOURLY = make_schedule("1h", None, None, "0s")
SECONDLY = Every(timedelta(seconds=1), timedelta(0))


class Lines(io.TextIOBase):
    """What is written, line by line; a test can wait for one."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self._came = threading.Condition()
        self.forgetful = False

    def write(self, text: str, /) -> int:
        with self._came:
            if not self.forgetful:
                self.kept += [json.loads(line) for line in text.splitlines()]
            self._came.notify_all()
        return len(text)

    def wait_for(self, found: Callable[[dict[str, Any]], bool], count: int = 1) -> list[dict[str, Any]]:
        """The lines that fit, when there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: sum(map(found, self.kept)) >= count, PATIENCE), self.kept
            return [line for line in self.kept if found(line)]


class WorldClock(StoppableClock):
    """The world's clock, which a wait moves at once."""

    def __init__(self, world: World, stopping: threading.Event) -> None:
        super().__init__(stopping)
        self._clock = world.clock

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        if not self._stopping.is_set():
            self._clock.sleep(seconds)
        super().sleep(0)


class Setup:
    """A world, a foundation on it, and a daemon."""

    def __init__(self) -> None:
        self.world = World()
        self.lines = Lines()
        stream = LineStream(self.lines)
        configure(stream, self.world.redactor)
        self.stopping = threading.Event()
        self.foundation = Foundation(
            settings=Settings(),
            redactor=self.world.redactor,
            session=None,
            clock=WorldClock(self.world, self.stopping),
            store=self.world.store,
            audit=partial(Audit, stream, deployment="default", redactor=self.world.redactor, clock=self.world.clock),
            events=NoEvents,
            connect=self.world.connect,
        )

    def daemon(self, **options: Any) -> Daemon:
        return Daemon(self.foundation, options.pop("schedule", HOURLY), self.stopping, **options)

    def finished(self, line: dict[str, Any]) -> bool:
        return bool(line["event"] == "sweep finished")

    def logged(self, level: str) -> list[str]:
        """What the daemon itself has logged at that level, but for ends of sweeps."""
        return [line["event"] for line in self.lines.kept if at(level)(line) and not self.finished(line)]


def at(level: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a line is the daemon's own, at that level."""
    return lambda line: (line.get("log"), line["level"]) == ("rotator.daemon", level)


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.stopping.set()


def started(daemon: Daemon, first: datetime | None = None) -> threading.Thread:
    thread = threading.Thread(target=daemon.run, args=(first,), daemon=True)
    thread.start()
    return thread


def samples(daemon: Daemon) -> dict[str, dict[tuple[str, ...], float]]:
    return {m.name: {tuple(s.labels.values()): s.value for s in m.samples} for m in daemon.metrics.collect()}


def test_each_sweep_is_its_own_run(setup: Setup, tmp_path: Path) -> None:
    setup.world.secret("prod/sms", left=5 * DAY)
    file = tmp_path / "audit.jsonl"
    daemon = setup.daemon(schedule=SECONDLY, audit_file=str(file))
    started(daemon)
    first, second = setup.lines.wait_for(setup.finished, 2)[:2]
    assert daemon.stop(PATIENCE)
    assert (first["done"], second["done"]) == (1, 0)
    assert setup.world.consumer_works("prod/sms")
    assert verify(file).ok
    begun = [line for line in map(json.loads, file.read_text().splitlines()) if line["event"] == "sweep.started"]
    assert [line["run_id"] for line in begun][:2] == [first["run_id"], second["run_id"]]
    assert first["run_id"] != second["run_id"]
    assert {(line["seq"], line["trigger"], line["actor"]) for line in begun} == {(1, "schedule", "scheduler")}


def test_fleet_without_secrets_is_warning(setup: Setup) -> None:
    setup.foundation.where = "region eu-west-3"
    setup.daemon().sweep()
    (line,) = setup.lines.wait_for(setup.finished, 1)
    assert (line["level"], len(line["problems"]), line["accounts"]) == ("warning", 1, 0)
    assert "region eu-west-3" in line["problems"][0]


def test_late_sweeps_verify_every_value(setup: Setup) -> None:
    """With its jitter an hourly daemon sweeps every 65 minutes; each value is verified once in a day all the same."""
    world = setup.world
    for number in range(60):
        key = world.secret(f"prod/{number}")
        old = world.version_of(f"prod/{number}", key)
        version = world.store.put_value_by_hand(f"prod/{number}", "not a key")
        world.store.label_by_hand(f"prod/{number}", f"rotator:key:{key.id}", version, old)
    daemon = setup.daemon()
    daemon.sweep()
    for _ in range(24):
        world.pass_time(timedelta(minutes=65))
        daemon.sweep()
    labelled = [label for name in world.names() for labels in world.labels(name).values() for label in labels]
    assert [label for label in labelled if label.startswith("rotator:key:")] == []


def test_long_sweep_is_not_overtaken(setup: Setup) -> None:
    setup.world.secret("prod/sms", left=5 * DAY)
    go_on = threading.Event()
    fault = setup.world.infobip.faults.add(Fault(FaultKind.DELAY, method="POST", until=go_on))
    daemon = setup.daemon(schedule=SECONDLY)
    started(daemon)
    assert fault.entered.wait(PATIENCE)
    setup.lines.wait_for(at("warning"), 2)
    assert sum(line["event"] == "sweep.started" for line in setup.lines.kept) == 1
    go_on.set()
    setup.lines.wait_for(setup.finished, 2)
    assert daemon.stop(PATIENCE)
    assert not [line for line in setup.lines.kept if line.get("log", "").startswith("apscheduler")]


def test_port_follows_sweeps(setup: Setup) -> None:
    setup.world.secret("prod/sms", left=5 * DAY)
    clock = SettableClock(MORNING)
    daemon = setup.daemon(clock=clock)
    server = MetricsServer("127.0.0.1", 0, daemon.metrics, daemon.health)
    ready = 'rotator_key_ready{account="main",deployment="default",secret="prod/sms"} 1.0'
    failures = 'rotator_failures_total{account="main",action="sweep",deployment="default",reason="not-observed"}'
    try:

        def get(path: str) -> requests.Response:
            return requests.get(server.url + path, timeout=PATIENCE)

        daemon.sweep()
        text = get("/metrics").text
        assert ready in text
        assert 'rotator_rotations_total{account="main",deployment="default",reason="expiring"} 1.0' in text
        assert f"{failures} 0.0" in text
        assert get("/healthz").json()["last_success"] == "2026-03-02T09:00:00Z"
        setup.world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
        daemon.sweep()
        clock.pass_time(timedelta(hours=3))
        text = get("/metrics").text
        assert ready in text  # as last observed
        assert f"{failures} 1.0" in text
        assert get("/healthz").status_code == 503
        setup.world.infobip.faults.clear()
        daemon.sweep()
        assert get("/healthz").status_code == 200
    finally:
        server.close()


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), OSError("x"), RecursionError()], ids=repr)
def test_bug_in_sweep_ends_nothing(setup: Setup, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.world.secret("prod/sms")
    daemon = setup.daemon()

    def broken(op: str, secret: str) -> None:
        if op == "list_secrets":
            raise error

    with monkeypatch.context() as patched:
        patched.setattr(setup.world.store, "before", broken)
        daemon.sweep()
    assert daemon.health()[1]["last_success"] is None
    assert len(setup.logged("error")) == 1
    daemon.sweep()
    assert daemon.health()[1]["last_success"] is not None


def test_full_audit_file_fails_one_sweep(setup: Setup, tmp_path: Any) -> None:
    folder = tmp_path / "audit"
    daemon = setup.daemon(audit_file=str(folder / "lines.jsonl"))
    daemon.sweep()
    (failed,) = setup.logged("error")
    assert str(folder) in failed
    folder.mkdir()
    daemon.sweep()
    assert daemon.health()[1]["last_success"] is not None
    assert "sweep.completed" in (folder / "lines.jsonl").read_text()


def test_secret_to_fix_hides_no_success(setup: Setup) -> None:
    setup.world.secret("prod/sms", grace="soon")
    setup.world.secret("prod/due", left=5 * DAY)
    setup.world.store.create_secret("prod/without-account", {"rotator:role": "key"}, "{}")
    daemon = setup.daemon()
    daemon.sweep()
    (line,) = (line for line in setup.lines.kept if setup.finished(line))
    assert (line["level"], len(line["problems"]), line["done"]) == ("warning", 2, 1)
    assert daemon.health()[1]["last_success"] is not None
    assert [*samples(daemon)[LAST_SUCCESS.name].values()] != []
    (completed,) = (line for line in setup.lines.kept if line["event"] == "sweep.completed")
    assert (completed["outcome"], completed["to_fix"]) == ("success", 2)


@pytest.mark.parametrize("way", ["credentials", "a listing that fails", "a failed action"])
def test_blocked_sweep_is_no_success(setup: Setup, way: str) -> None:
    world = setup.world
    for number in range(6):
        world.secret(f"prod/{number}", left=5 * DAY)
    if way == "credentials":
        world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
    elif way == "a listing that fails":
        world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="GET", status=500, count=None))
    else:
        world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", path="api-keys", status=400))
    daemon = setup.daemon()
    daemon.sweep()
    assert daemon.health()[1]["last_success"] is None
    assert samples(daemon)[LAST_SUCCESS.name] == {}
    assert [line["outcome"] for line in setup.lines.kept if line["event"] == "sweep.completed"] == ["failure"]


def test_metrics_forget_account_that_is_gone(setup: Setup) -> None:
    setup.world.secret("a", account="main")
    setup.world.secret("b", account="other")
    daemon = setup.daemon()
    daemon.sweep()
    assert set(samples(daemon)[EXPIRATION.name]) == {("default", "main", "a"), ("default", "other", "b")}
    for name in ("b", "rotator/other"):
        setup.world.store.force_delete(name)
    daemon.sweep()
    assert set(samples(daemon)[EXPIRATION.name]) == {("default", "main", "a")}


def test_one_account_only_forgets_no_other(setup: Setup) -> None:
    setup.world.secret("a", account="main")
    setup.world.secret("b", account="other")
    daemon = setup.daemon(account="main")
    daemon.sweep()
    assert set(samples(daemon)[EXPIRATION.name]) == {("default", "main", "a")}


def test_dry_run_changes_nothing(setup: Setup) -> None:
    setup.world.secret("prod/sms", left=5 * DAY)
    setup.foundation.settings = replace(setup.foundation.settings, dry_run=True)
    before = setup.world.labels("prod/sms")
    setup.daemon().sweep()
    assert setup.world.labels("prod/sms") == before


def test_late_sweep_is_done_once_and_logged(setup: Setup) -> None:
    setup.world.secret("prod/sms")
    daemon = setup.daemon(schedule=make_schedule("10m", None, None, "0s"))
    started(daemon, datetime.now(UTC) - timedelta(hours=3))
    setup.lines.wait_for(setup.finished)
    assert daemon.stop(PATIENCE)
    assert sum(map(setup.finished, setup.lines.kept)) == 1
    (late,) = setup.logged("warning")
    assert " 3 h " in late


def test_broken_schedule_ends_daemon(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = setup.daemon()

    def broken() -> float:
        raise OSError("no more threads")

    monkeypatch.setattr(daemon._scheduler, "_process_jobs", broken)
    thread = started(daemon)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert ["OSError" in logged for logged in setup.logged("error")] == [True]


def test_stop_before_first_sweep(setup: Setup) -> None:
    daemon = setup.daemon()
    thread = started(daemon, datetime.now(UTC) + timedelta(hours=1))
    assert daemon.stop(PATIENCE)  # the scheduler may not even have begun
    daemon._ended.set()
    thread.join(PATIENCE)
    assert daemon.stop(PATIENCE)  # twice is no harm
    assert not any(setup.finished(line) for line in setup.lines.kept)


def test_health_turns_after_three_failures() -> None:
    clock = SettableClock(MORNING)
    health = Health(HOURLY, clock)
    assert health() == (True, {"last_success": None, "unhealthy_from": "2026-03-02T12:00:00Z"})
    clock.pass_time(timedelta(hours=3, seconds=-1))
    assert health()[0]
    health.succeeded()
    clock.pass_time(timedelta(hours=3))
    well, details = health()
    assert not well
    assert details.pop("reason").endswith(" 3 h")
    assert details == {"last_success": "2026-03-02T11:59:59Z", "unhealthy_from": "2026-03-02T14:59:59Z"}
    health.succeeded()
    assert health()[0]


def test_clock_change_hides_no_failure() -> None:
    for ahead in (timedelta(days=30), timedelta(0)):
        clock = SettableClock(MORNING + ahead)
        health = Health(HOURLY, clock)
        clock.set_by(-ahead)
        for _ in range(6):
            clock.pass_time(timedelta(minutes=31))
            clock.set_by(timedelta(minutes=-31))
        assert not health()[0]


class Pending:
    """A daemon whose first sweep has begun and whose next one is an hour away; what the clocks show is set by hand."""

    def __init__(self, setup: Setup, schedule: Schedule = HOURLY) -> None:
        setup.world.secret("prod/sms")
        self.clock = SettableClock(MORNING)
        self.daemon = setup.daemon(schedule=schedule, clock=self.clock)
        self.swept = threading.Semaphore(0)
        self.daemon._scheduler.add_listener(lambda _: self.swept.release(), EVENT_JOB_EXECUTED)
        started(self.daemon)
        assert self.swept.acquire(timeout=PATIENCE)

    @property
    def wait(self) -> timedelta:
        """Until the next sweep."""
        due: datetime = self.daemon._scheduler.get_jobs()[0].next_run_time
        return due - datetime.now(UTC)


BOTH = pytest.mark.parametrize("schedule", [HOURLY, make_schedule(None, "0 0 1 1 *", None, "0s")], ids=str)


@BOTH
def test_clock_set_back_costs_five_minutes(setup: Setup, schedule: Schedule) -> None:
    """The wall clock stands, as if it were set back again and again, while the monotonic clock goes on."""
    pending = Pending(setup, schedule)
    until_due = pending.wait
    pending.clock.pass_time(until_due + WAKE_IF_LATER - timedelta(seconds=30))
    pending.daemon.check_clock()
    assert pending.wait > timedelta(minutes=59)
    pending.clock.pass_time(timedelta(minutes=1))
    assert WAKE_IF_LATER + timedelta(seconds=CLOCK_CHECK_SECONDS) <= timedelta(minutes=5)
    pending.daemon.check_clock()
    assert pending.swept.acquire(timeout=PATIENCE)
    assert pending.wait > timedelta(minutes=59)
    pending.daemon.check_clock()  # the next one is not late
    assert pending.daemon.stop(PATIENCE)
    assert sum(map(setup.finished, setup.lines.kept)) == 2
    assert len(setup.logged("warning")) == 1


@BOTH
def test_clock_forward_brings_due_sweep(setup: Setup, schedule: Schedule) -> None:
    """APScheduler still waits for a time that has passed, until it reads the clock again."""
    pending = Pending(setup, schedule)
    scheduler = pending.daemon._scheduler
    (job,) = scheduler.get_jobs()
    job._modify(next_run_time=datetime.now(UTC))
    scheduler._jobstores["default"].update_job(job)
    assert not pending.swept.acquire(blocking=False)
    pending.daemon.check_clock()
    assert pending.swept.acquire(timeout=PATIENCE)
    assert pending.daemon.stop(PATIENCE)
    assert setup.logged("warning") == []


def test_replicas_do_not_march_in_step(setup: Setup) -> None:
    for schedule in (make_schedule("1h", None, None, "3m"), make_schedule(None, "0 * * * *", None, "3m")):
        trigger = setup.daemon(schedule=schedule).trigger
        times = {trigger.get_next_fire_time(None, MORNING) for _ in range(50)}
        assert len(times) > 25
        assert all(HOUR <= at - MORNING <= HOUR + timedelta(minutes=3) for at in times)


def test_clock_that_cannot_be_set_goes_on() -> None:
    first = SystemClock().monotonic()
    assert SystemClock().monotonic() >= first > 0


def test_sweeps_take_no_more_memory(setup: Setup) -> None:
    for number in range(10):
        setup.world.secret(f"s{number}", left=80 * DAY)
    setup.lines.forgetful = True
    logging.getLogger().setLevel(logging.ERROR)
    daemon = setup.daemon()

    def sweeps(count: int) -> int:
        for _ in range(count):
            daemon.sweep()
            # What the simulated servers remember is not the daemon's.
            setup.world.infobip.calls.clear()
            setup.world.store.calls.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = sweeps(20)
        after = sweeps(100)
    finally:
        tracemalloc.stop()
    # A kilobyte a sweep would be a leak: an audit line alone is half of one.
    assert after - before < 100 * 400, after - before
