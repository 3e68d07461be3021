"""What the documents say is true: commands run, links lead somewhere, every event, tag and setting is there."""

from __future__ import annotations

import io
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest

from rotator.cli import main
from rotator.policy.tags import KNOWN_TAGS
from rotator.settings import Settings
from rotator.telemetry.audit import FIELDS
from tests.cli.commands import every_command
from tests.cli.local_stack import Stack

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ENDLESS = frozenset({"demo", "sandbox", "serve"})
"""They are parsed, and have tests of their own."""
CONTRACT_EVENTS = {
    *("sweep.started", "sweep.completed", "key.created", "key.verified", "key.rejected", "secret.staged"),
    *("secret.promoted", "secret.rolled_back", "key.retiring", "key.revoked", "key.orphan_found", "rotation.failed"),
    *("revocation.failed", "emergency.requested", "emergency.completed", "alert.raised"),
}
PLACEHOLDERS = frozenset({"SECRET", "FILE", "FILE.html", "R", "F", "A", "S", "K", "D", "N"})


def commands() -> dict[str, str]:
    """Every command in a block of code that a reader may copy, and the document that it stands in first."""
    found: dict[str, str] = {}
    for path in DOCUMENTS:
        for block in re.findall(r"^ *```(?:sh|bash|console)?\n(.*?)^ *```", path.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.fullmatch(r"\s*(?:\$ )?(?:.*\| )?(rotator [^#<>|]*?)\s*(?:[#<>|].*)?", line)
                if match and "…" not in match[1]:
                    found.setdefault(match[1], path.name)
    for name, command in every_command().items():
        for line in re.sub(r"\\\n\s*", "", command.help or "").splitlines():
            match = re.fullmatch(r" +(?:.* \| )?(rotator [^#<>|]*?)\s*(?:  .*|[#<>|].*)?", line)
            if match:
                found.setdefault(match[1], f"{name} --help")
    return found


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("command", commands())
def test_documented_options_exist(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if word not in PLACEHOLDERS]
    while words and words[0] in ("--region", "--profile", "--log-format"):
        words = words[2:]
    known = every_command()
    names = [" ".join(words[:count]) for count in (1, 2)]
    assert names[0] in known, f"{command}: no such command"
    chosen = known.get(names[1], known[names[0]])
    given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert given <= options_of(chosen), command


def runnable() -> list[str]:
    """Those that end, and name what there is."""
    split = {command: shlex.split(command)[1:] for command in commands()}
    return [name for name, words in split.items() if words[0] not in ENDLESS and not PLACEHOLDERS & set(words)]


def expected(words: list[str]) -> int:
    """The exit code over a fleet in which nothing is wrong and some work is due."""
    if words[0] == "plan" and "--exit-code" in words:
        return 3
    return 2 if words[0] in ("rehearse", "revoke") and not {"--yes", "--dry-run", "--clean"} & set(words) else 0


def test_most_commands_are_run() -> None:
    assert len(runnable()) > 45
    named = {shlex.split(command)[1] for command in commands()}
    assert named >= {"plan", "run", "revoke", "rollback", "adopt", "forecast", "report", "inventory"}
    assert {expected(shlex.split(command)[1:]) for command in runnable()} == {0, 2, 3}


@pytest.mark.parametrize("command", runnable())
def test_documented_commands_work(
    stack: Stack, command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Over the example fleet without its one mistake, and after what the document says came before."""
    keys = stack.seed()
    stack.client.untag_resource(SecretId="prod/legacy", TagKeys=["rotator:grace"])
    monkeypatch.chdir(tmp_path)
    for name, text in stack.environment.items():
        if name.startswith(("AWS_", "ROTATOR_")):
            monkeypatch.setenv(name, text)
    words = [word.removeprefix("/var/log/rotator/") for word in shlex.split(command)[1:]]
    if words[0] == "rollback":
        assert main(["rotate", words[1], "--reason", "before"]) == 0
    if "audit.jsonl" in words and words[0] != "run":
        assert main(["run", "--audit-file", "audit.jsonl"]) == 0
    if "--verify" in words:
        assert main(["evidence", "--from", "2026-09-01", "--to", "2026-11-30", "-o", words[-1]]) == 0
    if "--key-id" in words:
        words[words.index("--key-id") + 1] = keys["prod/sms/otp"].id
    if "--leaked-key-stdin" in words:
        leaked = f"INFOBIP_API_KEY={keys['prod/sms/otp'].value}\n".encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(leaked)))
    capfd.readouterr()
    code = main(words)
    out, err = capfd.readouterr()
    assert code == expected(words), f"{commands()[command]}: {out}{err}"
    assert "Traceback" not in out + err


# ---- what must be there ---------------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        text = path.read_text()
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#[^)]*)?\)", text):
            assert not target or (path.parent / target).exists(), f"{path.name}: {target}"
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
            other = path.parent / target if target else path
            titles = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{path.name}: {target}#{anchor}"


def test_modules_in_architecture_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?|[a-z_]+/[a-z_]+)`", text) + re.findall(
        r'\["(\w+/\w+)[": ]', text
    )
    assert len(named) > 40
    known = {path for folder in (ROOT / "rotator", ROOT) for path in named if (folder / path).exists()}
    assert sorted({*named} - known - {path for path in named if (ROOT / "rotator" / f"{path}.py").exists()}) == []


def test_every_event_is_in_table() -> None:
    text = (ROOT / "docs/audit.md").read_text()
    emitted = set(re.findall(r'"((?:sweep|key|secret|rotation|revocation|emergency|alert)\.[a-z_]+)"', _sources()))
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", text, re.MULTILINE)) == emitted
    assert emitted >= CONTRACT_EVENTS
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"')]
    assert tuple(lines[0]) == FIELDS
    assert all({"event", "outcome", "level", "actor", "trigger"} <= line.keys() for line in lines)
    assert [name for name in FIELDS if f"`{name}`" not in text] == []


def _sources() -> str:
    sandbox = ROOT / "rotator" / "sandbox"
    return "\n".join(path.read_text() for path in (ROOT / "rotator").rglob("*.py") if sandbox not in path.parents)


def test_every_tag_is_described() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    assert [tag for tag in KNOWN_TAGS if tag not in text] == []


def test_every_setting_is_described() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    assert [field.name for field in fields(Settings) if f"`ROTATOR_{field.name.upper()}`" not in text] == []


def test_every_alarm_is_in_runbook() -> None:
    alarms = set(re.findall(r"AlarmName: .*\}-([a-z-]+)$", (ROOT / "serverless.yml").read_text(), re.MULTILINE))
    alarms = {name for name in alarms if not name.endswith("-errors")}  # one for each function, in one row
    assert len(alarms) >= 9
    text = (ROOT / "docs/runbook.md").read_text()
    assert [name for name in alarms if f"`{name}`" not in text] == []
