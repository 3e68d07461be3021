from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.audit_events import Event
from rotator.errors import BadCredentials, ConfigurationError, MissingRole, OutcomeUnknown, Refused, StoreDenied
from rotator.ports import AuditSink
from rotator.redaction.patterns import SENSITIVE_NAME
from rotator.redaction.redactor import REDACTED, Redactor
from rotator.telemetry.audit import FIELDS, NO_LINE, Audit, AuditUnavailable, Trigger, change
from rotator.telemetry.audit_verify import verify

ROOT = Path(__file__).parent.parent
NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"the audit does not wait ({seconds})")


def make(stream: Any, **options: Any) -> Audit:
    given_options: dict[str, Any] = {
        "deployment": "blue",
        "actor": "ops@example.com",
        "trigger": Trigger.MANUAL,
        "redactor": Redactor(),
        "clock": FixedClock(),
    }
    return Audit(stream, **{**given_options, **options})


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def test_line_has_fields_then_extras() -> None:
    stream = io.StringIO()
    audit: AuditSink = make(stream, run_id="run-1")
    audit.emit(
        Event.KEY_CREATED, "success", secret="prod/sms/otp", key_id="A1", strategy="replace-first", duration_ms=12
    )
    (line,) = lines(stream)
    assert tuple(line) == (*FIELDS, "strategy")
    assert line == dict.fromkeys(FIELDS) | {
        "timestamp": "2026-11-23T12:00:00.123Z",
        "level": "info",
        "event": "key.created",
        "outcome": "success",
        "run_id": "run-1",
        "seq": 1,
        "prev": NO_LINE,
        "deployment": "blue",
        "actor": "ops@example.com",
        "trigger": "manual",
        "secret": "prod/sms/otp",
        "key_id": "A1",
        "duration_ms": 12,
        "strategy": "replace-first",
    }


def test_line_holds_digest_of_previous() -> None:
    stream = io.StringIO()
    audit = make(stream)
    for event in ("sweep.started", "key.created", "key.created", "alert.raised", "sweep.completed"):
        audit.emit(event, "attempt")
    raw = stream.getvalue().split("\n")[:-1]
    digests = [hashlib.sha256(line.encode()).hexdigest() for line in raw]
    assert [line["prev"] for line in lines(stream)] == [NO_LINE, *digests[:-1]]
    assert [line["seq"] for line in lines(stream)] == [1, 2, 3, 4, 5]
    assert {line["run_id"] for line in lines(stream)} == {audit.run_id}


def test_levels_and_another_actor() -> None:
    stream = io.StringIO()
    audit = make(stream)
    for event in ("key.created", "alert.raised"):
        for outcome in ("attempt", "success", "failure", "denied"):
            audit.emit(event, outcome, actor="security@example.com")
    assert [line["level"] for line in lines(stream)] == ["info", "info", "error", "error", *["warning"] * 4]
    assert {line["actor"] for line in lines(stream)} == {"security@example.com"}


def test_unwritable_line_is_refused() -> None:
    stream = io.StringIO()
    audit = make(stream)
    with pytest.raises(ValueError, match="succeeded"):
        audit.emit(Event.KEY_CREATED, "succeeded")
    with pytest.raises(ValueError, match="seq"):
        audit.emit(Event.KEY_CREATED, "success", seq=7)
    with pytest.raises(ConfigurationError, match="schedule"):
        make(stream, trigger="cron")
    assert stream.getvalue() == ""


def test_everything_from_outside_is_redacted(used_secrets: Callable[[str], str]) -> None:
    secret = used_secrets("Correct-horse-battery-24")
    redactor = Redactor()
    redactor.learn(secret)
    stream = io.StringIO()
    audit = make(stream, redactor=redactor, actor=f"me {secret}")
    values = {"reason": f"leaked {secret}", "incident": secret, "error": ValueError(f"Bearer {secret}")}
    audit.emit(Event.KEY_CREATED, "failure", **values, nested={secret: [secret]}, **{secret: 1})
    assert secret not in stream.getvalue()
    (line,) = lines(stream)
    assert line["error"] == f"ValueError: Bearer {REDACTED}"
    assert line["reason"] == f"leaked {REDACTED}"
    assert line["nested"] == {REDACTED: [REDACTED]}
    assert line[REDACTED] == 1


