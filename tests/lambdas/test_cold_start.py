"""A cold start: what is loaded, what is put off and is whole when it is used, and garbage that waits until the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lambdas.package import clean_environment

ROOT = Path(__file__).parent.parent.parent


def said_by(code: str, **variables: str) -> Any:
    """What a fresh Python that runs ``code`` prints, as JSON."""
    environment = {**clean_environment(), **variables, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"import json, sys\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_handlers_load_structlog_and_no_asyncio() -> None:
    loaded = said_by("import rotator.lambda_handlers\nprint(json.dumps(sorted(sys.modules)))")
    assert {"structlog", "structlog.stdlib", "asyncio"} <= set(loaded)
    assert [name for name in loaded if name.startswith("asyncio.")] == []


@pytest.mark.parametrize(
    "use",
    [
        "import asyncio\nresult = asyncio.run(asyncio.sleep(0, 7))",
        "from asyncio import run, sleep\nresult = run(sleep(0, 7))",
        "import asyncio.events\nimport asyncio\nresult = 7 if asyncio.events.get_event_loop_policy else 0",
        "from asyncio.tasks import sleep\nimport asyncio\nresult = asyncio.run(sleep(0, 7))",
    ],
)
def test_it_is_whole_when_it_is_used(use: str) -> None:
    code = f"import rotator.lambda_handlers\n{use}\nimport structlog.stdlib\n"
    code += "assert structlog.stdlib.asyncio.Queue is sys.modules['asyncio'].Queue\nprint(json.dumps(result))"
    assert said_by(code) == 7


def test_threads_that_use_it_at_once_get_the_same() -> None:
    code = """
import rotator.lambda_handlers, threading
from concurrent.futures import ThreadPoolExecutor
gate = threading.Barrier(8)
def use(_):
    import asyncio
    gate.wait(30)
    return asyncio.Queue, asyncio.run(asyncio.sleep(0, 7))
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(use, range(8)))
print(json.dumps([len({queue for queue, _ in found}), sorted({seven for _, seven in found})]))
"""
    assert said_by(code) == [1, [7]]


def test_what_is_loaded_or_not_there_stays_as_it_is() -> None:
    code = """
import asyncio
from rotator.serverless.lazily import put_off
put_off("asyncio")
put_off("there_is_no_such_module")
print(json.dumps([sys.modules["asyncio"] is asyncio, "there_is_no_such_module" in sys.modules]))
"""
    assert said_by(code) == [True, False]


@pytest.mark.parametrize("region", ["eu-central-1", ""])
def test_in_a_lambda_garbage_is_looked_for_only_when_all_is_made(region: str) -> None:
    code = """
import gc
during = []
def look(event, args):
    if event == "import" and args[0] in ("botocore.session", "structlog"):
        during.append(gc.isenabled())
sys.addaudithook(look)
import rotator.lambda_handlers
from rotator.serverless import runtime
print(json.dumps([sorted(set(during)), gc.isenabled(), gc.get_freeze_count() > 10_000, len(runtime._kept)]))
"""
    variables = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_CONFIG_FILE": "/dev/null"}
    found = said_by(code, AWS_LAMBDA_FUNCTION_NAME="rotator", AWS_REGION=region, **variables)
    assert found == [[False], True, True, 1 if region else 0]


def test_elsewhere_garbage_is_left_alone() -> None:
    code = "import gc, rotator.lambda_handlers\nprint(json.dumps([gc.isenabled(), gc.get_freeze_count()]))"
    assert said_by(code) == [True, 0]
