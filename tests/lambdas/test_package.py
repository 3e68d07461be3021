"""``dist/rotator-lambda.zip``: the same bytes twice, what is in it, and that it runs by itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.lambdas.lambda_stack import DAY, LambdaStack
from tests.lambdas.package import RUNTIME, build, clean_environment, lambda_site, python313, unpack

FORBIDDEN = {"rich", "click", "typer", "apscheduler", "pydantic", "moto", "prometheus_client", "flask", "httpx"}
OURS = ("certifi", "charset_normalizer", "idna", "requests", "rotator", "structlog", "tzdata", "urllib3")
needs_313 = pytest.mark.skipif(python313() is None, reason="needs Python 3.13")


@pytest.fixture(scope="module")
def names(archive: tuple[Path, str]) -> list[str]:
    with zipfile.ZipFile(archive[0]) as opened:
        return opened.namelist()


def ran(python: str, code: str, *path: Path, **variables: str) -> str:
    """The output of a Python that finds modules in ``path`` only."""
    environment = {**clean_environment(), **variables, "PYTHONPATH": ":".join(map(str, path))}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [python, "-S", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=path[0], timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- the file -------------------------------------------------------------------------------------------------------


def test_two_builds_are_equal(archive: tuple[Path, str], tmp_path: Path) -> None:
    printed = build(tmp_path / "again.zip", TZ="Pacific/Auckland", PYTHONHASHSEED="7", SOURCE_DATE_EPOCH="1")
    assert (tmp_path / "again.zip").read_bytes() == archive[0].read_bytes()
    assert printed.splitlines()[-1] == archive[1].splitlines()[-1]


def test_size_is_reported(archive: tuple[Path, str]) -> None:
    size = archive[0].stat().st_size
    assert f"{size:,} bytes" in archive[1]
    assert size < 4_000_000
    assert re.search(r"^CodeSha256 [A-Za-z0-9+/]{43}=$", archive[1], re.MULTILINE)


def test_entries_are_sorted_and_dated_alike(archive: tuple[Path, str]) -> None:
    with zipfile.ZipFile(archive[0]) as opened:
        entries = opened.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}


def test_what_is_in_it(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(OURS)
    assert "rotator/lambda_handlers.py" in names
    assert "tzdata/zoneinfo/Europe/Zagreb" in names
    assert "certifi/cacert.pem" in names


def test_what_is_not_in_it(names: list[str]) -> None:
    folders = r"(^|/)(tests?|bin|sandbox|cli|report|boto3|botocore)/"
    files = r"(\.(so|pyd|pyi|whl)|RECORD|/(daemon|doctor|manual|audit_verify)\.py)$"
    assert [name for name in names if re.search(f"{folders}|{files}", name)] == []
    assert [name for name in names if "__pycache__" in name and not name.endswith(".cpython-313.pyc")] == []


def test_each_package_has_its_license(names: list[str]) -> None:
    for top in set(OURS) - {"rotator"}:
        about = [name for name in names if name.startswith(f"{top}-") and ".dist-info/" in name]
        assert any(name.endswith("/METADATA") for name in about)
        assert any("LICENSE" in name.upper() for name in about), top
    assert "rotator/LICENSE" in names


@needs_313
def test_every_module_has_byte_code(names: list[str]) -> None:
    sources = {name for name in names if name.endswith(".py")}
    made = re.compile(r"__pycache__/(\w+)\.cpython-313\.pyc$")
    compiled = {made.sub(r"\1.py", name) for name in names if made.search(name)}
    assert compiled == sources


@pytest.mark.slow
def test_boto3_can_be_bundled(tmp_path: Path) -> None:
    printed = build(tmp_path / "a.zip", BUNDLE_BOTO3="1")
    assert "boto3 bundled" in printed
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        names = opened.namelist()
    services = {name.split("/")[2] for name in names if re.match(r"botocore/data/[\w-]+/", name)}
    used = {"secretsmanager", "sqs", "events", "cloudtrail", "sts"}
    assert used <= services <= used | {"signin", "sso", "sso-oidc"}
    task = unpack(tmp_path / "a.zip", tmp_path / "task")
    code = "import rotator.lambda_handlers, botocore; print(botocore.__file__)"
    loaded = ran(sys.executable, code, task, AWS_LAMBDA_FUNCTION_NAME="f", AWS_REGION="eu-central-1")
    assert loaded.startswith(str(task))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PYTHON313": "/none/python"}, r"PYTHON313=/none/python is not a CPython 3\.13"),
        ({"PATH": "", "HOME": "/none", "PYENV_ROOT": "/none", "UV_PYTHON_INSTALL_DIR": "/none"}, "Nothing was built"),
    ],
    ids=["named", "none"],
)
def test_nothing_is_built_without_python(tmp_path: Path, variables: dict[str, str], message: str) -> None:
    if sys.version_info[:2] == (3, 13) and "PATH" in variables:
        pytest.skip("this Python is the Lambda's")
    target = tmp_path / "a.zip"
    with pytest.raises(AssertionError, match=message):
        build(target, WITHOUT_BYTE_CODE="", **variables)
    assert not target.exists()


def test_zip_without_byte_code_is_asked_for(tmp_path: Path) -> None:
    assert "WITHOUT byte code" in build(tmp_path / "a.zip", "--without-byte-code", PATH="", HOME="/none")
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert not any(name.endswith(".pyc") for name in opened.namelist())


# ---- unpacked -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lambda_site(tmp_path_factory.mktemp("lambda") / "runtime", *RUNTIME)


CALLED = """
import json, sys
from rotator import lambda_handlers
assert lambda_handlers.__file__.startswith({task!r}), lambda_handlers.__file__
class Context:
    aws_request_id = "1"
    def get_remaining_time_in_millis(self): return 900000
