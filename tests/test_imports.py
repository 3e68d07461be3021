"""What may be imported where: the layers, a policy that needs no package, a Lambda that loads little."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
POLICY = sorted((ROOT / "rotator" / "policy").glob("*.py"))
# What stands below every layer imports nothing but the standard library itself.
BELOW = ("model", "plan", "reasons", "message", "errors", "key_format", "secret", "text", "durations")
PURE = ("rotator.policy.", *(f"rotator.{name}." for name in BELOW))
HEAVY = {"click", "rich", "moto", "apscheduler", "pydantic", "prometheus_client", "flask", "typer", "httpx", "pytest"}
# structlog.dev imports rich where it is installed, as it is beside these tests; the Lambda's zip has none.
COLD_START = HEAVY - {"rich"}

LAMBDA_SIDE = sorted(
    f"{'.'.join(path.parent.relative_to(ROOT).parts)}.{path.stem}".removesuffix(".__init__")
    for folder in ("", "policy", "engine", "engine/rotation", "engine/emergency", "telemetry", "infobip", "aws")
    for path in (ROOT / "rotator" / folder).glob("*.py")
    if path.stem not in {"daemon", "metrics_server", "timetable", "__main__"}
)


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it; relative imports as absolute ones."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


def loaded_by(code: str, *options: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``code``."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nimport json; print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout))


def test_no_import_goes_upwards() -> None:
    """The contracts of pyproject.toml, as ``make lint`` checks them."""
    lint = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    run = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_policy_loads_without_packages() -> None:
    names = [f"rotator.policy.{path.stem}" for path in POLICY if path.stem != "__init__"]
    # -S leaves site-packages out altogether: what is not the standard library's cannot be found.
    loaded = loaded_by(f"import {', '.join(names)}", "-I", "-S")
    ours = {name for name in loaded if name.partition(".")[0] == "rotator"}
    assert set(names) <= ours
    assert {name for name in ours if not f"{name}.".startswith(PURE)} == {"rotator"}


def test_what_lambda_loads_is_little() -> None:
    code = "import " + ", ".join(LAMBDA_SIDE)
    loaded = {name.partition(".")[0] for name in loaded_by(code)}
    assert not loaded & COLD_START
    assert {"rotator", "requests"} <= loaded  # the search above saw what it was to see


def test_every_imported_package_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = {_name(text) for texts in (project["dependencies"], *extras.values()) for text in texts}
    runtime = declared - {_name(text) for text in extras["dev"]}
    e2e = (ROOT / ".ci" / "requirements-e2e.in").read_text(encoding="utf-8").splitlines()
    declared |= {_name(line) for line in e2e if line and not line.startswith(("#", "-"))}
    installed = packages_distributions()
    own = {"rotator", "tests", "mypy_boto3_secretsmanager", *(path.stem for path in (ROOT / ".ci").glob("*.py"))}
    for folder, allowed in (("rotator", runtime), ("tests", declared), (".ci", declared)):
        for path in (ROOT / folder).rglob("*.py"):
            for name in imported(path):
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or top in own:
                    continue
                owners = {_name(owner) for owner in installed.get(top, [top])}
                # What is declared is made of these: boto3 and requests, moto, jinja2.
                assert owners & (allowed | {"botocore", "botocore-stubs", "urllib3", "werkzeug", "markupsafe"}), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def _name(requirement: str) -> str:
    for stop in "[<>=!~; ":
        requirement = requirement.partition(stop)[0]
    return requirement.lower().replace("_", "-")


def test_version_is_one() -> None:
    assert importlib.import_module("rotator").__version__.count(".") == 2
