"""A Lambda's cold start: the unpacked package from process start to ready to sweep, beside its floor."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lambdas.package import RUNTIME, SCRIPT, clean_environment, lambda_site, python313, unpack

FLOOR = "import boto3, requests, structlog; boto3.client('secretsmanager')"
"""What any function of this kind needs: its libraries and one client."""
# What the runtime does before the first event, and what the first event needs before its first call.
READY = """
import rotator.lambda_handlers
from rotator.lambda_.runtime import foundation
foundation().start(trigger="schedule", actor="bench").audit.emit("sweep.started", "attempt")
import requests
requests.Session()
"""


def cold_start(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Processor times of fresh processes, one after the other in turn; ``None`` where the package can't be built.

    On a CPython 3.13, the Lambda's, where one is found; else on this one, and then without byte code for it in the zip.
    """
    python = python313()
    found: dict[str, Any] = {"python": "3.13" if python else ".".join(map(str, sys.version_info[:2])), "rounds": rounds}
    if python is None:
        say("no CPython 3.13 was found (PYTHON313 names one): this Python is measured, without byte code in the zip")
    say("the Lambda package")
    with tempfile.TemporaryDirectory(prefix="rotator-bench-") as folder:
        archive = Path(folder) / "rotator-lambda.zip"
        command = [sys.executable, str(SCRIPT), "--output", str(archive)]
        command += [] if python else ["--without-byte-code"]
        built = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
        if built.returncode != 0:
            say(f"it can't be built: {(built.stderr.strip().splitlines() or ['no reason given'])[-1]}")
            return {**found, "zip_bytes": None, "ratio": None, "floor_cpu_seconds": None, "ready_cpu_seconds": None}
        found["zip_bytes"] = archive.stat().st_size
        task = unpack(archive, Path(folder) / "task")
        runtime = _compiled(python or sys.executable, Path(folder))
        say(f"cold starts, {rounds} of each")
        times: dict[str, list[float]] = {FLOOR: [], READY: []}
        for number in range(rounds + 1):
            for code, took in times.items():
                seconds = _cpu_of(python or sys.executable, code, task, runtime)
                if number:  # the first of each only warms the machine's cache of files
                    took.append(seconds)
    floor, ready = times[FLOOR], times[READY]
    found["ratio"] = statistics.median(b / a for a, b in zip(floor, ready, strict=True))
    return {**found, "floor_cpu_seconds": statistics.median(floor), "ready_cpu_seconds": statistics.median(ready)}


def _compiled(python: str, folder: Path) -> Path:
    """The runtime's own packages with byte code for that Python, as in AWS's image."""
    links, runtime = lambda_site(folder / "links", *RUNTIME, "requests", "certifi", "idna"), folder / "runtime"
    command = [python, "-c", "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])", str(links), str(runtime)]
    subprocess.run(command, check=True)
    command = [python, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", str(runtime)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=clean_environment())
    return runtime


def _cpu_of(python: str, code: str, task: Path, runtime: Path) -> float:
    """Processor seconds, in user and system mode, of one process."""
    environment = {
        **clean_environment(),
        "PYTHONPATH": os.pathsep.join(map(str, (task, runtime))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_NAME": "rotator",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",  # boto3's own, which AWS's runtime sets too
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [python, "-S", "-c", code], check=True, env=environment, cwd=task, stderr=subprocess.DEVNULL, timeout=300
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