@pytest.mark.parametrize("value", ["alert.raised", "success", "prod/payments", "A1", "blue", "expiring", "attempts"])
def test_common_text_keeps_constants(value: str) -> None:
    """Whatever text somebody stored as a secret, alarms that count an event or a secret still see it."""
    redactor = Redactor()
    redactor.learn(value)
    names = ("account", "secret", "version_id", "key_id", "incident")
    fields: dict[str, Any] = {**dict.fromkeys(names, value), "reason": "expiring", "attempts": 2}
    expected, stream = io.StringIO(), io.StringIO()
    for each, knowing in ((expected, Redactor()), (stream, redactor)):
        audit = make(each, redactor=knowing, deployment=value, actor=value, run_id="run")
        audit.emit("alert.raised", "success", **fields)
    assert stream.getvalue() == expected.getvalue()


def test_key_shape_is_redacted_everywhere() -> None:
    """Threat: an API key's value in any field. What has the format of a key is redacted everywhere."""
    value = "-".join(("0123456789abcdef" * 2, "01234567", "0123", "4567", "89ab", "0123456789ab"))
    stream = io.StringIO()
    names = ("account", "secret", "version_id", "key_id", "reason", "incident", "error", "detail", "label")
    audit = make(stream, actor=value, deployment=value)
    audit.emit(value, "success", **dict.fromkeys(names, f"a/{value}"), **{value: {"key_id": [value]}})
    assert value not in stream.getvalue()
    assert lines(stream)[0]["secret"] == f"a/{REDACTED}"


def test_weak_password_redacted_in_errors() -> None:
    """Threat: a weak password in a server's message. It is redacted in untrusted text."""
    redactor = Redactor()
    redactor.learn("hunter2")
    stream = io.StringIO()
    fields = {"secret": "app/hunter2", "error": "refused: hunter2", "detail": "user ops, password is hunter2."}
    make(stream, redactor=redactor).emit("rotation.failed", "failure", **fields)
    (line,) = lines(stream)
    assert line["secret"] == "app/hunter2"
    assert (line["error"], line["detail"]) == (f"refused: {REDACTED}", f"user ops, password is {REDACTED}.")


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_value_can_break_line(value: str, name: str) -> None:
    """Threat: a value that forges an audit line. Each record is one line of ASCII."""
    stream = io.StringIO()
    fields: dict[str, Any] = {name: value} if name not in FIELDS else {}
    make(stream).emit("key.created", "success", reason=value + "\u2028\n\r\x85\x1b[31m\ud800", **fields)
    text = stream.getvalue()
    assert text.isascii()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert json.loads(text)["seq"] == 1


def test_servers_long_answer_is_cut() -> None:
    stream = io.StringIO()
    make(stream).emit("key.created", "failure", error="x" * 100_000)
    assert len(stream.getvalue()) < 10_000
    assert "more characters" in lines(stream)[0]["error"]


class TestChange:
    def test_intent_before_result_after(self) -> None:
        stream = io.StringIO()
        audit = make(stream)
        with change(audit, Event.KEY_CREATED, secret="prod/x", reason="expiring") as result:
            assert [line["outcome"] for line in lines(stream)] == ["attempt"]
            result["key_id"] = "A1"
        attempt, success = lines(stream)
        assert (attempt["key_id"], attempt["duration_ms"]) == (None, None)
        assert (success["outcome"], success["key_id"], success["secret"]) == ("success", "A1", "prod/x")
        assert type(success["duration_ms"]) is int

    @pytest.mark.parametrize(
        ("error", "outcome", "said"),
        [
            (ValueError("App secret-key-12"), "failure", f"ValueError: App {REDACTED}"),
            (OutcomeUnknown("no answer"), "failure", "OutcomeUnknown: no answer"),
            (StoreDenied("no", action="x"), "denied", "StoreDenied: no"),
            (MissingRole("no role", advice="Get one."), "denied", "MissingRole: no role. Get one."),
            (BadCredentials("bad", advice="Fix."), "denied", "BadCredentials: bad. Fix."),
            (Refused("hold"), "denied", "Refused: hold"),
            (KeyboardInterrupt("App secret-key-12"), "failure", "interrupted"),
            (SystemExit(3), "failure", "interrupted"),
        ],
    )
    def test_error_is_written_down_and_goes_on(self, error: BaseException, outcome: str, said: str) -> None:
        stream = io.StringIO()
        with pytest.raises(type(error)) as caught, change(make(stream), Event.KEY_REVOKED, key_id="A1"):
            raise error
        assert caught.value is error
        last = lines(stream)[-1]
        assert (last["outcome"], last["error"], last["key_id"]) == (outcome, said, "A1")

    def test_changes_error_wins_over_files(self, tmp_path: Path) -> None:
        audit = make(io.StringIO(), audit_file=tmp_path / "audit.jsonl")
        with pytest.raises(OutcomeUnknown), change(audit, Event.KEY_CREATED):
            audit.close()
            raise OutcomeUnknown("no answer")

    def test_file_failing_later_fails_run(self, tmp_path: Path) -> None:
        audit = make(io.StringIO(), audit_file=tmp_path / "audit.jsonl")
        with pytest.raises(AuditUnavailable), change(audit, Event.KEY_CREATED):
            audit.close()


