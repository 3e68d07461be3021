from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from rotator.errors import ConfigurationError
from rotator.redaction.redactor import REDACTED, Redactor
from rotator.telemetry.logs import LineStream, configure


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(*learned: str, **options: Any) -> io.StringIO:
    """Where the log goes; the redactor knows these texts."""
    redactor, stream = Redactor(), io.StringIO()
    for text in learned:
        redactor.learn(text)
    configure(LineStream(stream), redactor, **options)
    return stream


def test_log_line_is_redacted_json(used_secrets: Callable[[str], str]) -> None:
    secret = used_secrets("correct-horse-battery")
    stream = configured(secret)
    logging.getLogger("rotator.x").info(
        "got %s\n", secret, extra={"account": "main", "body": {"password": "p", "n": [secret]}}
    )
    (line,) = lines(stream)
    assert stream.getvalue().count("\n") == 1
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "log": "rotator.x",
        "event": f"got {REDACTED}\n",
        "account": "main",
        "body": {"password": REDACTED, "n": [REDACTED]},
    }


def test_traceback_is_redacted(used_secrets: Callable[[str], str]) -> None:
    secret = used_secrets("correct-horse-battery")
    stream = configured(secret)
    try:
        raise ValueError(f"it was {secret}")
    except ValueError:
        logging.getLogger("rotator").exception("failed")
    (line,) = lines(stream)
    assert f"ValueError: it was {REDACTED}" in line["exception"]
    assert secret not in stream.getvalue()


def test_wrong_format_prints_no_argument(used_secrets: Callable[[str], str]) -> None:
    stream = configured()
    logging.getLogger("rotator").warning("%d keys", used_secrets("correct-horse-battery"))
    assert lines(stream)[0]["level"] == "warning"
    assert "horse" not in stream.getvalue()


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("INFO", 3), ("warning", 2), ("error", 1)])
def test_levels(level: str, shown: int) -> None:
    stream = configured(level=level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("rotator").log(number, "x")
    assert len(lines(stream)) == shown


def test_unknown_level_is_error() -> None:
    with pytest.raises(ConfigurationError, match="loud"):
        configure(LineStream(io.StringIO()), Redactor(), level="loud")


@pytest.mark.parametrize("name", ["botocore.endpoint", "urllib3.connectionpool"])
def test_libraries_log_no_bodies_at_debug(name: str) -> None:
    """Threat: debug logs of libraries that print bodies. They are filtered."""
    stream = configured(level="debug")
    logging.getLogger(name).debug("Response body: secret")
    logging.getLogger(name).warning("Connection lost")
    assert [line["event"] for line in lines(stream)] == ["Connection lost"]


def test_other_handlers_are_replaced() -> None:
    foreign, first, second = io.StringIO(), io.StringIO(), io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(foreign))
    configure(LineStream(first), Redactor())
    configure(LineStream(second), Redactor())
    logging.getLogger("rotator").info("x")
    assert (foreign.getvalue(), first.getvalue()) == ("", "")
    assert len(lines(second)) == 1


def test_warnings_go_there_too() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old App secret-key-1234", stacklevel=1)
    assert f"old App {REDACTED}" in lines(stream)[0]["event"]


def test_extra_cannot_take_place_of_field() -> None:
    stream = configured()
    logging.getLogger("rotator").info("x", extra={"log": "forged", "level": "forged", "event": "forged"})
    assert lines(stream)[0] | {"timestamp": ""} == {"timestamp": "", "level": "info", "log": "rotator", "event": "x"}


def test_on_terminal_line_is_for_people() -> None:
    stream = configured(console=True)
    logging.getLogger("rotator").info("hello\x1b[2J", extra={"account": "main"})
    assert "hello" in stream.getvalue()
    assert "account=main" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_long_text_is_redacted_then_cut() -> None:
    stream = configured("s" * 100)
    logging.getLogger("rotator").info("%s", "x" * 8_150 + "s" * 100 + "y" * 10_000)
    assert "sss" not in stream.getvalue()
    assert len(stream.getvalue()) < 9_000
