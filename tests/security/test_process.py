"""Values in a running process: not in its arguments or environment while it works, not in its memory afterwards."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import leaks
from tests.cli.children import ended, start
from tests.cli.commands import every_command
from tests.cli.local_stack import Stack
from tests.infobip.answers import KEY_VALUE
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "Correct-Horse-Battery-9!"


def test_no_option_takes_secret() -> None:
    """Threat: a secret in the shell history. No option accepts one."""
    words = ("password", "token", "value", "credential", "api-key", "apikey", "leaked")
    for name, command in every_command().items():
        for parameter in command.params:
            takes_text = not getattr(parameter, "is_flag", False)
            named = " ".join([parameter.name or "", *parameter.opts]).lower().replace("_", "-")
            assert not (takes_text and any(word in named for word in words)), f"{name}: {named}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["rotate", KEY_VALUE, "--reason", "r"],
        ["revoke", "--key-id", KEY_VALUE, "--account", "main", "--reason", "r", "--yes"],
        ["revoke", f"--secret={KEY_VALUE.upper()}", "--reason", "r", "--yes"],
        ["rotate", "prod/x", "--reason", f"found {KEY_VALUE} in a log"],
        [KEY_VALUE],
        ["--profile", KEY_VALUE, "plan", "--json"],
    ],
)
def test_value_as_argument_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threat: a leaked value that is given as an argument. It is rejected before it gets into a request and CloudTrail.
    It would get into requests, and by them into AWS's own trail.
    """
    from rotator.cli import main

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # no call would be answered
    assert main(arguments) == 2
    output = "".join(capsys.readouterr())
    assert "rotator revoke --leaked-key-stdin" in output
    assert KEY_VALUE[:12] not in output.lower()


def test_process_list_shows_no_value(stack: Stack) -> None:
    """Threat: the process list. It shows no value. The child is held in the middle of an emergency, and its arguments
    and environment are read as others can.
    """
    account = stack.account("main", password=PASSWORD)
    user = stack.user(account)
    user.password = PASSWORD
    key = stack.secret("app/key", account)
    held = Fault(FaultKind.DELAY, method="PUT", until=threading.Event())
    faults_of(stack.infobip).add(held)
    child = start(stack, "revoke", "--leaked-key-stdin", "--reason", "leak", "--yes", stdin=True)
    try:
        assert child.stdin is not None
        child.stdin.write(leaks.register(str(key.value)))
        child.stdin.close()
        child.stdin = None
        assert held.entered.wait(30)
        seen = b"".join((Path("/proc") / str(child.pid) / name).read_bytes() for name in ("cmdline", "environ"))
    finally:
        assert held.until is not None
        held.until.set()
        out, err = child.communicate(timeout=60)
    ended(child, out, err)
    assert b"--leaked-key-stdin" in seen
    for value in (str(key.value), PASSWORD):
        assert value.encode() not in seen
    assert not stack.infobip.authenticates(str(key.value))


@pytest.mark.parametrize("auth", ["basic", "oauth2"])
def test_no_value_is_in_memory_afterwards(stack: Stack, tmp_path: Path, auth: str) -> None:
    """Threat: a dump of the process after the work. No living object contains a password or a key. After a sweep that
    reads and stores values no living object of the process holds one, in any of its forms.
    """
    account = stack.account("main", password=PASSWORD)
    user = stack.user(account)
    user.password = PASSWORD
    value = {"base_url": stack.infobip_url, "username": user.username, "password": PASSWORD, "auth": auth}
    stack.client.put_secret_value(SecretId="rotator/main", SecretString=json.dumps(value), VersionStages=["AWSCURRENT"])
    old = [stack.secret(name, account) for name in ("app/due", "app/unadopted")]
    labels = stack.client.describe_secret(SecretId="app/unadopted")["VersionIdsToStages"]
    for version, stages in labels.items():
        for label in stages:
            if label.startswith("rotator:"):
                stack.client.update_secret_version_stage(
                    SecretId="app/unadopted", VersionStage=label, RemoveFromVersionId=version
                )
    stack.client.tag_resource(SecretId="app/due", Tags=[{"Key": "rotator:max-age", "Value": "1h"}])
    wanted = tmp_path / "wanted"
    header = base64.b64encode(f"{user.username}:{PASSWORD}".encode()).decode()
    known = [PASSWORD, header, *(str(key.value) for key in old)]
    # The control comes last: something that the process certainly holds.
    wanted.write_text("\n".join(text[::-1] for text in [*known, "log-format"]), encoding="utf-8")
    program = ROOT / "tests" / "security" / "run_and_search_memory.py"
    child = subprocess.run(
        [sys.executable, str(program), str(wanted), "run", "--json"],
        env=stack.environment | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    leaks.check(child.stdout + child.stderr, "the child's output")
    found = json.loads(child.stdout.splitlines()[-1])
    assert '"kind": "rotate"' in child.stdout, child.stderr[-2000:]
    assert '"outcome": "done"' in child.stdout
    assert found["searched"] > 10_000
    assert found["held"] == [len(known)]
