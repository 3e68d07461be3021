"""What every test has: a tier, a search for leaked secrets, no way to a real account, and logging as it was before."""

from __future__ import annotations

import functools
import gc
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session
import pytest
from hypothesis import HealthCheck, settings
from moto import backends

from needed_tools import NEEDS
from tests import leaks
from tests.leak_search import pytest_runtest_makereport
from tests.support.moto import Moto, moto_server

if TYPE_CHECKING:
    from tests.cli.seen_stack import SeenStack
    from tests.emergencies import EmergencyWorld

__all__ = ["pytest_runtest_makereport"]

TESTS = Path(__file__).parent
# The tiers by directory or file; single tests are marked where they stand.
# `make quick` leaves out all of them, `make test` the chaos runs, but for a few of each kind, and e2e.
SAMPLE = "chaos/test_sample.py"
CHAOS = ("chaos", "policy/test_scheduling_over_months.py")
SLOW = (
    "aws/test_events.py",
    "bench",
    "cli",
    "contract",
    "deploy",
    "fuzz",
    "infobip/test_no_leaks.py",
    "lambdas",
    "policy/test_forecast",
    "report",
    "safety",
    "sandbox",
    "security",
    "test_daemon.py",
    "test_emergency_concurrency.py",
    "test_four_steps.py",
    "test_leaks.py",
)
# Of these, what runs commands in this process and takes a second or two, like cases of `rotator` at the engine.
QUICK = ("cli/test_reading.py", "cli/test_usage.py", "report/test_files.py")

# `ci` is the same at every run: a failure there is the change's and not chance's. `dev` goes on looking.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# People are told times in the zone of their machine; tests of that set another one.
os.environ["TZ"] = "UTC"
time.tzset()

# Before any test can make a client: nothing may reach an account of whoever runs the tests.
for _name in [name for name in os.environ if name.startswith(("AWS_", "ROTATOR_"))]:
    del os.environ[_name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


# Every command and handler makes its clients anew; AWS's descriptions of its services are parsed once a process.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
# moto lists its own folder twice a request.
_moto_modules = [*backends.list_of_moto_modules()]
backends.list_of_moto_modules = lambda: _moto_modules


def pytest_collection_finish() -> None:
    """Search no more for garbage among all that was imported, and less often among what a test makes."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(TESTS).as_posix()
        if path == SAMPLE:
            item.add_marker(pytest.mark.slow)
        elif path.startswith(CHAOS):
            item.add_marker(pytest.mark.chaos)
        elif path.startswith("e2e/"):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)
        elif (
            path.startswith(SLOW) and not path.startswith(QUICK) and "rotator" not in getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tools for want of which tests were skipped."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    missing = Counter(reason.partition(NEEDS)[2] for reason in reasons if NEEDS in reason)
    if missing:
        listed = ", ".join(f"{name} ({count})" for name, count in missing.items())
        terminalreporter.write_line(f"skipped for want of {listed}: `make tools` says how to get them")


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """Secrets Manager, for all tests of this process that need more than the store in memory."""
    with moto_server() as running:
        yield running


@pytest.fixture
def stack(moto: Moto) -> Iterator[SeenStack]:
    """The command line over a fresh simulated Infobip and an empty Secrets Manager."""
    from tests.cli.fresh_stack import local_stack  # what it imports takes time, and few tests need it

    with local_stack(moto) as fresh:
        yield fresh


@pytest.fixture
def world() -> EmergencyWorld:
    """The world in memory."""
    from tests.emergencies import EmergencyWorld

    return EmergencyWorld()


@pytest.fixture
def used_secrets() -> Callable[[str], str]:
    """Registers a secret that must not show up anywhere, and gives it back."""
    return leaks.register


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """The program configures the process's logging; the next test must not inherit that."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in root.manager.loggerDict}
    yield
    for name in root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    ours = [handler for handler in root.handlers if handler not in handlers]
    for handler in ours:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
