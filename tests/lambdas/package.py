"""The zip as ``make package`` builds it, unpacked into an empty directory, and Pythons that see little beside it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / ".ci" / "package"
# What is installed where a Lambda runs: AWS's SDK and its runtime client.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


def build(target: Path, *options: str, **variables: str) -> str:
    """Build the zip; gives the script's output. Skips where packages can't be fetched, except in CI."""
    without = {} if python313() else {"WITHOUT_BYTE_CODE": "1"}
    environment = {**clean_environment(), **without, **variables}
    command = [sys.executable, str(SCRIPT), "--output", str(target), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    if "a package index must be reachable" in done.stderr and not os.environ.get("CI"):
        pytest.skip("the package index can't be reached")
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpack(archive: Path, into: Path) -> Path:
    """Unpack it into a directory that was empty."""
    into.mkdir()
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(into)
    return into


def clean_environment() -> dict[str, str]:
    """This process's environment without what would steer another Python, or measure it."""
    steering = ("PYTHON", "COV", "COVERAGE", "AWS_", "ROTATOR_", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    if "PYTHON313" in os.environ:
        kept["PYTHON313"] = os.environ["PYTHON313"]
    return kept


def lambda_site(into: Path, *distributions: str) -> Path:
    """A directory with links to some installed packages and nothing else: the runtime's own."""
    into.mkdir()
    for name in distributions:
        found = importlib.metadata.distribution(name)
        for top in sorted({file.parts[0] for file in found.files or () if ".." not in file.parts}):
            if top != "__pycache__" and not (into / top).exists():
                (into / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    return into


@cache
def python313() -> str | None:
    """The CPython 3.13 that the script finds, asked of the script itself."""
    code = f"import runpy; print(runpy.run_path({str(SCRIPT)!r}, run_name='package')['find_python']() or '')"
    command = [sys.executable, "-c", code]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    return asked.stdout.strip() or None