answer = lambda_handlers.{handler}({event!r}, Context())
print(json.dumps([answer, sorted(sys.modules)]))
"""


def called(stack: LambdaStack, python: str, task: Path, beside: Path, handler: str, event: Any) -> tuple[Any, set[str]]:
    """A handler's answer, and every module that was loaded then."""
    code = CALLED.format(task=str(task), handler=handler, event=event)
    out = ran(python, code, task, beside, **stack.environment)
    answer, modules = json.loads(out)
    return answer, set(modules)


@pytest.mark.parametrize("beside", ["the runtime's packages", "all packages"])
def test_handler_loads_nothing_heavy(stack: LambdaStack, task: Path, runtime: Path, beside: str) -> None:
    stack.secret("prod/sms", left=5 * DAY)
    place = runtime if beside == "the runtime's packages" else Path(pytest.__file__).parent.parent
    answer, modules = called(stack, sys.executable, task, place, "sweep", {})
    assert answer["done"] == 1
    loaded = {name.partition(".")[0] for name in modules}
    # structlog loads rich where it is installed; in a Lambda it is not.
    assert not loaded & (FORBIDDEN - ({"rich"} if beside == "all packages" else set()))
    assert not [name for name in modules if name.startswith(("rotator.sandbox", "rotator.cli"))]
    assert "boto3" not in loaded  # botocore alone starts faster


@needs_313
def test_byte_code_runs_on_lambdas_python(
    stack: LambdaStack, archive: tuple[Path, str], tmp_path: Path, runtime: Path
) -> None:
    python = python313()
    assert python is not None
    task = unpack(archive[0], tmp_path / "task")
    for source in task.rglob("*.py"):
        source.write_text("raise SystemExit('the source was run')", encoding="utf-8")
    stack.secret("prod/sms", left=5 * DAY)
    answer, modules = called(stack, python, task, runtime, "sweep", {})
    assert answer["done"] == 1
    assert "structlog" in modules
    assert stack.consumer_works("prod/sms")
