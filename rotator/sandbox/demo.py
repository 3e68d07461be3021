"""``rotator demo``: the main job, end to end, time-lapsed, in the embedded sandbox. No account, no credentials."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rotator.engine.manual import status
from rotator.policy.status import SecretState
from rotator.sandbox.demo_score import Referee, Score
from rotator.sandbox.demo_show import Narrator
from rotator.sandbox.demo_story import DAYS, Story
from rotator.sandbox.demo_world import DemoWorld
from rotator.telemetry.audit import Trigger
from rotator.telemetry.audit_verify import VerifyReport, verify

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["run_demo"]


def run_demo(console: Console | None, *, json_out: bool, audit_file: Path | None, seed: int = 1) -> int:
    """Let 120 days of the example fleet pass in less than a minute, and judge them.

    :param console: where the story is told; ``None`` tells nobody.
    :param json_out: print one JSON document with the score on stdout, which then holds nothing else.
    :param audit_file: audit lines are appended to it; a new temporary file by default, which stays.
    :param seed: of ids, values and waits; the same seed tells the same story.
    :return: 0 where every promise was kept, else 1.
    :raises ConfigurationError: moto is missing, or the audit file can't be written.
    """
    path = audit_file or Path(tempfile.mkdtemp(prefix="rotator-demo-")) / "audit.jsonl"
    before = path.stat().st_size if path.exists() else 0
    if json_out and console is not None and console.file is sys.stdout:
        console = None
    score = Score()
    with Narrator(console, DAYS) as narrator:
        _introduce(narrator)  # before the servers start, which takes a moment
        with DemoWorld(path, seed=seed) as world:
            referee = Referee(
                score,
                world.sandbox.world,
                world.fleet.account,
                world.sandbox.infobip.url,
                world.sandbox.client(),
                world.observer,
            )
            story = Story(world, referee, score, narrator)
            story.play()
            referee.finish()
            with world.run(Trigger.MANUAL) as reconciler:
                states, _ = status(reconciler)
            report = verify(path)
            now = world.clock.now()
            with path.open("rb") as file:
                file.seek(before)
                referee.count_leaks(file.read().decode(errors="replace"), *narrator.lines)
    ok = score.ok and report.ok
    narrator.score(score, referee.consumers)
    narrator.status(states, now)
    narrator.end(report, ok=ok)
    if json_out:
        document = _document(score, states, report, now, ok=ok)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0 if ok else 1


def _introduce(narrator: Narrator) -> None:
    narrator.chapter(
        f"rotator demo: {DAYS} days of eight secrets in less than a minute",
        "A simulated Infobip and Secrets Manager on this machine: real HTTP, no account, no network, nothing of yours. "
        "After each sweep an application for every secret reads AWSCURRENT and calls Infobip with it.",
    )


def _document(
    score: Score, states: Sequence[SecretState], report: VerifyReport, now: datetime, *, ok: bool
) -> dict[str, object]:
    """The score as plain data, with the names that ``status --json`` has."""
    secrets = [
        {
            "account": state.account,
            "secret": state.secret,
            "key_id": state.key_id,
            "state": str(state.state),
            "expires_at": _stamp(state.expires_at),
            "days_left": state.days_left,
            "next_action": None if state.next_action is None else str(state.next_action),
            "next_action_at": _stamp(state.next_action_at),
        }
        for state in states
    ]
    audit = {
        "file": str(report.path),
        "verified": report.ok,
        "lines": report.audit_lines,
        "runs": report.runs,
        "runs_not_ended": len(report.open_runs),
        "problems": report.problem_count,
    }
    return {"ok": ok, "ended_at": _stamp(now), "score": dataclasses.asdict(score), "secrets": secrets, "audit": audit}


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
