"""``rotator serve``: the daemon."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypedDict

import click

from rotator.cli.call import Call
from rotator.cli.options import account_option, command
from rotator.cli.process import Interrupted
from rotator.daemon import Daemon, StoppableClock
from rotator.metrics_server import MetricsServer
from rotator.telemetry.audit import Trigger
from rotator.timetable import Every, Schedule, make_schedule

END_SECONDS: Final = 9.5
_LOG = logging.getLogger("rotator.daemon")


class ServeDocument(TypedDict):
    """``serve``, once at the start."""

    schedule: str
    jitter_seconds: float
    url: str | None


@command(ServeDocument)
@click.option("--every", metavar="D", help="Interval between sweeps, 1m to 1d (default: 1h).")
@click.option("--cron", metavar="EXPR", help='Cron schedule, for example "0 * * * *".')
@click.option("--timezone", metavar="Z", help="Time zone for --cron (default: UTC).")
@click.option(
    "--jitter", metavar="D", help="Random delay before each sweep, up to D (default: 10% of the interval, at most 5m)."
)
@account_option
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Serve /metrics and /healthz on this port (0: any free one).",
)
@click.option(
    "--metrics-address",
    default="127.0.0.1",
    show_default=True,
    metavar="IP",
    help="Address to listen on (0.0.0.0: all). /metrics exposes secret names.",
)
def serve(
    call: Call,
    every: str | None,
    cron: str | None,
    timezone: str | None,
    jitter: str | None,
    account: str | None,
    metrics_port: int | None,
    metrics_address: str,
) -> int:
    """Run a sweep now, then on a schedule, until interrupted.

    Sweeps never overlap; the next one finishes what a failed one left. On
    SIGTERM or Ctrl-C the daemon finishes the current call and exits 0 within
    10 seconds.

    /healthz returns 503 when three scheduled sweeps in a row did not succeed.

    \b
    Examples:
      rotator serve --every 30m --metrics-port 9464
      rotator serve --cron "15 6-20 * * 1-5" --timezone Europe/Zagreb
    """
    daemon: Daemon | None = None
    try:
        schedule = make_schedule(every, cron, timezone, jitter)
        daemon = _make_daemon(call, schedule, account)
        _announce(call, daemon, schedule, metrics_address, metrics_port)
        daemon.run()
    except Interrupted as caught:
        return 0 if daemon is None else _stopped(daemon, caught.number)
    daemon.stop()
    return 1  # the schedule failed, which was logged; a supervisor restarts the daemon


def _make_daemon(call: Call, schedule: Schedule, account: str | None) -> Daemon:
    stopping = threading.Event()
    foundation = call.foundation(StoppableClock(stopping), unattended=True)
    if isinstance(schedule, Every):  # else ROTATOR_SWEEP_EVERY stays
        foundation = replace(foundation, settings=replace(foundation.settings, sweep_every=schedule.every))
    # If the file can't be written, fail now and not in every sweep.
    foundation.start(trigger=Trigger.SCHEDULE, actor="", audit_file=call.audit_file).close()
    return Daemon(foundation, schedule, stopping, account=account, audit_file=call.audit_file)


def _announce(call: Call, daemon: Daemon, schedule: Schedule, address: str, port: int | None) -> None:
    """Open the metrics port if one is wanted, and print what runs."""
    url = None if port is None else MetricsServer(address, port, daemon.metrics, daemon.health).url
    where = "" if url is None else f" Metrics: {url}/metrics, health: {url}/healthz."
    document = {"schedule": str(schedule), "jitter_seconds": schedule.jitter.total_seconds(), "url": url}
    call.result(document, [f"Sweeping {schedule}.{where} Press Ctrl-C to stop."])


def _stopped(daemon: Daemon, number: int) -> int:
    """Exit in time even if a call hangs, or stderr is a full pipe that nothing reads."""
    timer = threading.Timer(END_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
    _LOG.info("received signal %d; stopping after the current call", number)
    if daemon.stop():
        _LOG.info("stopped")
        return 0
    # The thread of a call that hangs can't be stopped, and the interpreter would wait for it.
    _LOG.warning("a call has not returned yet; the next sweep checks its outcome")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)
