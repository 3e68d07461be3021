"""The repository itself: what lies where, and what must not be written in it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import rotator
from needed_tools import SCANNERS, TOOLS

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.txt", "requirements-cli.txt", "requirements-dev.txt")
TOP_LEVEL = {
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "Containerfile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "docs",
    "package-lock.json",
    "package.json",
    "pyproject.toml",
    "rotator",
    "serverless.yml",
    "terraform",
    "tests",
    *LOCKS,
}
# In pieces, for this file is searched too.
HOSTS = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry.npm" + "js.org",
    "registry.yarn" + "pkg.com",
    "deb." + "debian.org",
)
BUILD_PATHS = re.compile(r"(?<![\w.$}/-])/(?:root|work|workspace|builds)/\w", re.IGNORECASE)


def repository_files() -> list[Path]:
    """What is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_only_known_entries_lie_at_top() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in repository_files()} - TOP_LEVEL == set()


def test_no_file_names_registry_or_machine() -> None:
    found = []
    for path in repository_files():
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {host}" for host in HOSTS if host in text.lower()]
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in BUILD_PATHS.finditer(text)]
    assert not found


def test_files_are_text_and_small() -> None:
    for path in repository_files():
        data = path.read_bytes()
        assert len(data) < 1_000_000, f"{path.relative_to(ROOT)} is too large to be a source file"
        if path.suffix not in {".png", ".ico"}:
            assert b"\0" not in data, path.relative_to(ROOT)
            assert b"\r\n" not in data, path.relative_to(ROOT)


def test_python_files_postpone_annotations() -> None:
    for folder in ("rotator", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            code = "import " in text or "def " in text or "class " in text
            assert not code or path.name == "__init__.py" or "from __future__ import annotations" in text, path


def test_names_of_tests_are_short() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"(?m)^def (test_\w+)", path.read_text(encoding="utf-8")):
            assert len(name) <= 40, f"{path.name}: {name}"
            assert not {"a", "an", "the"} & set(name.split("_")), f"{path.name}: {name}"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_without_addresses(lock: str) -> None:
    """Threat: a dependency that is exchanged in transit. Locks contain versions and hashes of everything."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", text).strip())
    assert len(entries) > 5
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==[^\s;]+", entry), entry[:60]
        assert "--hash=sha256:" in entry, entry[:60]


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)==([^\s;]+)", (ROOT / lock).read_text(encoding="utf-8")))


def test_locks_are_complete_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    runtime = project["dependencies"]
    commands = [*runtime, *extras["cli"], *extras["sandbox"]]
    for lock, wanted in zip(LOCKS, (runtime, commands, [*commands, *extras["dev"]]), strict=True):
        names = {re.split(r"[\[<>=!~; ]", text)[0] for text in wanted} - {project["name"]}
        missing = names - _pins(lock).keys()
        assert not missing, f"{lock} lacks {missing}: run make lock"
    everything = _pins("requirements-dev.txt")
    for lock in LOCKS:
        assert _pins(lock).items() <= everything.items()


def test_runtime_lock_has_no_cli_packages() -> None:
    assert not _pins("requirements.txt").keys() & {"click", "rich", "apscheduler", "moto", "flask", "pydantic"}


def test_changelog_is_kept() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    assert re.search(rf"^## \[{re.escape(rotator.__version__)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)


def test_ci_runs_tests_last() -> None:
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert commands[0] == "set -euo pipefail"
    assert commands[-1].endswith("make --no-print-directory alltests")


def test_jobs_with_write_access_run_no_code() -> None:
    """Threat: a dependency that runs in CI publishes or signs. Jobs that run this project's code can only read."""
    workflows = list((ROOT / ".github" / "workflows").glob("*.yml"))
    jobs = [job for path in workflows for job in re.split(r"(?m)^  (?=\w+:$)", path.read_text(encoding="utf-8"))]
    writing = {job for job in jobs if re.search(r"(?m)^ +[a-z-]+: write\b", job)}
    running = {job for job in jobs if re.search(r"run: .*\b(make|python|npm|npx|pip) |\.ci/", job)}
    assert writing, "no job publishes"
    assert running, "no job runs make"
    assert not writing & running


@pytest.mark.parametrize(("tag", "marked"), [("v1.0.0", False), ("v1.0.0rc1", True), ("v1.0.0.dev1", True)])
def test_tag_with_letters_is_pre_release(tag: str, marked: bool) -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    (script,) = (part for part in re.findall(r"run: \|\n((?: {10}.*\n)+)", text) if "gh release create" in part)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"gh() {{ echo $*; }}\n{script}"],
        env={"GITHUB_REF_NAME": tag, "GITHUB_REPOSITORY": "owner/name"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tag in ran.stdout, "--prerelease" in ran.stdout) == (True, marked)


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.*ml")]
    for path in [*pages, ROOT / ".ci/run"]:
        text = path.read_text(encoding="utf-8")
        for found in re.findall(r"(?:`|run: |^)make (?:--no-print-directory )?([a-z0-9]+)", text, re.MULTILINE):
            named[found] = path.name
    assert {"demo", "test", "check", "release", "e2e"} <= named.keys()
    assert named.keys() <= targets, {name: where for name, where in named.items() if name not in targets}


def test_container_does_not_run_as_root() -> None:
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 65532:65532"]
    assert not [line for line in lines if re.match(r"(ADD|ARG|ENV)\b.*(KEY|SECRET|TOKEN|PASSWORD)", line)]


def test_make_tools_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert TOOLS["osls"].first is not None
    assert TOOLS["osls"].advice.startswith(TOOLS["osls"].first[1])
    (tmp_path / "npm").touch(0o755)
    assert TOOLS["osls"].advice == TOOLS["osls"].get


def test_make_tools_lists_every_need() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    needs = {
        name for text in texts for name in re.findall(r'(?:"needs |require\("|missing\(")([A-Z\w][\w. -]*)"', text)
    }
    assert needs == set(TOOLS) - {SCANNERS}