class TestStream:
    def test_terminal_gets_text_and_file_json(self, tmp_path: Path) -> None:
        stream = io.StringIO()
        audit = make(stream, audit_file=tmp_path / "audit.jsonl", console=True)
        audit.emit(Event.KEY_REVOKED, "success", secret="prod/x", reason="a\x1b[31mb\nc")
        shown = stream.getvalue()
        assert "key.revoked" in shown
        assert "prod/x" in shown
        assert audit.run_id not in shown
        assert "\x1b" not in shown
        assert shown.count("\n") == 1
        assert json.loads((tmp_path / "audit.jsonl").read_text())["reason"] == "a\x1b[31mb\nc"

    def test_closed_stream_is_no_error(self) -> None:
        stream = io.StringIO()
        audit = make(stream)
        stream.close()
        audit.emit("sweep.started", "attempt")


class TestFile:
    def test_file_is_private_with_same_bytes(self, tmp_path: Path) -> None:
        """Threat: other users who read the audit file. Its mode is 0600."""
        stream = io.StringIO()
        path = tmp_path / "audit.jsonl"
        audit = make(stream, audit_file=path)
        audit.emit("sweep.started", "attempt")
        audit.emit("sweep.completed", "success")
        assert path.read_text() == stream.getvalue()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_last_line_is_found_behind_long_one(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        last = b'{"n": "' + b"x" * 200_000 + b'"}'
        path.write_bytes(b'{"n": 1}\n' + last + b"\n")
        make(io.StringIO(), audit_file=path).emit("sweep.started", "attempt")
        assert json.loads(path.read_bytes().split(b"\n")[2])["prev"] == hashlib.sha256(last).hexdigest()

    def test_half_line_does_not_swallow_next(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        path.write_bytes(b'{"event": "key.cre')
        make(io.StringIO(), audit_file=path).emit("sweep.started", "attempt")
        raw = path.read_bytes().split(b"\n")
        assert raw[0] == b'{"event": "key.cre'
        assert json.loads(raw[1])["prev"] == hashlib.sha256(raw[0]).hexdigest()

    @pytest.mark.parametrize("name", ["missing/audit.jsonl", "", "fifo"])
    def test_unwritable_file_stops_run_at_start(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(ConfigurationError, match=str(tmp_path)):
            make(io.StringIO(), audit_file=tmp_path / name)

    def test_full_disk_stops_change(self, tmp_path: Path) -> None:
        """Threat: a change that can't be recorded. It is not made."""
        path = tmp_path / "audit.jsonl"
        stream = io.StringIO()
        audit = make(stream, audit_file=path)
        audit.emit("sweep.started", "attempt")
        before = path.read_bytes()
        changed = False
        full = file_size_limit(len(before) + 10)
        with full, pytest.raises(AuditUnavailable, match=r"audit\.jsonl"), change(audit, Event.KEY_REVOKED):
            changed = True
        assert not changed
        assert path.read_bytes() == before
        # Where there is room again, the chain goes on as if nothing had been tried.
        audit.emit("sweep.completed", "failure")
        assert verify(path).ok
        assert path.read_text() == stream.getvalue()

    def test_threads_and_runs_keep_their_chains(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        audits = [make(io.StringIO(), audit_file=path) for _ in range(3)]
        gate = threading.Barrier(6)

        def write(audit: Audit) -> None:
            gate.wait()
            for _ in range(50):
                audit.emit("key.verified", "success")

        threads = [threading.Thread(target=write, args=(audit,)) for audit in audits for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = verify(path)
        assert report.problems == ()
        assert (report.runs, report.audit_lines, report.unlinked_runs) == (3, 300, ())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel's own limit: a write past it is short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_no_field_is_named_like_credential() -> None:
    """Their values are redacted, but not taken out whole for their name's sake."""
    assert [name for name in FIELDS if SENSITIVE_NAME.fullmatch(name)] == []
    assert SENSITIVE_NAME.fullmatch("access_token")
